"""Settings: each is in the README's table, wrong ones are refused in a sentence, and defaults."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.adapters import make_usdc
from app.main import utc_now
from app.settings import Settings
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND
from tests.world.usdc_fixtures import SHOP, SHOP_KEY

APP = Path(__file__).parents[2] / "app"
KEY = SHOP_KEY.hex()
README = Path(__file__).parents[2] / "README.md"


def alias(field: str) -> str:
    """Return the environment variable of a setting."""
    return str(Settings.model_fields[field].validation_alias)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_the_readme_tells_of_every_setting(field: str) -> None:
    """The configuration table has a row for each, with its default and what it does."""
    info = Settings.model_fields[field]
    assert info.description
    default = "" if info.default is None else str(getattr(info.default, "value", info.default))
    shown = f"`{default}`" if default else ""
    assert f"| `{alias(field)}` | {shown} | {info.description} |" in README.read_text()


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_read(field: str) -> None:
    """None is named, documented and then forgotten."""
    reads = re.compile(rf"(settings|self)\.{field}\b")
    assert any(reads.search(source.read_text()) for source in APP.rglob("*.py"))


def test_production_refuses_the_stub_rail() -> None:
    """Without a rail that moves real money, production does not start, and says what to set."""
    run = subprocess.run(
        [str(COMMAND), "serve"],
        env={"PATH": os.environ["PATH"], "BOLTWORK_ENV": "production"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 2
    assert "LNBITS_URL" in run.stderr and "stub" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("INVOICE_EXPIRY_S", "5"),
        ("MARGIN_PCT", "-1"),
        ("BOLTWORK_ENV", "staging"),
        ("PUBLIC_URL", "example.org"),
        ("BOLTWORK_SECRET", "s" * 31),
        ("BOLTWORK_SECRET", "s" * 32 + ",short"),
        ("BOLTWORK_SECRET", "s" * 32 + ","),
        ("PUBLIC_URL", "https://example.org/path"),
        ("LNBITS_URL", "http://127.0.0.1:5000"),
        ("CELL", "A7"),
        ("CELL", "7"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, value: str) -> None:
    """A setting out of its range, or without the one it goes with, stops the start."""
    with pytest.raises(ValidationError, match=r"."):
        Settings.model_validate({name: value})


def test_production_keeps_this_machine_closed() -> None:
    """In production no refund destination can lead to this machine."""
    real = {
        "BOLTWORK_ENV": "production",
        "BOLTWORK_SECRET": "s" * 32,
        "LNBITS_URL": "http://x",
        "LNBITS_API_KEY": "y",
        "ANTHROPIC_API_KEY": "z",
    }
    assert Settings.model_validate(real).allow_private_destinations is False
    with pytest.raises(ValidationError, match="leave it out in production"):
        Settings.model_validate(real | {"ALLOW_PRIVATE_DESTINATIONS": "true"})


def test_production_needs_a_secret_of_the_operator() -> None:
    """Keys in a database that others can read must be closed; the sentence says how."""
    bare = {"BOLTWORK_ENV": "production", "LNBITS_URL": "http://x", "LNBITS_API_KEY": "y"}
    with pytest.raises(ValidationError, match=r"needs BOLTWORK_SECRET.*openssl rand"):
        Settings.model_validate(bare)


def test_secrets_do_not_show() -> None:
    """A setting that holds a secret is not printed with the others."""
    settings = Settings.model_validate(
        {
            "LNBITS_URL": "http://x",
            "LNBITS_API_KEY": "planted",
            "ANTHROPIC_API_KEY": "planted",
            "BOLTWORK_SECRET": "planted" * 5,
        }
    )
    assert "planted" not in repr(settings)


def test_usdc_is_taken_in_production_only_where_the_chain_can_be_asked() -> None:
    """Without a facilitator none is taken, and no stub stands in; with one, its chain must be
    there to be asked, and must be the one whose USDC is worth something."""
    base = {
        "BOLTWORK_ENV": "production",
        "LNBITS_URL": "http://127.0.0.1:9",
        "LNBITS_API_KEY": "k",
        "BOLTWORK_SECRET": "s" * 32,
        "ANTHROPIC_API_KEY": "k",
    }
    assert make_usdc(Settings.model_validate(base), utc_now) is None
    paid = base | {"FACILITATOR_URL": "https://facilitator.example", "USDC_PAY_TO": SHOP}
    for settings, said in (
        (paid, "needs CHAIN_RPC_URL"),
        (paid | {"CHAIN_RPC_URL": "http://127.0.0.1:9"}, "USDC_NETWORK=eip155:8453"),
    ):
        with pytest.raises(ValidationError, match=said):
            Settings.model_validate(settings)
    whole = paid | {"CHAIN_RPC_URL": "http://127.0.0.1:9", "USDC_NETWORK": "eip155:8453"}
    usdc = make_usdc(Settings.model_validate(whole | {"REFUND_KEY": KEY}), utc_now)
    assert usdc is not None and usdc.pay_to == SHOP and usdc.refunds is not None
    assert KEY not in repr(Settings.model_validate(whole | {"REFUND_KEY": KEY})) + repr(usdc)


def test_the_stub_of_usdc_stands_beside_the_stub_rail_alone(tmp_path: Path) -> None:
    """What LNbits is paid for with real money is never sold for play money."""
    here = {"BOLTWORK_DATA": tmp_path}
    real = here | {"LNBITS_URL": "http://127.0.0.1:9", "LNBITS_API_KEY": "k"}
    assert make_usdc(Settings.model_validate(real), utc_now) is None
    stub = make_usdc(Settings.model_validate(here), utc_now)
    assert stub is not None and stub.refunds is not None
    assert stub.pay_to == stub.refunds.address and (tmp_path / "usdc.sqlite3").exists()
