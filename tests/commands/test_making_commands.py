"""`boltwork tools` and `boltwork cast`: found, priced, bought by each purse and saved whole; what
was interrupted is gone on with, and nothing is paid for twice. All over HTTP, on a real instance.
"""

import json
import re
import shlex
import signal
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import pytest
import yaml
from click import Context
from PIL import Image

from app.buyer.account import Account, connect
from app.buyer.client import Client
from app.buyer.given import given
from app.buyer.making import Making
from app.buyer.payer import Payer
from app.buyer.session import Session, open_session
from app.buyer.wallets.stub import StubWallet
from app.commands.cli import loaded
from app.trade.catalogue import Surface
from app.trade.tools import TOOLS
from tests.world.account_fixtures import right
from tests.world.ask_buyer import Buyer
from tests.world.patience import patiently
from tests.world.spell_fixtures import CHAIN, Stage, stage_on

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with tools and a spell of five steps."""
    async with stage_on(database_url, tmp_path) as running:
        await running.publish(CHAIN)
        yield running
        await right(running.at)


@pytest.fixture
def buyer(stage: Stage, tmp_path: Path) -> Buyer:
    """Somebody at a terminal."""
    return Buyer(stage.at.url, tmp_path / "home", {})


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[Client]:
    """A program that asks the server."""
    async with Client(stage.at.url) as made:
        yield made


@pytest.fixture
async def session(client: Client) -> Session:
    """A session with a hundred sats."""
    return await open_session(client, 100, StubWallet(client))


@pytest.fixture
async def account(client: Client) -> Account:
    """An account with a hundred sats."""
    return await connect(client, 100, Payer(StubWallet(client)))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of somebody's own."""
    path = tmp_path / "mine.png"
    Image.new("RGB", (60, 40), "teal").save(path)
    return path


async def payments(stage: Stage) -> int:
    """Return how many invoices of runs and casts were paid."""
    rows = await stage.at.built.db.read_all(
        "SELECT id FROM invoice WHERE state = 'settled' AND purpose = 'batch'"
    )
    return len(rows)


async def test_tools_are_found_and_shown(buyer: Buyer) -> None:
    """By words, with their prices, and each with what may be given to it."""
    listed = await buyer.run("tools", "list")
    assert re.search(r"(?m)^resize +at most 1 sat  A picture in another size\.$", listed.out)
    found = await buyer.run("tools", "search", "qr", "code")
    assert [line.split()[0] for line in found.out.splitlines()] == ["qr-code"]
    shown = await buyer.run("tools", "show", "resize")
    assert "image            picture, must be given" in shown.out
    assert "integer, 16 to 4096, else 1024" in shown.out and "It costs at most 1 sat" in shown.out
    told = json.loads((await buyer.run("tools", "show", "resize", "--json")).out)
    assert told["mostSats"] == 1 and told["required"] == ["image"]
    unknown = await buyer.run("tools", "show", "no-such")
    assert unknown.code == 1 and "not found" in unknown.err


async def test_a_run_is_paid_by_a_wallet_and_saved(
    buyer: Buyer, stage: Stage, picture: Path, tmp_path: Path
) -> None:
    """Its file alone is on standard output; the id is shown before it is paid, and by that it is
    gone on with: paid where it was not, once, and not fetched again. What gives nothing costs
    nothing, and what can't be is said before anything is paid."""
    words = (
        "tools",
        "run",
        "resize",
        f"image=@{picture}",
        "width=32",
        "--out",
        str(tmp_path / "o"),
    )
    for wrong, says in (
        (("height=tall",), "whole number"),
        (("depth=3",), "There are: image, width, height, fit."),
        (("--max-sats", "1", "height=9"), "must be 16 to 4096"),
        (("--key", "0" * 16), "--key goes with"),
        (("--session", "--account"), "Choose one"),
    ):
        ended = await buyer.run(*words, *wrong)
        assert ended.code == 2 and says in ended.err and not ended.out, ended
    assert await payments(stage) == 0
    ended = await buyer.run(*words)
    assert ended.code == 0, ended.err
    [name] = ended.out.splitlines()
    assert re.fullmatch(r"[0-9a-f]{8}\.png", Path(name).name)
    assert stage.toolbox.asked[-1].inputs["width"] == 32
    assert ended.err.index("boltwork tools follow") < ended.err.index("paid 1 sat for the run")
    assert ended.err.count("paid 1 sat") == 1
    [line] = re.findall(r"if this is interrupted: boltwork (tools .*)", ended.err)
    again = await buyer.run(*shlex.split(line))
    assert (again.code, again.out) == (0, ended.out) and await payments(stage) == 1
    unpaid = await buyer.run(*words, "--wallet", "scan", "--wait", "0")
    [line] = re.findall(r"To continue: boltwork (tools follow .*)", unpaid.err)
    assert unpaid.code == 1 and await payments(stage) == 1
    assert (await buyer.run(*shlex.split(line), "--wallet", "stub")).code == 0
    assert await payments(stage) == 2
    stage.toolbox.refuses = {"resize"}
    lost = await buyer.run(*words, "--json")
    assert lost.code == 1 and lost.told["outputs"] == [] and lost.told["chargedSats"] == 0
    assert "not made. It can’t be made of that." in lost.err and "1 sat was sent." in lost.err


async def test_an_interrupted_run_is_cancelled_or_gone_on_with(
    buyer: Buyer, stage: Stage, picture: Path, tmp_path: Path
) -> None:
    """What is being made when it is cancelled is saved all the same, and what nobody has paid for
    costs nothing; a look at the price buys nothing."""
    out = ("--out", str(tmp_path / "o"))
    words = ("tools", "run", "resize", f"image=@{picture}", *out)
    dry = await buyer.run(*words, "--dry-run")
    assert (dry.code, dry.out) == (0, "1\n")
    stage.toolbox.go.clear()
    running = await buyer.begin(*words)
    lines = ""
    while "paid 1 sat" not in lines:
        line = (await running.err.readline()).decode()
        assert line, lines  # it has not ended
        lines += line
    async for _ in patiently("nobody makes it"):
        if stage.toolbox.asked:
            break
    running.send_signal(signal.SIGINT)
    ended = await running.ended()
    assert ended.code == 130 and "boltwork tools follow" in ended.err and not ended.out
    [run_id] = re.findall(r"if this is interrupted: boltwork tools follow (\w+)", lines)
    cancelling = await buyer.begin("tools", "cancel", run_id, *out)
    async for _ in patiently("it is not cancelled"):
        if (await stage.at.built.db.read_all("SELECT id FROM batch WHERE called_off")) != []:
            break
    stage.toolbox.go.set()
    ended = await cancelling.ended()
    assert ended.code == 0 and len(ended.out.splitlines()) == 1, ended.err
    unpaid = await buyer.run(*words, "--wallet", "scan", "--wait", "0")
    [run_id] = re.findall(r"To continue: boltwork tools follow (\w+)", unpaid.err)
    ended = await buyer.run("tools", "cancel", run_id, *out)
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert await payments(stage) == 1


async def test_a_cast_is_paid_by_a_wallet_and_each_step_is_saved(
    buyer: Buyer, stage: Stage, tmp_path: Path
) -> None:
    """For what it was quoted at. One of which a step fails is resumed for what is missing; one that
    is cancelled before it is paid costs nothing."""
    listed = await buyer.run("cast", "list", "--tag", "landscape")
    assert "five-steps" in listed.out
    shown = await buyer.run("cast", "show", "five-steps")
    assert "step 3   retouch" in shown.out and "else a quiet valley" in shown.out
    quoted = await buyer.run("cast", "quote", "five-steps", "what=a lake")
    [price] = re.findall(r"It costs (\d+) sats", quoted.out)
    out = ("--out", str(tmp_path / "o"))
    dear = await buyer.run("cast", "run", "five-steps", *out, "--max-sats", str(int(price) - 1))
    assert dear.code == 2 and await payments(stage) == 0
    stage.toolbox.refuses = {"retouch"}
    ended = await buyer.run("cast", "run", "five-steps", "what=a lake", *out, "--max-sats", price)
    assert ended.code == 1 and f"paid {price} sats for the cast" in ended.err, ended.err
    assert "step 3: not made. It can’t be made of that." in ended.err
    assert [name[-6:-4] for name in ended.out.splitlines()] == ["01", "02"]
    [line] = re.findall(r"to make what is missing: boltwork (cast .*)", ended.err)
    stage.toolbox.refuses = set()
    resumed = await buyer.run(*shlex.split(line))
    assert resumed.code == 0, resumed.err
    assert [name[-6:-4] for name in resumed.out.splitlines()] == ["01", "02", "03", "04", "05"]
    assert stage.painter.asked[-1].inputs["prompt"] == "a lake, wide"
    assert len(stage.painter.asked) == 1 and await payments(stage) == 2
    again = await buyer.run(*shlex.split(line))
    assert (again.code, again.out, await payments(stage)) == (0, resumed.out, 2)
    async with Client(stage.at.url) as client:
        body, key = {"slug": "five-steps"}, {"Idempotency-Key": "k" * 32}
        refused = await client.priced("/api/v1/spells/cast", body, key)
        making = Making(client, Payer(StubWallet(client)), tmp_path / "o")
        told = await making.cancel(refused.body["instance"].rpartition("/")[2])
        assert (told["outputs"], told["missing"], told["chargedSats"]) == ([], 5, 0)
    assert await payments(stage) == 2


async def test_a_purse_pays_once_by_its_key(
    buyer: Buyer, stage: Stage, session: Session, account: Account, picture: Path, tmp_path: Path
) -> None:
    """A session or an account, for runs and casts: no invoice is paid, and the same command with
    the key that was shown buys nothing a second time; beyond the limit or the budget nothing is."""
    known = {"BOLTWORK_MACAROON": session.macaroon, "BOLTWORK_API_KEY": account.key}
    for purse in ("session", "account"):
        mine = Buyer(buyer.url, tmp_path / purse, known)
        await _pays_once(mine, purse, picture, tmp_path / f"of-{purse}")
    assert await payments(stage) == 0


async def _pays_once(buyer: Buyer, purse: str, picture: Path, folder: Path) -> None:
    out = (f"--{purse}", "--out", str(folder))
    runs = ("tools", "run", "resize", f"image=@{picture}", *out)
    ended = await buyer.run(*runs)
    assert ended.code == 0, ended.err
    assert f"the {purse} paid 1 sat, and has 99 sats left" in ended.err
    assert not any(secret in ended.err for secret in buyer.environment.values())
    casts = ("cast", "run", "five-steps", *out)
    cast = await buyer.run(*casts, "--json")
    assert cast.code == 0 and len(cast.told["outputs"]) == 5, cast.err  # type: ignore[arg-type]
    cost = cast.told["chargedSats"]
    left = 99 - int(str(cost))
    assert f"has {left} sats left" in cast.err
    for words, done in ((runs, ended), (casts, cast)):
        [key] = re.findall(r"the same command with (--key \w+)", done.err)
        again = await buyer.run(*words, *key.split())
        assert again.code == 0 and f"has {left} sats left" in again.err, again.err
    for words, more, says in (
        (casts, ("--max-sats", "3"), "more than your limit"),
        (casts, ("--budget-per-day", str(1 + int(str(cost)))), "budget"),
        (runs, ("--refund-to", "a@example.org"), "--refund-to can't be given"),
    ):
        refused = await buyer.run(*words, *more)
        assert refused.code == 2 and says in refused.err, refused
    [line] = re.findall(r"if this is interrupted: boltwork (cast .*)", cast.err)
    followed = await buyer.run(*shlex.split(line))
    assert followed.code == 0 and len(followed.out.splitlines()) == 5, followed.err


def test_each_line_of_the_readme_is_a_command() -> None:
    """With options that there are, and inputs that the tool or the spell has."""
    lines = re.findall(r"(?m)^ {4}boltwork ((?:tools|cast) [^#\n]*)", README.read_text())
    assert len(lines) >= 12
    rules = {tool.id: tool.inputs[Surface.TOOLS]["properties"] for tool in TOOLS}
    postcard = resources.files("app.trade.spellbook").joinpath("postcard.yaml").read_text()
    rules["postcard"] = yaml.safe_load(postcard)["parameters"]
    for line in lines:
        group, name, *words = shlex.split(line)
        above = Context(loaded(group), info_name=group)
        command = loaded(group).get_command(above, name)
        known = command.make_context(name, words, parent=above).params
        if typed := known.get("inputs") or known.get("parameters"):
            assert given(typed, rules[known.get("tool_id") or known["slug"]]), line
