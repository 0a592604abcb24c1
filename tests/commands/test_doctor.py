"""`boltwork doctor`: it names what is wrong with an installation, and how to mend it."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.commands import doctor
from app.commands.doctor_running import of_running
from app.commands.findings import Finding, Level, is_wrong
from app.main import utc_now
from app.operator.switching import turn
from app.serving.listener import CannotListen, open_listener
from app.settings import Settings
from db import switches
from db.engine import Database
from db.migrate import migrate, newest, version
from payments.lnbits import LnbitsRail
from pricing.rates import LAST_DAYS, PUBLISHED
from tests.world.command import boltwork
from tests.world.house_fixtures import Instance, instance_of, settings_for
from tests.world.lnbits_server import LnbitsServer
from tests.world.provider_server import KEY, ProviderServer
from tests.world.server_process import ServerProcess

PUBLIC = "93.184.215.14"  # an address of the public net; nobody asks it anything
NO_SOURCES = {"BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd"}


def by_part(findings: list[Finding]) -> dict[str, Finding]:
    """Return each finding by its part: the worst, where there are several."""
    order = list(Level)
    return {each.part: each for each in sorted(findings, key=lambda one: order.index(one.level))}


async def examined(folder: Path, url: str, **settings: object) -> dict[str, Finding]:
    """Return what is found of an installation on a database of the operator's."""
    given = settings_for(folder, DATABASE_URL=url, **(NO_SOURCES | {"PORT": 0} | settings))
    return by_part(await doctor.examine_all(given, url, None))


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens on, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_a_new_installation_is_well(open_folder: Path) -> None:
    """On embedded parts nothing is wrong, in lines or as JSON; each warning has a next step."""
    data = {"BOLTWORK_DATA": str(open_folder)}
    well = boltwork("doctor", "--json", **data)
    assert well.returncode == 0, well.stdout + well.stderr
    told = json.loads(well.stdout)
    assert told["ok"] is True
    parts = {finding["part"]: finding for finding in told["findings"]}
    assert set(parts) == {
        "environment", "disk", "database", "tables", "clock", "secret", "limits", "rail",
        "artifacts", "price", "agents", "port", "models", "address", "operator", "routing",
        "failures", "makers", "USDC",
    }  # fmt: skip
    assert all("next" in part for part in parts.values() if part["level"] != "ok")
    broken = {"LNBITS_URL": "http://127.0.0.1:9", "LNBITS_API_KEY": "planted"}
    ill = boltwork("doctor", **data, **broken)
    assert ill.returncode == 1 and "wrong rail: " in ill.stdout and "LNBITS_URL" in ill.stdout
    assert "planted" not in ill.stdout + ill.stderr and ill.stdout.endswith("1 wrong.\n")


async def test_each_maker_is_asked_how_it_is(
    tmp_path: Path, database_url: str, images_server: ProviderServer
) -> None:
    """One that answers, one that takes no such key, one that is away: with what to look at."""
    sold = {"IMAGES_MODELS": "flux=0.02"}
    there = {"IMAGES_URL": f"{images_server.url}/v1", "IMAGES_KEY": KEY}
    assert (await examined(tmp_path, database_url, **sold, **there))["makers"].level is Level.OK
    away = {"IMAGES_URL": "http://127.0.0.1:9/v1", "IMAGES_KEY": KEY}
    for ill in (there | {"IMAGES_KEY": "planted"}, away):
        found = (await examined(tmp_path, database_url, **sold, **ill))["makers"]
        assert found.level is Level.WRONG and found.said.startswith("images-api: ")
        assert "IMAGES_KEY" in found.mend and "planted" not in found.line


async def test_a_store_that_keeps_nothing_is_named(tmp_path: Path, database_url: str) -> None:
    """A folder that can't be made, a bucket that can't be reached: with what to look at."""
    (tmp_path / "taken").write_text("no folder")
    found = await examined(tmp_path, database_url, BOLTWORK_DATA=tmp_path / "taken")
    assert found["artifacts"].level is Level.WRONG and "BOLTWORK_DATA" in found["artifacts"].mend
    away = {
        "ARTIFACTS_URL": "s3://made",
        "ARTIFACTS_ENDPOINT": "http://127.0.0.1:9",
        "ARTIFACTS_KEY_ID": "planted",
        "ARTIFACTS_KEY": "planted",
    }
    found = await examined(tmp_path, database_url, **away)
    assert found["artifacts"].level is Level.WRONG and "ARTIFACTS_URL" in found["artifacts"].mend
    assert "planted" not in found["artifacts"].line


def test_settings_that_cannot_be_read_are_named(open_folder: Path) -> None:
    """Each wrong one has a line, and no value is quoted."""
    ill = boltwork("doctor", PORT="planted", BOLTWORK_ENV="production")
    assert ill.returncode == 1 and "wrong settings: PORT " in ill.stdout
    assert "planted" not in ill.stdout


def test_a_database_that_is_not_there_is_named(open_folder: Path) -> None:
    """The other parts are examined all the same."""
    url = "postgresql://somebody:planted@127.0.0.1:9/none"
    ill = boltwork("doctor", BOLTWORK_DATA=str(open_folder), DATABASE_URL=url)
    assert ill.returncode == 1 and "wrong database: " in ill.stdout and "agents: " in ill.stdout
    assert "planted" not in ill.stdout + ill.stderr


def test_a_server_says_so_as_well(open_folder: Path) -> None:
    """A start on a database that is not there ends with a sentence, not with a trace."""
    url = "postgresql://somebody@127.0.0.1:9/none"
    ill = boltwork("serve", BOLTWORK_DATA=str(open_folder), DATABASE_URL=url)
    assert ill.returncode == 1 and ill.stderr.startswith("boltwork: Postgres")


def test_beside_a_running_server_all_is_well(server: ServerProcess) -> None:
    """It uses that server's Postgres, and knows whose the port is."""
    url = server.start()
    port = {"PORT": url.rsplit(":")[-1], "PUBLIC_URL": url}
    well = boltwork("doctor", BOLTWORK_DATA=str(server.folder), **port)
    assert well.returncode == 0 and "a Boltwork listens on" in well.stdout
    assert "money moves" in well.stdout
    assert f"Boltwork answers at {url}" in well.stdout


async def test_where_it_is_to_listen_may_be_any_address(database_url: str, tmp_path: Path) -> None:
    """IPv6 is written in brackets; what this machine has not is wrong, and doctor goes on."""
    for host in ("::1", "::", "[::1]", "192.0.2.1", "é" * 70):
        found = (await examined(tmp_path, database_url, HOST=host))["port"]
        try:
            open_listener(host, 0).close()
        except CannotListen:
            assert found.level is Level.WRONG and "can't be listened on" in found.said
            assert "set HOST" in found.mend
        else:
            assert found.level is Level.OK and found.said == f"[{host}]:0 is free"


async def test_tables_of_another_version_are_named(database_url: str, tmp_path: Path) -> None:
    """Older ones are made new by a migration; newer ones need the newer program."""
    assert version(database_url) == newest()
    db = Database(database_url, 1)
    await db.open()
    for number, level, mend in (
        ("0001", Level.WARN, "boltwork migrate"),
        ("9999", Level.WRONG, "newer Boltwork"),
    ):
        await db.read_all(f"UPDATE alembic_version SET version_num = '{number}' RETURNING 1")
        found = (await examined(tmp_path, database_url))["tables"]
        assert found.level is level and mend in found.mend
    await db.close()
    assert "are not made yet" in doctor.about_tables(None).said


async def test_the_migrations_are_those_of_alembic(database_url: str) -> None:
    """What is asked without Alembic is what Alembic says."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from db.migrate import HERE

    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    assert ScriptDirectory.from_config(settings).get_current_head() == newest()
    migrate(database_url)  # there is nothing to do, and nothing is done
    assert version(database_url) == newest()


async def test_a_secret_that_opens_nothing_is_named(instance: Instance, tmp_path: Path) -> None:
    """As is one that others can read."""
    url = instance.built.db.url
    await instance.post("/api/sessions", {"amount_sats": 100})
    await instance.http.get("/api/ask", params={"request": "hello"})  # makes a root key
    other = tmp_path / "other"
    assert (await examined(other, url, BOLTWORK_SECRET="x" * 32))["secret"].level is Level.WRONG
    well = (await examined(tmp_path, url))["secret"]
    assert well.level is Level.OK and "back it up" in well.said
    os.chmod(tmp_path / "secret", 0o644)
    open_to_all = (await examined(tmp_path, url))["secret"]
    assert open_to_all.level is Level.WRONG and "chmod 600" in open_to_all.mend


async def test_the_rail_is_tried(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """A key that is not taken, an LNbits on another network, and the right one."""
    at = {"LNBITS_URL": lnbits.url, "LNBITS_API_KEY": lnbits.us.adminkey}
    right = await examined(tmp_path, database_url, **at, LIGHTNING_NETWORK=lnbits_rail.network)
    assert [right[part].level for part in ("rail", "network", "LNbits")] == [Level.OK] * 3
    other = await examined(tmp_path, database_url, **at, LIGHTNING_NETWORK="tb")
    assert other["network"].level is Level.WRONG and "LIGHTNING_NETWORK" in other["network"].mend
    for key in ("nobody's", lnbits.us.inkey):
        wrong = await examined(tmp_path, database_url, **at | {"LNBITS_API_KEY": key})
        assert wrong["rail"].level is Level.WRONG and key not in wrong["rail"].line


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("http://127.0.0.1:5000", Level.OK),
        (f"https://{PUBLIC}", Level.WARN),
        (f"http://{PUBLIC}:5000", Level.WRONG),
    ],
)
async def test_an_lnbits_in_public_is_named(url: str, level: Level) -> None:
    """Whoever reaches it learns preimages; without TLS, the key too."""
    found = await doctor.who_reaches(url)
    assert found.level is level and bool(found.mend) is (level is not Level.OK)


async def test_the_door_is_tried(tmp_path: Path, database_url: str, taken_port: int) -> None:
    """A port that is somebody else's, an address in the clear, and no operator's token."""
    found = await examined(
        tmp_path, database_url, PORT=taken_port, PUBLIC_URL=f"http://127.0.0.1:{taken_port}"
    )
    assert found["port"].level is Level.WRONG and "PORT" in found["port"].mend
    assert found["address"].level is Level.WARN and "PUBLIC_URL" in found["address"].mend
    assert found["operator"].level is Level.WARN
    token = await examined(tmp_path, database_url, OPERATOR_TOKEN="t" * 32)
    assert token["operator"].level is Level.OK
    real = {"LNBITS_URL": "http://127.0.0.1:9", "LNBITS_API_KEY": "k", "BOLTWORK_SECRET": "s" * 32}
    real["ALLOW_EMBEDDED_MODEL"] = "true"
    clear = await examined(
        tmp_path, database_url, BOLTWORK_ENV="production", PUBLIC_URL="http://boltwork.test", **real
    )
    assert clear["address"].level is Level.WRONG and "https" in clear["address"].mend


async def test_prices_that_nobody_tells_are_named(tmp_path: Path, database_url: str) -> None:
    """In production no price is wrong; with a price of the operator's it is a warning."""
    real = {
        "BOLTWORK_ENV": "production", "LNBITS_URL": "http://127.0.0.1:9", "LNBITS_API_KEY": "k",
        "BOLTWORK_SECRET": "s" * 32, "ALLOW_EMBEDDED_MODEL": "true",
    }  # fmt: skip
    none = (await examined(tmp_path, database_url, **real))["price"]
    assert none.level is Level.WRONG and "nobody" in none.said
    fixed = (await examined(tmp_path, database_url, BTC_PRICE_USD_FALLBACK=90_000, **real))["price"]
    assert fixed.level is Level.WARN and "BTC_PRICE_SOURCES" in fixed.mend


def test_time_and_room_are_measured() -> None:
    """A clock that is off by more than 30 s is wrong, and so is a disk with no room."""
    now = utc_now()
    for off_s, level in ((0, Level.OK), (5, Level.WARN), (-60, Level.WRONG)):
        found = doctor.about_clock(now, now + timedelta(seconds=off_s), now)
        assert found.level is level and bool(found.mend) is (level is not Level.OK)
    for free_bytes, level in ((2**40, Level.OK), (2**30, Level.WARN), (2**20, Level.WRONG)):
        assert doctor.about_room(Settings(), free_bytes).level is level
    assert not is_wrong([doctor.about_room(Settings(), 2**30)])


def test_a_model_that_ends_within_a_month_is_told() -> None:
    """A warning where it is asked, in time to choose another; a word where it is only priced."""
    model, day = "claude-sonnet-4-5", timedelta(days=1)
    last = LAST_DAYS[model]

    def told(asked: set[str], today: date) -> list[Finding]:
        return [one for one in doctor.about_models(asked, today) if one.said.startswith(model)]

    assert told({model}, last - 40 * day) == []
    [soon] = told({model}, last - 30 * day)
    assert soon.level is Level.WARN and f"can be asked until {last}" in soon.said
    [over] = told({model}, last + day)
    assert over.level is Level.WARN and f"could be asked until {last}" in over.said
    [priced] = told({"claude-sonnet-5-5"}, last)
    assert priced.level is Level.OK


def test_no_model_that_ends_is_asked_unless_an_operator_names_it() -> None:
    """Of the models that are asked where nothing is set, none has a last day, and each a price."""
    fresh = Settings()
    asked = {fresh.eval_model, fresh.work_model, fresh.gemini_model, fresh.gemini_image_model}
    assert asked.isdisjoint(LAST_DAYS)
    assert asked <= {rate.model for rate in PUBLISHED}


async def test_a_server_through_which_no_money_moves_is_told(
    database_url: str, tmp_path: Path
) -> None:
    """Of the server that runs here it says what that sees of itself, and what was switched off."""
    async with instance_of(database_url, tmp_path, worker=False) as house:
        built = house.built
        await turn(built.db, built.clock, switches.Name.PAYING_OUT, False)
        while (await house.http.get("/api/readyz")).json()["switches"]["paying-out"]:
            await asyncio.sleep(0.05)
        found = by_part(await of_running(house.url))
    promises = found["running promises"]
    assert promises.level is Level.WRONG and "No worker keeps promises" in promises.said
    assert "boltwork worker" in promises.mend
    assert found["paying-out"].level is Level.WARN and "waits" in found["paying-out"].said
    away = by_part(await of_running(house.url))
    assert away["running"].level is Level.WRONG
