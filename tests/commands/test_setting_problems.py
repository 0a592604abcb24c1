"""Whatever an operator can set wrongly is answered by a sentence that names it, before anything
starts: no trace, no word of a library, and no value, which may be a secret.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.commands.surroundings import troubles
from app.settings import Settings
from app.settings.problems import of_settings, strangers
from tests.world.command import boltwork

PLANTED = "planted-0123456789abcdef"
LIBRARIES = re.compile(r"Traceback|Value error|Input should|String should|Unable to|pydantic|Errno")
REAL = {
    "BOLTWORK_ENV": "production",
    "LNBITS_URL": "http://127.0.0.1:9",
    "LNBITS_API_KEY": "k",
    "BOLTWORK_SECRET": "s" * 32,
    "ANTHROPIC_API_KEY": "k",
}


def sentences(**environment: str) -> list[str]:
    """Return what is wrong with settings; nothing where they are taken."""
    try:
        Settings.model_validate(environment)
    except ValidationError as error:
        return of_settings(error)
    return []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", PLANTED, "PORT must be a whole number from 0 to 65,535."),
        ("PORT", "70000", "PORT must be a whole number from 0 to 65,535."),
        ("PORT", "9" * 5000, "PORT must be a whole number from 0 to 65,535."),
        ("CELL", PLANTED, "CELL must be two digits of 0123456789abcdef, in small letters"),
        ("METRICS_PORT", "1.5", "METRICS_PORT must be a whole number from 0 to 65,535."),
        ("SWEEP_S", "0", "SWEEP_S must be a whole number of at least 1."),
        ("INVOICE_EXPIRY_S", "5", "INVOICE_EXPIRY_S must be a whole number from 60 to 86,400."),
        ("BOLTWORK_ENV", PLANTED, "BOLTWORK_ENV must be development or production."),
        ("OPERATOR_TOKEN", "short", "OPERATOR_TOKEN must have at least 16 characters."),
        ("ALLOW_PRIVATE_DESTINATIONS", PLANTED, "ALLOW_PRIVATE_DESTINATIONS must be true or"),
        ("ARTIFACTS_URL", f"https://{PLANTED}/made", "ARTIFACTS_URL must be a bucket like s3://"),
        ("ARTIFACTS_URL", f"s3://id:{PLANTED}@made", "without a key: that goes into ARTIFACTS_KEY"),
        ("ARTIFACTS_ENDPOINT", f"http://{PLANTED}.org", "must begin with https://, unless it is"),
        ("ARTIFACTS_ENDPOINT", PLANTED, "ARTIFACTS_ENDPOINT must be an address like https://"),
        ("ARTIFACTS_ENDPOINT", "http://127.0.0.1:9", "of no use without ARTIFACTS_URL"),
        ("ARTIFACTS_KEY", PLANTED, "ARTIFACTS_KEY_ID and ARTIFACTS_KEY go together"),
        ("ARTIFACTS_KEPT_S", "60", "ARTIFACTS_KEPT_S must be a whole number from 3,600 to"),
        ("ASKED_KEPT_S", "60", "ASKED_KEPT_S must be a whole number from 86,400 to 315,360,000."),
        ("FACILITATOR_URL", f"http://{PLANTED}.org", "must begin with https://, unless it is on"),
        ("FACILITATOR_URL", "http://127.0.0.1:9", "FACILITATOR_URL needs USDC_PAY_TO, the address"),
        ("FACILITATOR_AUTHORIZATION", f"{PLANTED}\n", "must be a header's value, like `Bearer`"),
        ("FACILITATOR_AUTHORIZATION", PLANTED, "are of no use without FACILITATOR_URL"),
        ("USDC_NETWORK", PLANTED, "USDC_NETWORK must be eip155:8453 (Base) or eip155:84532"),
        ("USDC_PAY_TO", f"0x{PLANTED}", "USDC_PAY_TO must be an address of yours, 0x and 40 hex"),
        ("USDC_PAY_TO", f"0x{'00' * 20}", "USDC_PAY_TO must be an address of yours"),
        ("USDC_PAY_TO", f"0x{'Ab' * 20}", "capitals, where there are any, are its checksum"),
        ("CHAIN_RPC_URL", f"http://{PLANTED}.org", "must begin with https://, unless it is on"),
        ("CHAIN_DEPTH", "-1", "CHAIN_DEPTH must be a whole number from 0 to 10,000."),
        ("REFUND_KEY", PLANTED, "REFUND_KEY must be a private key, 64 hex digits."),
        ("REFUND_KEY", "0x" + "0" * 64, "REFUND_KEY must be a private key, 64 hex digits."),
        ("REFUND_KEY", "f" * 64, "REFUND_KEY must be a private key, 64 hex digits."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of debug, info, warning, error."),
        ("LIGHTNING_NETWORK", "mainnet", "must be the prefix that invoices have after ln: use bc."),
        ("LIGHTNING_NETWORK", "Testnet", "LIGHTNING_NETWORK must be the prefix"),
        ("LIGHTNING_NETWORK", PLANTED, "bc (mainnet)"),
        ("MODEL_PRICES", PLANTED, "MODEL_PRICES must be model=input/output in dollars"),
        ("MODEL_PRICES", f"a=1/{PLANTED}", "MODEL_PRICES must be model=input/output in dollars"),
        ("BTC_PRICE_SOURCES", PLANTED, "BTC_PRICE_SOURCES must be names of coingecko, "),
        ("BTC_PRICE_SOURCES", f"a=http://{PLANTED}", "BTC_PRICE_SOURCES must be names of"),
        ("BTC_PRICE_SOURCES", "kraken,kraken", "each of a name of its own."),
        ("DATABASE_URL", f"postgresql+psycopg://u:{PLANTED}@h/d", "without the +psycopg"),
        ("DATABASE_URL", f"postgresql://u:{PLANTED}@a,b:5433/d", "add ?target_session_attrs=read-"),
        ("DATABASE_URL", f"postgresql://u:{PLANTED}@/d?host=a,b", "DATABASE_URL names several hos"),
        ("SHUTDOWN_DELAY_S", "301", "SHUTDOWN_DELAY_S must be a whole number from 0 to 300."),
        ("DATABASE_URL", f"mysql://u:{PLANTED}@h/d", "DATABASE_URL must be a URL like postgresql:"),
        ("DATABASE_URL", f"host=h password={PLANTED}", "DATABASE_URL must be a URL like"),
        ("PUBLIC_URL", "example.org", "PUBLIC_URL must be an address like https://example.org"),
        ("PUBLIC_URL", "https://example.org/path", "PUBLIC_URL must be an address"),
        ("PUBLIC_URL", "https://example.org:port", "PUBLIC_URL must be an address"),
        ("LNBITS_URL", PLANTED, "LNBITS_URL must be an address"),
        ("LNBITS_URL", "ftp://example.org", "LNBITS_URL must be an address"),
        ("LNBITS_URL", "http://[::1", "LNBITS_URL must be an address"),
        ("LNBITS_API_KEY", f"{PLANTED}\n", "LNBITS_API_KEY must be one word"),
        ("LNBITS_TOKEN", f"{PLANTED} x", "LNBITS_TOKEN must be one word"),
        ("ANTHROPIC_API_KEY", f"{PLANTED}\nä", "ANTHROPIC_API_KEY must be one word"),
        ("ANTHROPIC_BASE_URL", PLANTED, "ANTHROPIC_BASE_URL must be an address"),
        ("GEMINI_API_KEY", f"“{PLANTED}”", "GEMINI_API_KEY must be one word"),
        ("GEMINI_BASE_URL", "http://", "GEMINI_BASE_URL must be an address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", PLANTED, "OTEL_EXPORTER_OTLP_ENDPOINT must be an address"),
        ("RATE_LIMIT_STORAGE", f"memcached://{PLANTED}", "RATE_LIMIT_STORAGE must look like"),
        ("BOLTWORK_SECRET", "planted", "BOLTWORK_SECRET must be at least 32 characters"),
        ("LNBITS_URL", "http://127.0.0.1:5000", "go together"),
        ("LNBITS_TOKEN", PLANTED, "of no use without LNBITS_URL"),
        ("PUBLIC_URL", "\udcff", "PUBLIC_URL must be an address"),
        ("BTC_PRICE_SOURCES", "\udcff", "BTC_PRICE_SOURCES must be names of"),
    ],
)
def test_a_wrong_setting_has_a_sentence(name: str, value: str, said: str) -> None:
    """It names the variable and what that takes, in words of ours, and ends with a full stop."""
    [sentence] = sentences(**{name: value})
    assert said in sentence and sentence.endswith(".") and "planted" not in sentence
    assert name in sentence and not LIBRARIES.search(sentence)


def test_names_of_others_lead_to_ours() -> None:
    """Whoever writes a network or a level in capitals, or with its prefix, is understood."""
    given = Settings.model_validate({"LIGHTNING_NETWORK": "BCRT", "LOG_LEVEL": "Warning"})
    assert (given.lightning_network, given.log_level) == ("bcrt", "warning")


def test_a_model_that_its_maker_has_ended_is_refused() -> None:
    """Before anything is sold with it: nothing of it could be done. A price of one's own heals."""
    ended = {**REAL, "GEMINI_API_KEY": "x", "GEMINI_IMAGE_MODEL": "gemini-2.5-flash-image"}
    [sentence] = sentences(**ended)
    assert sentence.startswith("GEMINI_IMAGE_MODEL names a model that its maker has ended")
    assert not sentences(**ended, MODEL_PRICES="gemini-2.5-flash-image=0.3/30")


@pytest.mark.parametrize("name", ["EVAL_MODEL", "WORK_MODEL", "GEMINI_MODEL", "GEMINI_IMAGE_MODEL"])
def test_a_model_without_a_price_is_refused(name: str) -> None:
    """Nothing could be sold of it, and every job would fail; with a price it is taken."""
    keys = {"ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}
    [sentence] = sentences(**keys, **{name: "new-model"})
    assert (
        sentence.startswith(f"{name} names a model without a price") and "MODEL_PRICES" in sentence
    )
    assert not sentences(**keys, **{name: "new-model"}, MODEL_PRICES="new-model=1/2")


def test_production_does_not_sell_the_small_model_by_accident() -> None:
    """Without a key for a model it is refused, unless the operator says so."""
    bare = {name: value for name, value in REAL.items() if name != "ANTHROPIC_API_KEY"}
    [sentence] = sentences(**bare)
    assert "ANTHROPIC_API_KEY" in sentence and "ALLOW_EMBEDDED_MODEL=true" in sentence
    assert not sentences(**bare, ALLOW_EMBEDDED_MODEL="true") and not sentences(**REAL)


# ------------------------------------------------------------- surroundings


@pytest.fixture
def no_certificate(tmp_path: Path) -> Path:
    """A file that holds something else."""
    path = tmp_path / "certificates.pem"
    path.write_text(PLANTED)
    return path


def test_a_container_without_its_account_is_named() -> None:
    """Azure's library reads the account's name from its own variable."""
    [said] = troubles({"ARTIFACTS_URL": "az://made"})
    assert "AZURE_STORAGE_ACCOUNT_NAME" in said
    assert not [*troubles({"ARTIFACTS_URL": "az://made", "AZURE_STORAGE_ACCOUNT_NAME": "a"})]
    assert not [*troubles({"ARTIFACTS_URL": "s3://made"})]


def test_proxies_that_nobody_can_use_are_named() -> None:
    """A SOCKS proxy needs a package; another scheme, or no address, is refused; others are not."""
    [socks] = troubles({"ALL_PROXY": f"socks5://u:{PLANTED}@127.0.0.1:1080"})
    assert socks.startswith("ALL_PROXY names a SOCKS proxy") and "pip install socksio" in socks
    for wrong in (f"ftp://{PLANTED}", f"http://[{PLANTED}", "http://h:port", "socks4://h:1"):
        [said] = troubles({"https_proxy": wrong})
        assert said.startswith("https_proxy must be a proxy like") and "planted" not in said
    fine = {"HTTP_PROXY": "127.0.0.1:3128", "HTTPS_PROXY": "http://u:p@proxy:1", "ALL_PROXY": ""}
    assert not [*troubles(fine)]


def test_certificates_that_are_none_are_named(tmp_path: Path, no_certificate: Path) -> None:
    """A file that isn't there, a folder, a file of something else, a folder that isn't there."""
    for file in (tmp_path / "nowhere", tmp_path, no_certificate):
        [said] = troubles({"SSL_CERT_FILE": str(file)})
        assert said.startswith("SSL_CERT_FILE ") and not LIBRARIES.search(said)
    [said] = troubles({"SSL_CERT_DIR": str(no_certificate)})
    assert said.startswith("SSL_CERT_DIR ")
    assert not [*troubles({"SSL_CERT_DIR": str(tmp_path)})]


def test_a_slip_in_a_name_is_noticed() -> None:
    """A variable that nothing reads, and is nearly the name of a setting, is told of."""
    said = " ".join(
        strangers(
            {
                "BOLTWORK_DATABASE": "x",
                "BOLTWORK_QUUX": "x",
                "LNBITS_APIKEY": "x",
                "EVAL_MODELS": "x",
                "DATABSE_URL": PLANTED,
                "BOLTWORK_URL": "x",
                "HOSTNAME": "x",
                "PORTS": "x",
                "HOME": "x",
            }
        )
    )
    for name in ("BOLTWORK_DATABASE", "BOLTWORK_QUUX", "LNBITS_API_KEY", "EVAL_MODEL", "DATABASE_"):
        assert name in said
    for name in ("BOLTWORK_URL", "HOSTNAME", "PORTS", "HOME", PLANTED):
        assert name not in said


# ------------------------------------------------------------ the commands


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield str(taken.getsockname()[1])


def refused(command: str, code: int, **environment: str) -> str:
    """Run a command that must refuse with one sentence, and return that."""
    done = boltwork(command, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("boltwork: ") and done.stderr.count("\n") == 1, done.stderr
    assert not LIBRARIES.search(done.stderr) and "planted" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "demo", "ledger"])
def test_every_command_refuses_alike(command: str) -> None:
    """One line on standard error, and exit code 2, before any Postgres is started."""
    assert "MODEL_PRICES" in refused(command, 2, MODEL_PRICES=PLANTED)
    assert "ALL_PROXY" in refused(command, 2, ALL_PROXY=f"socks5://{PLANTED}:1")


@pytest.mark.parametrize("words", [("ask", "hi"), ("watch", "0" * 32)])
def test_a_buyer_is_refused_alike(words: tuple[str, ...]) -> None:
    """What no HTTP client could use stops a purchase too, before anything is asked or paid."""
    done = boltwork(*words, ALL_PROXY="socks5://127.0.0.1:1")
    assert done.returncode == 2 and "pip install socksio" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_certificate_file_of_nothing_stops_the_start(no_certificate: Path) -> None:
    """It is said before the first connection would fail of it, and so by doctor."""
    assert "SSL_CERT_FILE" in refused("serve", 2, SSL_CERT_FILE=str(no_certificate))
    ill = boltwork("doctor", SSL_CERT_FILE=str(no_certificate))
    assert ill.returncode == 1 and "wrong settings: SSL_CERT_FILE" in ill.stdout


def test_a_folder_that_is_none_stops_the_start(database_url: str, tmp_path: Path) -> None:
    """A file in its place, or one where nobody may write, whoever's the database is."""
    (tmp_path / "file").touch()
    at = {"BOLTWORK_DATA": str(tmp_path / "file"), "PORT": "0"}
    closed = {"BOLTWORK_DATA": "/proc/boltwork"}
    for more in ({}, {"DATABASE_URL": database_url}, closed):
        said = refused("serve", 1, **at | more)
        assert "choose another folder with BOLTWORK_DATA" in said
    ill = boltwork("doctor", **at)
    assert ill.returncode == 1 and "wrong disk: Nothing can be kept in" in ill.stdout
    assert "Traceback" not in ill.stdout + ill.stderr


def test_other_programs_in_place_of_postgres_stop_the_start(open_folder: Path) -> None:
    """A folder without one, and one whose `postgres` is none."""
    at = {"BOLTWORK_DATA": str(open_folder / "data"), "PORT": "0"}
    (open_folder / "bin").mkdir()
    assert "POSTGRES_BIN" in refused("serve", 1, **at, POSTGRES_BIN=str(open_folder / "bin"))
    for name in ("postgres", "initdb"):
        (open_folder / "bin" / name).touch(mode=0o755)
    assert "Postgres" in refused("serve", 1, **at, POSTGRES_BIN=str(open_folder / "bin"))


def test_a_taken_port_stops_the_start(database_url: str, tmp_path: Path, taken_port: str) -> None:
    """The variable is named that another number is to be given to."""
    at = {"BOLTWORK_DATA": str(tmp_path), "DATABASE_URL": database_url}
    assert "Set HOST or PORT" in refused("serve", 1, **at, PORT=taken_port)
    assert "METRICS_PORT" in refused("worker", 1, **at, METRICS_PORT=taken_port)
    assert "Set HOST" in refused("serve", 1, **at, PORT="0", HOST="nowhere.invalid")
