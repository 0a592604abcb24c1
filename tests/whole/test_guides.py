"""Every guide is followed as it stands on the server's own pages: its code is run, and prints what
is shown below it. Payments are simulated, and then made from another wallet of a real LNbits.
"""

import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import httpx2
import pytest

from app.executors.toolbox import Toolbox
from app.http.guides import HERE, NAMES
from app.ports import Executor
from db.audit import audit
from db.unused_port import unused_port
from payments.lnbits import LnbitsRail
from tests.world.client_install import installed_clients
from tests.world.command import NO_SOURCES
from tests.world.forked_command import forked_command
from tests.world.guided import Block, Pays, follow, programs
from tests.world.house_fixtures import UNLIMITED, Instance, instance_of
from tests.world.lending_fixtures import open_house
from tests.world.lnbits_server import LnbitsServer
from tests.world.local_chain import installed as installed_chain
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import wall_clock
from tests.world.scripted_tools import ScriptedTools
from tests.world.server_process import open_folder

__all__ = ["open_folder", "open_house"]

EACH = ("sh", "python", "js")
FOLLOWED = {
    "wallet": EACH,
    "l402": EACH,
    "session": EACH,
    "x402": EACH,
    "spell": EACH,
    "lend": ("sh", "python"),
    "operate": ("sh",),
}
IN_SATS = ("wallet", "l402", "session", "spell")  # bought and sold of an agent and of tools
IN_USDC = ("x402",)  # its packages are installed apart
PAID_IN_SATS = 100  # by who opens an account in the guide that sells
NOTHING: Mapping[str, str] = MappingProxyType({})
PATH = "/usr/local/bin:/usr/bin:/bin"


async def text_of(url: str, name: str) -> str:
    """Return a guide as a server shows it, in Markdown."""
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
        answer = await http.get(f"/docs/{name}.md")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/markdown")
    assert HERE not in answer.text and "<!--" not in answer.text
    return answer.text


async def followed(
    url: str,
    names: Sequence[str],
    language: str,
    folder: Path,
    pays: Pays | None = None,
    environment: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Follow one language of a server's guides in a folder, as their reader would; return what
    each of them has printed."""
    guides = {name: programs(await text_of(url, name))[language] for name in names}
    return await run(guides, language, folder, pays=pays, environment=environment)


async def run(
    guides: Mapping[str, list[Block]],
    language: str,
    folder: Path,
    *,
    pays: Pays | None = None,
    environment: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Run programs with what their reader has installed: curl and `boltwork`, or stock packages."""
    given = {"PATH": PATH, "HOME": str(folder), "XDG_STATE_HOME": str(folder)} | {**environment}
    if language == "sh":
        async with forked_command(folder) as at:
            given["PATH"] = f"{at}:{PATH}"
            return await follow(language, guides, "bash", folder, given, pays)
    installed = installed_chain() if "x402" in guides else installed_clients()
    if language == "python":
        python = installed / "venv" / "bin" / "python"
        return await follow(language, guides, python, folder, given, pays)
    modules = folder / "node_modules"
    modules.unlink(missing_ok=True)
    modules.symlink_to(installed / "node_modules")
    return await follow(language, guides, "node", folder, given, pays)


@pytest.fixture(scope="module")
async def shop(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """A server where everything is sold, and payments are simulated."""
    folder = tmp_path_factory.mktemp("shop")
    makers: list[Executor] = [ScriptedTools("scene-1"), Toolbox()]
    async with instance_of(database_url_of_file, folder, executors=makers) as running:
        yield running


async def test_every_guide_is_followed_in_all_its_languages(shop: Instance) -> None:
    """There is none, and no language in one, that the tests below do not run."""
    assert tuple(FOLLOWED) == NAMES
    assert {*NAMES} == {*IN_SATS, *IN_USDC, "lend", "operate"}
    for name, languages in FOLLOWED.items():
        assert tuple(programs(await text_of(shop.url, name))) == languages, name


@pytest.mark.parametrize("language", EACH)
async def test_guides_are_followed(shop: Instance, tmp_path: Path, language: str) -> None:
    """Each buys or sells what it says, and prints what is shown; who sells has more than before."""
    printed = await followed(shop.url, IN_SATS, language, tmp_path)
    assert int(re.findall("balance is ([0-9]+) sats", printed["spell"])[0]) > PAID_IN_SATS
    assert await audit(shop.built.db) == []


@pytest.mark.parametrize("language", EACH)
async def test_the_guide_of_usdc_is_followed(shop: Instance, tmp_path: Path, language: str) -> None:
    """A key of its reader's own signs what is paid."""
    key = {"PRIVATE_KEY": f"0x{secrets.token_hex(32)}"}
    await followed(shop.url, IN_USDC, language, tmp_path, environment=key)
    assert await audit(shop.built.db) == []


async def test_the_guide_of_lenders_is_followed(open_house: Instance, tmp_path: Path) -> None:
    """`boltwork lend` makes a picture and earns by it; what was given back, a program makes."""
    for language in FOLLOWED["lend"]:
        await followed(open_house.url, ["lend"], language, tmp_path)
    delivered = await open_house.built.db.read_all("SELECT delivered FROM worker ORDER BY 1")
    assert [row["delivered"] for row in delivered] == [0, 1, 1]
    assert await audit(open_house.built.db) == []


@pytest.fixture
async def shop_on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer
) -> AsyncIterator[Instance]:
    """A server where everything is sold for real, to its rail."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, network="bc", clock=wall_clock, timeout_s=10)
    makers: list[Executor] = [ScriptedTools("scene-1"), Toolbox()]
    async with instance_of(database_url, tmp_path, rail=rail, executors=makers) as running:
        yield running


async def test_guides_are_followed_with_a_wallet(
    shop_on_lnbits: Instance, lnbits: LnbitsServer, tmp_path: Path
) -> None:
    """Where payments are real their reader pays each invoice that is printed, from another wallet;
    the guide of L402 pays by itself, with the wallet's key."""

    async def pays(invoice: str) -> None:
        await lnbits.pay(lnbits.buyer, invoice)

    wallet = {"LNBITS_URL": lnbits.url, "LNBITS_KEY": lnbits.buyer.adminkey}
    for language in EACH:
        folder = tmp_path / language
        folder.mkdir()
        await followed(shop_on_lnbits.url, IN_SATS, language, folder, pays, wallet)
    assert await audit(shop_on_lnbits.built.db) == []


async def test_the_guide_of_operators_is_followed(
    shop: Instance, lnbits: LnbitsServer, open_folder: Path
) -> None:
    """A server of production, on a wallet of a real LNbits, sells to another wallet, and its books
    are right; it stops selling, is backed up, and ends."""
    [blocks] = programs(await text_of(shop.url, "operate")).values()
    port = unused_port()
    given = {
        "localhost:8402": f"localhost:{port}",
        "http://127.0.0.1:5000": lnbits.url,
        "YOUR_ADMIN_KEY": lnbits.us.adminkey,
        "YOUR_OTHER_ADMIN_KEY": lnbits.buyer.adminkey,
    }
    for block in blocks:
        for shown, meant in given.items():
            block.code = block.code.replace(shown, meant)
    # Its Postgres is another user, where we are root.
    (open_folder / "boltwork-data").mkdir(mode=0o711)
    kept = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
    priced = {"BTC_PRICE_USD_FALLBACK": "100000", **NO_SOURCES}
    environment = {"PORT": str(port), **UNLIMITED, **priced, **kept}
    await run({"operate": blocks}, "sh", open_folder, environment=environment)
    assert (open_folder / "monday.dump").stat().st_size > 0
