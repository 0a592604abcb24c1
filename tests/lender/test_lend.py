"""`boltwork lend`: a machine takes what waits, makes it, and is paid, until it is told to end."""

import asyncio
import stat
from pathlib import Path

import pytest

from app import advance
from app.buyer.exchange import Exchange
from app.lender import keeping
from app.lender.backends import NoBackend, backend_of
from app.lender.keeping import Kept, Unkept
from app.lender.lending import BROKE, Lender
from app.lender.server import Machine, Refused, Server
from app.ports import Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step
from db import leases
from db.audit import audit
from tests.world.batch_doors import ended
from tests.world.command import boltwork
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import SIDE, buys, open_house, painted

__all__ = ["open_house"]

TO = "you@example.org"
MACHINE = Machine(["scene-1"], 2048**2)


class Paints:
    """What a lent machine makes pictures with: at once, unless it is to wait."""

    name, at_once = "scene-1", 1

    def __init__(self) -> None:
        self.begun, self.go, self.side = asyncio.Event(), asyncio.Event(), SIDE
        self.go.set()

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make a picture, or say why not."""
        self.begun.set()
        stepped(Step(1, 2, painted(side=64)))
        await self.go.wait()
        if "BREAK" in wanted.prompt:
            raise ValueError("broken")
        if "REFUSE" in wanted.prompt:
            return Declined("Nobody paints that.")
        if "CANNOT" in wanted.prompt:
            return Undoable("It is too much for this machine.")
        return Made(painted(side=self.side), "image/png")

    async def healthy(self) -> None:
        """It always is."""

    async def close(self) -> None:
        """There is nothing to close."""


class Desk:
    """A lender at a server, and what it has said."""

    def __init__(self, at: Instance, token: str = "") -> None:
        self.server, self.paints = Server(Exchange(at.url, 60), token), Paints()
        self.said: list[str] = []
        self.spoke = asyncio.Event()
        self.lender = Lender(self.server, self.paints, MACHINE, self.say, beat_s=0.05)

    def say(self, line: str) -> None:
        """Say something."""
        self.said.append(line)
        self.spoke.set()

    async def registered(self) -> str:
        """Register; return the token."""
        return (await self.server.register("laptop", TO))[1]

    def heard(self, words: str) -> bool:
        """Say whether it has said something of the kind."""
        return any(words in line for line in self.said)


async def test_what_waits_is_made_and_paid_for(open_house: Instance) -> None:
    """It ends after so many items; what it earned is what the books say."""
    desk = Desk(open_house)
    await desk.registered()
    batch_id = await buys(open_house, "a boat", "a tree")
    desk.lender.most_items = 2
    await desk.lender.run()
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"
    earnings = (await desk.server.me())["earnings"]["msat"]
    assert earnings["earned"] == earnings["free"] + earnings["held"] > 0
    assert desk.heard(" sats  scene-1 512×512: a boat") and desk.lender.made == 2
    await desk.server.close()
    assert [finding.line for finding in await audit(open_house.built.db)] == []


async def test_started_again_it_goes_on_with_what_it_held(open_house: Instance) -> None:
    """One that was killed at work: the next one makes what it held, under the same lease."""
    first = Desk(open_house)
    token = await first.registered()
    batch_id = await buys(open_house, "a boat")
    first.paints.go.clear()
    working = asyncio.create_task(first.lender.run())
    await first.paints.begun.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    again = Desk(open_house, token)
    again.lender.end()
    await again.lender.run()
    assert again.heard("Going on with: scene-1 512×512: a boat")
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"
    for desk in (first, again):
        await desk.server.close()


async def test_told_to_end_it_finishes_what_it_holds(open_house: Instance) -> None:
    """And claims no more; waiting for something, it ends at once."""
    desk = Desk(open_house)
    await desk.registered()
    batch_id = await buys(open_house, "a boat")
    desk.paints.go.clear()
    working = asyncio.create_task(desk.lender.run())
    await desk.paints.begun.wait()
    desk.lender.end()
    desk.paints.go.set()
    await working
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"
    idle = Desk(open_house)
    await idle.registered()
    waiting = asyncio.create_task(idle.lender.run())
    idle.lender.end()
    await waiting
    for each in (desk, idle):
        await each.server.close()


async def test_a_lease_that_is_lost_is_made_no_further(open_house: Instance) -> None:
    """The heartbeat says so, and the machine is free for another item."""
    desk = Desk(open_house)
    worker_id = (await desk.server.register("laptop", TO))[0]
    await buys(open_house, "a boat")
    desk.paints.go.clear()
    working = asyncio.create_task(desk.lender.run())
    await desk.paints.begun.wait()
    [lease] = await leases.held_by(open_house.built.db, worker_id)
    whose = lease.item_id, lease.number, worker_id, "It was taken away."
    await open_house.built.shell.do(advance.leases.fail, *whose)
    while not desk.heard("Lost: scene-1"):
        desk.spoke.clear()
        await desk.spoke.wait()
    desk.lender.end()
    await working
    await desk.server.close()


@pytest.mark.parametrize(
    ("prompt", "says", "reason"),
    [
        ("BREAK", "Broke: ", BROKE),
        ("REFUSE", "Declined: ", "Nobody paints that."),
        ("CANNOT", "Not made: ", "It is too much for this machine."),
        ("another size", "Refused: It is 64 × 64 pixels", BROKE),
    ],
)
async def test_what_it_cannot_make_is_another_workers_turn(
    open_house: Instance, prompt: str, says: str, reason: str
) -> None:
    """It says why; a new worker's word does not end an item for all."""
    desk = Desk(open_house)
    await desk.registered()
    desk.paints.side = 64
    batch_id = await buys(open_house, prompt)
    working = asyncio.create_task(desk.lender.run())
    await desk.paints.begun.wait()
    desk.lender.end()
    await working
    assert desk.heard(says), desk.said
    [item] = (await open_house.http.get(f"/api/jobs/{batch_id}")).json()["images"]
    assert (item["status"], await desk.server.held()) == ("pending", [])
    await desk.server.close()


async def test_a_terminal_obeys_no_strangers_prompt(open_house: Instance) -> None:
    """What a prompt holds beside letters is left out of what is shown."""
    desk = Desk(open_house)
    await desk.registered()
    await buys(open_house, "a \u202e boat" + " very" * 40)
    desk.lender.most_items = 1
    await desk.lender.run()
    [line] = [line for line in desk.said if " sats" in line]
    assert line.isprintable() and line.endswith("…")
    await desk.server.close()


async def test_a_server_that_takes_no_workers_says_so(instance: Instance) -> None:
    """So does one that knows no such token."""
    desk = Desk(instance)
    with pytest.raises(Refused, match="made by nobody else"):
        await desk.registered()
    with pytest.raises(Refused, match="token"):
        await Desk(instance, "wk_unknown").server.me()
    await desk.server.close()


def test_the_worker_is_kept_in_a_file_of_its_owners(tmp_path: Path) -> None:
    """One file for all servers; what isn't one is not written over."""
    path = tmp_path / "deep" / "lend.json"
    assert keeping.read(path, "http://a") is None
    keeping.write(path, "http://a", Kept("1", "wk_a"))
    keeping.write(path, "http://b", Kept("2", "wk_b"))
    assert keeping.read(path, "http://a") == Kept("1", "wk_a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for broken in ("no json", "[]", '{"http://a": {"token": 1}}'):
        path.write_text(broken)
        with pytest.raises(Unkept, match="Move it away"):
            keeping.read(path, "http://a")
    with pytest.raises(Unkept, match="Not a directory"):
        keeping.write(tmp_path / "deep" / "lend.json" / "no", "http://a", Kept("1", "wk_a"))


def test_there_are_few_backends() -> None:
    """The painter, and a server of one's own that makes these models."""
    assert backend_of("scene", [])[1] == ["scene-1", "scene-1-film"]
    with pytest.raises(NoBackend, match="no backend 'mine'"):
        backend_of("mine", [])
    with pytest.raises(NoBackend, match="--model"):
        backend_of("openai:http://127.0.0.1:9/v1", [])


async def test_a_laptop_lends_itself_at_a_terminal(open_house: Instance, tmp_path: Path) -> None:
    """With the embedded painter, to its first pay; a second start needs no --to."""
    state = ("--state", str(tmp_path / "lend.json"))
    batch_id = await buys(open_house, "a red boat on a calm lake")
    words = ("lend", "--url", open_house.url, *state, "--items", "1")
    nowhere = await asyncio.to_thread(boltwork, *words)
    assert nowhere.returncode == 2 and "--to" in nowhere.stderr
    done = await asyncio.to_thread(boltwork, *words, "--to", TO)
    assert done.returncode == 0, done.stderr
    assert "is registered at" in done.stderr and done.stdout.startswith("sats: earned ")
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"
    [image] = (await open_house.http.get(f"/api/jobs/{batch_id}")).json()["images"]
    assert image["madeBy"] == "network"


async def test_the_operator_bans_a_worker(
    open_house: Instance, database_url: str, tmp_path: Path
) -> None:
    """It is listed by its name in one line; a banned one is given nothing until it is let in."""
    desk = Desk(open_house)
    worker_id = (await desk.server.register("my\u2028laptop", TO))[0]
    books = {"DATABASE_URL": database_url, "BOLTWORK_DATA": str(tmp_path)}

    async def operator(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(boltwork, "workers", *words, **books)
        return done.returncode, done.stdout + done.stderr

    code, listed = await operator("list")
    assert code == 0 and listed.startswith(f"{worker_id}  online  new  0 delivered"), listed
    assert len(listed.splitlines()) == 1
    assert (await operator("ban", worker_id))[0] == 0
    with pytest.raises(Refused, match="This worker is banned"):
        await desk.server.claim(MACHINE)
    assert (await operator("ban", worker_id))[0] == 1
    assert (await operator("readmit", worker_id))[0] == 0
    await desk.server.change(state="online")
    await desk.server.close()
