"""`boltwork lend`: a machine takes what waits, makes it, and is paid, until it is told to end."""

import asyncio
import stat
from pathlib import Path

import pytest

from app import advance
from app.buyer.exchange import Exchange
from app.lender import keeping, payout_key
from app.lender.answers import Lease, Standing
from app.lender.keeping import Kept, Unkept
from app.lender.lending import Lender
from app.lender.registering import Place, enter
from app.lender.server import Machine, Refused, Server
from app.ports import Declined, Made, NotBegun, Step, Stepped, Undoable, Wanted, unwatched_step
from db import leases
from db.audit import audit
from tests.world.batch_doors import ended
from tests.world.command import boltwork
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import SIDE, buys, open_house, painted
from tests.world.patience import patiently

__all__ = ["open_house"]

TO = "you@example.org"
MACHINE = Machine(["scene-1"], 2048**2)


class Paints:
    """What a lent machine makes pictures with: at once, unless it is to wait."""

    name, at_once = "scene-1", 1

    def __init__(self) -> None:
        self.begun, self.go, self.side = asyncio.Event(), asyncio.Event(), SIDE
        self.now = self.most = self.looked = 0
        self.ill = 0  # looks at which it is not well
        self.go.set()

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make a picture, or say why not."""
        if "AWAY" in wanted.prompt:
            self.begun.set()
            raise NotBegun
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        stepped(Step(1, 2, painted(side=64)))
        await self.go.wait()
        self.now -= 1
        if "BREAK" in wanted.prompt:
            raise ValueError("broken")
        if "REFUSE" in wanted.prompt:
            return Declined("Nobody paints that.")
        if "CANNOT" in wanted.prompt:
            return Undoable("It is too much for this machine.")
        side = 64 if "ODD" in wanted.prompt else 0
        return Made(painted(side=self.side), "image/png", side, side)

    async def healthy(self) -> Undoable | None:
        """Say whether it is well by now."""
        self.looked += 1
        return Undoable("It is away.") if self.looked <= self.ill else None

    async def close(self) -> None:
        """There is nothing to close."""


class Desk:
    """A lender at a server, and what it has shown."""

    draws = True

    def __init__(self, at: Instance, token: str = "") -> None:
        self.server, self.paints = Server(Exchange(at.url, 60), token), Paints()
        self.said: list[str] = []
        self.percents: list[int] = []
        self.stood: list[Standing] = []
        self.spoke = asyncio.Event()
        self.lender = Lender(self.server, self.paints, MACHINE, self, 0.05, rests_s=0.01)

    def say(self, line: str) -> None:
        """Say something."""
        self.said.append(line)
        self.spoke.set()

    def begun(self, lease: Lease) -> None:
        """An item is being made."""
        self.said.append(f"begun {lease.shown}")

    def went(self, lease: Lease, percent: int) -> None:
        """It is so far."""
        self.percents.append(percent)

    def ended(self, lease: Lease) -> None:
        """It is made no more."""
        self.said.append(f"ended {lease.shown}")

    def stands(self, standing: Standing) -> None:
        """So much is earned."""
        self.stood.append(standing)

    async def until(self, words: str) -> None:
        """Wait until it has said something of the kind."""
        while not self.heard(words):
            self.spoke.clear()
            await self.spoke.wait()

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
    earnings = (await desk.server.me()).earnings["msat"]
    assert earnings["earned"] == earnings["free"] + earnings["held"] > 0
    assert desk.heard(" sats  scene-1 512×512: a boat") and desk.lender.made == 2
    assert [each.state for each in desk.stood] == ["online"]  # it is looked at now and then
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


async def test_as_many_are_made_at_once_as_it_says(open_house: Instance) -> None:
    """And each as it goes on is seen by who bought it."""
    desk = Desk(open_house)
    await desk.registered()
    batch_id = await buys(open_house, "a boat", "a tree", "a cat")
    desk.paints.go.clear()
    desk.lender.at_once, desk.lender.most_items = 2, 3
    working = asyncio.create_task(desk.lender.run())
    async for look in patiently("no preview is shown", pause_s=0.01):
        look.saw = said = (await open_house.http.get(f"/api/jobs/{batch_id}")).json()
        if sum("preview" in image for image in said["images"]) == 2:
            break
    assert {image.get("progress", 0) for image in said["images"]} == {0, 49}
    desk.paints.go.set()
    await working
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"
    assert (desk.paints.most, desk.lender.made, set(desk.percents)) == (2, 3, {49})
    await desk.server.close()


async def test_a_backend_that_is_away_claims_nothing(open_house: Instance) -> None:
    """That is told once, and so is its return."""
    desk = Desk(open_house)
    await desk.registered()
    await buys(open_house, "a boat")
    desk.paints.ill, desk.lender.most_items = 3, 1
    await desk.lender.run()
    said = [line for line in desk.said if "backend" in line]
    assert said == ["The backend can't be asked: It is away.", "The backend can be asked again."]
    assert desk.lender.made == 1
    await desk.server.close()


async def test_a_worker_that_was_paused_waits(open_house: Instance) -> None:
    """It goes on when it may; drained by its owner at the server it ends, and a banned one too."""
    desk = Desk(open_house)
    await desk.registered()
    await desk.server.change(state="paused")
    desk.lender.paused_s = 0.01
    working = asyncio.create_task(desk.lender.run())
    await desk.until("This worker is paused. It goes on")
    await desk.server.change(state="online")
    desk.paints.go.clear()
    await buys(open_house, "a boat")
    await desk.paints.begun.wait()
    await desk.server.change(state="draining")
    await desk.until("Ending: what is held is finished first.")
    desk.paints.go.set()
    await working
    assert desk.lender.made == 1
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
    await desk.until("Lost: scene-1")
    desk.lender.end()
    await working
    await desk.server.close()


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("BREAK", "Broke: "),
        ("REFUSE", "Declined: "),
        ("CANNOT", "Not made: "),
        ("another size", "Refused: It is 64 × 64 pixels"),
        ("ODD", "Not made: scene-1 512×512: ODD. It came out as 64 × 64."),
        ("AWAY", "Given back: "),
    ],
)
async def test_what_it_cannot_make_is_another_workers_turn(
    open_house: Instance, prompt: str, says: str
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


async def test_another_destination_is_signed_and_right_at_once(
    open_house: Instance, tmp_path: Path
) -> None:
    """By a key that was registered, and is in the file; of who has none there, it waits for a day.
    A registration whose answer was never heard is answered again, with the same token."""
    at, other = Place(open_house.url, tmp_path / "lend.json"), "other@example.org"
    desks = [Desk(open_house) for _ in range(4)]
    first, again, moved, unsigned = desks
    await enter(first.server, at, "laptop", TO, first.say)
    made = at.kept()
    assert made is not None and made.token == first.server.token
    asked = Kept(key="5e" * 32, name="desk", to=TO, secret="07" * 32, payout_key=made.payout_key)
    for desk in (again, moved):  # as if the first had heard nothing
        keeping.write(at.path, at.url, asked)
        await enter(desk.server, at, "", "", desk.say)
    assert again.server.token == moved.server.token != first.server.token
    await enter(moved.server, at, "", other, moved.say)
    assert moved.heard(f"Its pay goes to {other}.") and not moved.heard("Later")
    standing = await moved.server.me()
    assert (standing.signed, standing.payout_key) == (1, payout_key.public_half(made.payout_key))
    keeping.write(at.path, at.url, Kept(standing.worker_id, moved.server.token))
    with pytest.raises(Refused, match="must sign"):
        await enter(moved.server, at, "", TO, moved.say)
    worker_id, token = await unsigned.server.register("an older one", TO)
    keeping.write(at.path, at.url, Kept(worker_id, token))
    await enter(unsigned.server, at, "", other, unsigned.say)
    assert unsigned.heard(f"Its pay goes to {TO}.") and unsigned.heard(f"Later it goes to {other}")
    for desk in desks:
        await desk.server.close()


def test_the_worker_is_kept_in_a_file_of_its_owners(tmp_path: Path) -> None:
    """One file for all servers; what isn't one is not written over."""
    path = tmp_path / "deep" / "lend.json"
    assert keeping.read(path, "http://a") is None
    keeping.write(path, "http://a", Kept("1", "wk_a"))
    keeping.write(path, "http://b", Kept("2", "wk_b"))
    assert keeping.read(path, "http://a") == Kept("1", "wk_a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    odd = '{"http://a": {"payout_key": "5e"}}'
    for broken in ("no json", "[]", '{"http://a": {"token": 1}}', odd):
        path.write_text(broken)
        with pytest.raises(Unkept, match="Move it away"):
            keeping.read(path, "http://a")
    with pytest.raises(Unkept, match="Not a directory"):
        keeping.write(tmp_path / "deep" / "lend.json" / "no", "http://a", Kept("1", "wk_a"))


async def test_a_laptop_lends_itself_at_a_terminal(open_house: Instance, tmp_path: Path) -> None:
    """With the embedded painter, to its first pay, which it has sent."""
    state = ("--state", str(tmp_path / "lend.json"))
    batch_id = await buys(open_house, "a red boat on a calm lake")
    words = ("lend", "--url", open_house.url, *state, "--items", "1", "--backend", "scene")
    nowhere = await asyncio.to_thread(boltwork, *words)
    assert nowhere.returncode == 2 and "--to" in nowhere.stderr
    done = await asyncio.to_thread(boltwork, *words, "--to", TO)
    assert done.returncode == 0, done.stderr
    assert "is registered at" in done.stderr and done.stdout.startswith("sats: earned ")
    sent = await asyncio.to_thread(boltwork, *words[:5], "withdraw")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.startswith(f"Your pay is on its way to {TO}.\nsats: earned "), sent.stdout
    kept = keeping.read(tmp_path / "lend.json", open_house.url)
    desk = Desk(open_house, kept.token if kept is not None else "")
    earnings = (await desk.server.me()).earnings["msat"]
    assert earnings["sending"] == (earnings["earned"] - earnings["held"]) // 1_000 * 1_000 > 0
    with pytest.raises(Refused, match="0 sats are free"):
        await desk.server.withdraw(None, "another one of these names")
    await desk.server.close()
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
