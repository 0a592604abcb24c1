"""`boltwork draw`, and the client's batches: pictures are paid once, saved whole, and what was not
delivered comes back; all of it over HTTP, on a real instance.
"""

import re
import shlex
import signal
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from app.buyer.batch import Batch, Wish
from app.buyer.client import Client
from app.buyer.failures import Refused
from app.buyer.session import open_session
from app.buyer.wallets.stub import StubWallet
from db.audit import audit
from payments.bolt11 import decode
from tests.world.ask_buyer import Buyer
from tests.world.house_fixtures import Instance
from tests.world.scripted_maker import ScriptedMaker
from tests.world.studio_fixtures import maker, studio

__all__ = ["maker", "studio"]

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
async def buyer(studio: Instance, tmp_path: Path) -> AsyncIterator[Buyer]:
    """A buyer of a running instance; at the end its books are right."""
    yield Buyer(studio.url, tmp_path / "home", {})
    assert await audit(studio.built.db) == []


async def payments(studio: Instance) -> int:
    """Return how many invoices were paid."""
    rows = await studio.built.db.read_all("SELECT id FROM invoice WHERE state = 'settled'")
    return len(rows)


async def test_pictures_are_saved_where_they_should_be(buyer: Buyer, tmp_path: Path) -> None:
    """Their names alone are on standard output, each under a name of ours; the id of the batch is
    shown before anything is paid. Several words make one prompt.
    """
    out = tmp_path / "cats"
    ended = await buyer.run("draw", "a", "cat", "--count", "3", "--out", str(out))
    assert ended.code == 0, ended.err
    names = ended.out.splitlines()
    assert sorted(names) == sorted(str(path) for path in out.iterdir())
    assert all(re.fullmatch(r"[0-9a-f]{8}-00[123]\.png", Path(name).name) for name in names)
    with Image.open(names[0]) as picture:
        assert picture.size == (64, 64)
    assert ended.err.index("boltwork draw --resume") < ended.err.index("paid 12 sats")
    assert "\x1b" not in ended.err


async def test_what_is_not_delivered_is_said_and_taken_back(buyer: Buyer, tmp_path: Path) -> None:
    """Exit code 1: not all are there; each that is not has its reason, and the rest is refunded."""
    ended = await buyer.run("draw", "SOME cats", "--count", "4", "--out", str(tmp_path / "o"))
    assert ended.code == 1
    assert ended.err.count("not made. Nobody paints <b>that</b>.") == 2
    assert len(ended.out.splitlines()) == 2 and "were sent." in ended.err
    lost = await buyer.run("draw", "BREAK", "--out", str(tmp_path / "o"), "--json")
    assert lost.code == 1 and lost.told["status"] == "failed" and lost.told["files"] == []


async def test_too_dear_is_refused_before_anything_is_ordered(
    buyer: Buyer, studio: Instance, tmp_path: Path
) -> None:
    """By the limit of the purchase, the day's budget, or a folder that can't be written in."""
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    for words in (
        ("--count", "500", "--max-sats", "1999"),
        ("--count", "5", "--budget-per-day", "19"),
        ("--out", str(no_folder)),
        ("--size", "big"),
        ("--size", "9x9"),
        ("--model", "nobody"),
        ("--resume", "0" * 32),
    ):
        ended = await buyer.run("draw", "a cat", "--out", str(tmp_path / "o"), *words)
        assert ended.code in (2, 5) and not ended.out, (words, ended)
    assert (await buyer.run("draw")).code == 2
    assert (await buyer.run("draw", "--resume", "nothing")).code == 2
    assert await studio.built.db.read_all("SELECT id FROM batch") == []
    dry = await buyer.run("draw", "a cat", "--count", "500", "--dry-run")
    assert dry.code == 0 and dry.out == "2000\n"


async def test_an_interrupted_purchase_is_resumed_and_not_paid_again(
    buyer: Buyer, studio: Instance, maker: ScriptedMaker, tmp_path: Path
) -> None:
    """The line that was shown goes on with it; files that are there are not fetched again."""
    maker.go.clear()
    out = tmp_path / "cats"
    running = await buyer.begin("draw", "a cat", "--count", "2", "--out", str(out))
    lines = ""
    while "paid 8 sats" not in lines:
        line = (await running.err.readline()).decode()
        assert line, lines  # it has not ended
        lines += line
    running.send_signal(signal.SIGINT)
    ended = await running.ended()
    assert ended.code == 130 and "boltwork draw" in ended.err
    assert list(out.iterdir()) == []
    maker.go.set()
    [line] = re.findall(r"if this is interrupted: boltwork (draw .*)", lines)
    resumed = await buyer.run(*shlex.split(line))
    assert resumed.code == 0, resumed.err
    there = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(there) == 2 and await payments(studio) == 1
    again = await buyer.run(*shlex.split(line))
    assert again.code == 0 and again.out == resumed.out
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == there
    assert await payments(studio) == 1


async def test_a_batch_that_was_not_paid_is_paid_when_it_is_resumed(
    buyer: Buyer, studio: Instance, tmp_path: Path
) -> None:
    """Once, within the limit; one that costs more than that is not."""
    async with Client(studio.url) as client:
        batch = await client.batch(Wish("a cat", "scene-1", 2))
    words = ("draw", "--resume", batch.id, "--out", str(tmp_path / "o"))
    assert (await buyer.run(*words, "--max-sats", "7")).code == 2
    assert await payments(studio) == 0
    for _ in range(2):
        assert (await buyer.run(*words)).code == 0
    assert await payments(studio) == 1


async def test_a_program_orders_watches_and_fetches(studio: Instance, tmp_path: Path) -> None:
    """The client's batch has an invoice for its whole price, and its files are those it names."""
    async with Client(studio.url) as client:
        batch = await client.batch(Wish("a cat", "scene-1", 2, 512, 256))
        assert batch.invoice is not None and batch.invoice["amountSats"] == 8
        await StubWallet(client).pay(decode(batch.invoice["paymentRequest"]))
        seen = [shown async for shown in batch.watch()]
        assert seen[-1]["job"]["status"] == "completed" and seen[-1]["chargedSats"] == 8
        [first, second] = seen[-1]["items"]
        with (tmp_path / "file").open("w+b") as file:
            assert await batch.fetch(second, "image", file) == "png"
        saved = sha256((tmp_path / "file").read_bytes()).hexdigest()
        assert saved == second.get("sha256") != first.get("sha256")
        other = await client.batch(Wish("a dog", "scene-1"))
        gone = await other.cancel()
        assert gone["job"]["status"] == "cancelled"
        with pytest.raises(ValueError, match="32 hex digits"):
            Batch(client, "../jobs")


async def test_a_session_pays_for_pictures(buyer: Buyer, studio: Instance, tmp_path: Path) -> None:
    """By its macaroon, which is in the environment only: no invoice is paid, and what was not
    delivered is on its balance again. What it paid is counted in the budget of the day."""
    async with Client(studio.url) as client:
        session = await open_session(client, 100, StubWallet(client))
        out, with_it = tmp_path / "cats", {"BOLTWORK_MACAROON": session.macaroon}
        words = ("draw", "SOME cats", "--session", "--out", str(out), "--budget-per-day", "20")
        ended = await buyer.run(*words, "--count", "4", **with_it)
        assert ended.code == 1 and len(ended.out.splitlines()) == 2, ended.err
        assert "the session paid 8 sats, and has 92 sats left" in ended.err
        assert session.macaroon not in ended.err and "--wallet" not in ended.err
        assert (await session.status())["balanceSats"] == 92
        assert await payments(studio) == 1  # the deposit
        # Eight of the day's twenty are spent, of the sixteen that were set aside.
        for count, code in (("4", 2), ("3", 1)):
            assert (await buyer.run(*words, "--count", count, **with_it)).code == code
        [line] = re.findall(r"if this is interrupted: boltwork (draw .*)", ended.err)
        again = await buyer.run(*shlex.split(line))
        assert again.code == 1 and again.out == ended.out


async def test_a_session_that_may_not_or_can_not_pay_is_left_alone(
    buyer: Buyer, studio: Instance, tmp_path: Path
) -> None:
    """Nothing is ordered and nothing counted: not with a macaroon for something else, nor for more
    than the balance, nor where what is owed back should go elsewhere."""
    async with Client(studio.url) as client:
        session = await open_session(client, 100, StubWallet(client))
        other = session.narrowed(endpoints=["request"])
    draws = ("draw", "a cat", "--session", "--out", str(tmp_path / "o"), "--budget-per-day", "200")
    for words, macaroon, says in (
        ((), "", "needs the session's macaroon"),
        ((), "nonsense", "BOLTWORK_MACAROON: "),
        ((), other.macaroon, "does not allow"),
        (("--count", "30"), session.macaroon, "balance is 100"),
        (("--refund-to", "a@example.org"), session.macaroon, "--refund-to can't be given"),
    ):
        ended = await buyer.run(*draws, *words, BOLTWORK_MACAROON=macaroon)
        assert ended.code == 2 and says in ended.err, ended
    resumed = ("draw", "--resume", "0" * 32, "--session")
    assert "--session can't be given" in (await buyer.run(*resumed)).err
    assert await studio.built.db.read_all("SELECT id FROM batch") == []
    whole = await buyer.run(*draws, "--count", "25", BOLTWORK_MACAROON=session.macaroon)
    assert whole.code == 0, whole.err


async def test_a_program_has_a_session_pay(studio: Instance) -> None:
    """Its batch has begun, and there is no invoice; a macaroon that allows less is refused."""
    async with Client(studio.url) as client:
        session = await open_session(client, 100, StubWallet(client))
        wish = Wish("a cat", "scene-1", 2)
        batch = await client.batch(wish, session)
        assert batch.invoice is None
        seen = [shown async for shown in batch.watch()]
        assert seen[-1]["job"]["status"] == "completed" and seen[-1]["chargedSats"] == 8
        assert (await session.status())["balanceSats"] == 92
        with pytest.raises(Refused) as refused:
            await client.batch(wish, session.narrowed(max_sats=7))
        assert refused.value.status == 403


async def test_each_line_of_the_readme_draws(
    buyer: Buyer, studio: Instance, tmp_path: Path
) -> None:
    """Every line of it that buys pictures does, in the folder that it names."""
    async with Client(studio.url) as client:
        session = await open_session(client, 100, StubWallet(client))
    lines = re.findall(r"(?m)^ {4}boltwork (draw [^#\n]*)", README.read_text())
    assert len(lines) >= 2
    for line in lines:
        if "BATCH" in line:
            continue
        words = [*shlex.split(line), "--out", str(tmp_path / "cats")]  # the last one counts
        ended = await buyer.run(*words, BOLTWORK_MACAROON=session.macaroon)
        assert ended.code == 0, (line, ended)
