"""Those who lend machines, by the desk that the workers' API uses: honest, slow, dying, lying,
greedy and colluding ones; and the operator, who bans some and takes them again.

A machine lives on when a process of ours dies, and it may die itself between any two of its steps:
then it knows its token, and asks what it holds, or has forgotten all.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app import advance
from app.advance.workers import Change
from app.refusal import Refusal, Why
from app.trade.lenders import Redirection, Registration
from app.trade.lending import Asked
from app.trade.once import Name
from db import payouts
from db.leases import Named
from db.workers import WorkerRow
from pricing.money import worker_share
from statemachine.entries import Asset
from statemachine.worker import Drained, Paused, Resumed
from tests.simulation.makers import LANES, Said, sha
from tests.simulation.payers import Crowd, Payer
from tests.simulation.process import Process
from tests.simulation.shelf import OTHER_SIZE, UNFIT
from tests.simulation.workbench import words

# What becomes of an item in the hands of each: by weights.
FATES = {
    "honest": (("brings", 1),),
    "slow": (("slow", 2), ("late", 7), ("brings", 1)),
    "dying": (("dies", 5), ("brings", 4)),
    "lying": (("lies", 6), ("junk", 2), ("other size", 1), ("stolen", 3), ("otherwise", 2)),
    "greedy": (("brings", 4), ("gives back", 4), ("fails", 1), ("never", 1)),
    "colluding": (("by the other", 4), ("by both", 3), ("stolen", 2), ("brings", 2)),
}
LETS_GO, BEATS, SHARED = (
    ("gives back", "fails", "never"),
    ("slow", "brings", "dies"),
    ("by the other", "by both"),
)
ALL = (*FATES, "colluding")  # colluders know each other
MOST_LENDERS = 7
MOST_BEATS = 2
LATE_S = (1, 3, 8, 20, 60, 4_000)  # after a lease has ended
GOES_ON = (Why.NOT_WELL,)  # the same again is right then
LARGE, VRAM_GB = 4_096 * 4_096, 48


@dataclass(eq=False)
class Work:
    """One item, as a machine was told it, and what it will do with it."""

    lease_id: str
    asked: dict[str, Any]
    until: datetime
    fate: str
    data: bytes
    at: datetime  # when it goes on
    beats: int = 0


@dataclass(eq=False)
class Lender(Payer):
    """One machine."""

    character: str = ""
    token: str = ""
    worker_id: str = ""
    works: list[Work] = field(default_factory=list)
    forgotten: bool = False  # it has died, and must ask what it holds
    stopped: bool = False  # it was told that it is given nothing
    asked_for_pay: int = 0

    @property
    def finished(self) -> bool:
        """See Payer: it stays."""
        return False


class Lenders(Crowd[Lender]):
    """All of them, and what they do next."""

    said: Said
    most = MOST_LENDERS
    characters: Sequence[str] = ALL  # who comes, one after the other

    def arrive(self) -> Lender:
        """See Crowd."""
        number = len(self.active) + len(self.past)
        lender = Lender(
            name=f"n{number}",
            gives_up=False,
            came_at=self._clock.true,
            refund_to=f"n{number}@wallet.example.org",
            key=None,
            character=self.characters[number % len(self.characters)],
        )
        self.active.append(lender)
        return lender

    def wish(self, lender: Lender) -> str | None:
        """See Crowd."""
        if not lender.token:
            return "register"
        if lender.forgotten:
            return "resume"
        now, is_greedy = self._clock.true, lender.character == "greedy"
        if any(work.at <= now for work in lender.works) and self._dice.random() < 0.75:
            return "work"
        if lender.stopped and self._dice.random() < 0.5:
            return self.pick([("change", 2), ("operate", 1)])
        doors = [("take", 60), ("poll", 4), ("take_pay", 30 if is_greedy else 4), ("change", 5)]
        return self.pick([*doors, ("operate", 2), ("pretend", 3)])

    # ------------------------------------------------------- what goes through our doors

    async def register(self, lender: Lender, process: Process) -> None:
        """POST /api/v1/workers. Who is not answered has a token of none, and registers again."""
        assert lender.refund_to is not None
        asked = Registration(lender.name, lender.refund_to)
        made = await process.house.lenders.register(asked)
        if not lender.token:
            assert made.token is not None, "it is told to nobody else"
            lender.token, lender.worker_id = made.token, made.row.id
            lender.owner_id = made.row.account_id

    async def poll(self, lender: Lender, process: Process) -> None:
        """GET /api/v1/workers/me."""
        house = process.house
        standing = await house.lenders.standing(await self._row(lender, process))
        for purse in standing.purses:  # read in one moment
            assert min(*purse[1:], purse.paid) >= 0, f"{lender.name} is shown {purse}"
        rows = await payouts.of_owner(house.db, lender.owner_id)
        in_msat = [each for each in rows if each.asset is Asset.MSAT]
        refunds = [house.shapes.refund(each, None) for each in in_msat]
        lender.status = {"state": "open", "refunds": refunds}

    async def claim(self, lender: Lender, process: Process) -> None:
        """POST /api/v1/workers/me/payouts: what went nowhere is sent to where its pay goes now."""
        with suppress(Refusal):
            await process.house.lenders.pay_out(await self._row(lender, process), None, None)
        await self.poll(lender, process)

    async def resume(self, lender: Lender, process: Process) -> None:
        """Come back to life: ask what it holds, or know nothing of it."""
        lender.forgotten = False
        if self._dice.random() < 0.4:
            return
        standing = await process.house.lenders.standing(await self._row(lender, process))
        known = {work.lease_id for work in lender.works}
        for lease in standing.held:
            if lease.id not in known:
                lender.works.append(self._work(lender, lease.id, lease.asked, lease.until))

    async def take(self, lender: Lender, process: Process) -> None:
        """POST /api/v1/workers/claims: some of what waits, or as much as may be."""
        dice, lending = self._dice, process.house.lending
        models = dice.sample(LANES, dice.randrange(1, len(LANES) + 1))
        most = 8 if lender.character == "greedy" else dice.choice((1, 1, 2, 8))
        asked = Asked((*models, "unheard-of"), LARGE, VRAM_GB, most)

        async def is_gone() -> bool:
            return False

        try:
            given = await lending.claim(await self._row(lender, process), asked, is_gone)
        except Refusal as refusal:
            lender.stopped = refusal.why is Why.WORKER_PAUSED
            raise
        assert given.claims or given.no_match, "nothing, and nobody says why"
        for claim in given.claims:
            assert claim.lease_id is not None, "it is the house's"
            self._weather.counts["maker: has an item"] += 1
            lender.works.append(self._work(lender, claim.lease_id, claim.asked, claim.until))

    def _work(self, lender: Lender, lease_id: str, asked: dict[str, Any], until: datetime) -> Work:
        fate, at = self.pick(FATES[lender.character]), self._clock.true
        if fate == "late":
            at = until + timedelta(seconds=self._dice.choice(LATE_S))
        self._weather.counts[f"maker: {lender.character}, {fate}"] += fate != "brings"
        data = f"{words(asked)} by {lender.name} {self._dice.random()}".encode()
        return Work(lease_id, asked, until, fate, data, at)

    async def work(self, lender: Lender, process: Process) -> None:
        """Do what is next with an item; some do it while they wait for the answer to it."""
        now = self._clock.true
        ready = [work for work in lender.works if work.at <= now]
        if not ready:
            return
        work = self._dice.choice(ready)
        try:
            if work.fate in LETS_GO:
                await self._let_go(process, lender, work)
            elif work.fate in BEATS and work.beats < MOST_BEATS:
                await self._beat(process, lender, work)
            elif work.fate in SHARED:
                await self._by_the_other(process, lender, work)
            else:
                await self._deliver(process, lender, work)
        except Refusal as refusal:
            self._hears(lender, work, refusal)
            raise
        self._die(lender, work)

    async def _let_go(self, process: Process, lender: Lender, work: Work) -> None:
        """Give an item back, or never say a word of it again."""
        worker, lease = await self._mine(process, lender, work)
        lending, is_final = process.house.lending, self._dice.random() < 0.5
        if work.fate == "gives back":
            await lending.release(worker, lease)
        elif work.fate == "fails":
            if is_final:  # which only one that is trusted can say
                self.said.declined.add(((lease.item_id, lease.number), worker.id))
            await lending.fail(worker, lease, "It broke.", not is_final)
        self._forget(lender, work)

    async def _deliver(self, process: Process, lender: Lender, work: Work) -> None:
        """Bring what was made, or something else."""
        data = {
            "junk": UNFIT + work.data,
            "other size": OTHER_SIZE + work.data,
            "stolen": self._stolen() or work.data,
            "lies": f"nothing of it {self._dice.random()}".encode(),
        }.get(work.fate, work.data)
        await self._bring(process, lender, work, data)
        if work.fate == "otherwise":
            await self._bring(process, lender, work, data + b", again")
        self._forget(lender, work)

    async def _beat(self, process: Process, lender: Lender, work: Work) -> None:
        work.beats += 1
        work.at = self._clock.true + timedelta(seconds=self._dice.randrange(20))
        worker, lease = await self._mine(process, lender, work)
        held = await process.house.lending.beat(worker, lease, 45 * work.beats, b"")
        work.until = held.until

    async def _bring(self, process: Process, lender: Lender, work: Work, data: bytes) -> None:
        """PUT /api/v1/leases/{id}/result, with the token of whoever holds it."""
        worker, lease = await self._mine(process, lender, work)
        which = lease.item_id, lease.number
        self.said.brought[which, worker.id][sha(data)] = data
        pay = await process.house.lending.submit(worker, lease, data, "image/png")
        self.said.taken.append((which, sha(data)))
        self.said.paid.append((lease.item_id, worker.id, pay))
        assert pay == worker_share(lease.share_amount, lease.pay_pct), "it was told another pay"

    def _stolen(self) -> bytes | None:
        """Return what somebody has brought for another item, as it lies on the shelf of the thief's
        friends."""
        known = [data for told in self.said.brought.values() for data in told.values()]
        return self._dice.choice(known[-40:]) if known else None

    async def _by_the_other(self, process: Process, lender: Lender, work: Work) -> None:
        """Have another bring it by its own token, which opens nothing here; then by this one's."""
        others = [each for each in self.active if each.token and each is not lender]
        friends = [each for each in others if each.character == "colluding"] or others
        if friends:
            await self._not_theirs(process, self._dice.choice(friends), work)
        if work.fate == "by both":
            lender.works.append(Work(**{**vars(work), "fate": "brings", "beats": MOST_BEATS}))
        work.fate = "brings"
        await self._deliver(process, lender, work)

    async def pretend(self, lender: Lender, process: Process) -> None:
        """Speak of another's lease, or of one that nobody has."""
        others = [work for each in self.active if each is not lender for work in each.works]
        if others:
            await self._not_theirs(process, lender, self._dice.choice(others))

    async def _not_theirs(self, process: Process, lender: Lender, work: Work) -> None:
        self._weather.counts["maker: speaks of another's lease"] += 1
        worker = await self._row(lender, process)
        try:
            await process.house.lending.lease(worker, work.lease_id)
        except Refusal as refusal:
            assert refusal.why is Why.LEASE_UNKNOWN, refusal
        else:
            raise AssertionError(f"{lender.name} opens the lease of another")

    async def take_pay(self, lender: Lender, process: Process) -> None:
        """POST /api/v1/workers/me/payouts; the greedy one asks twice under one name, and again."""
        worker, lender.asked_for_pay = await self._row(lender, process), lender.asked_for_pay + 1
        key = f"pay {lender.asked_for_pay}"
        amount_msat = self._dice.choice((None, None, 1_000, 5_000))
        name = Name(f"worker:{worker.id}", key, sha(f"{amount_msat}".encode()))
        times, lenders = (3 if lender.character == "greedy" else 1), process.house.lenders
        self._weather.counts["maker: asks for its pay"] += times
        made = {await lenders.pay_out(worker, amount_msat, name) for _ in range(times)}
        assert len(made) == 1, "one key gave two payouts"

    async def change(self, lender: Lender, process: Process) -> None:
        """PATCH /api/v1/workers/me."""
        stops = (Drained(), Paused()) if self._dice.random() < 0.3 and not lender.stopped else ()
        event = self._dice.choice((Resumed(), *stops))
        lender.stopped = False
        pay_to = f"{lender.name}.{self._dice.randrange(9)}@wallet.example.org"
        to = Redirection(pay_to) if self._dice.random() < 0.2 else None
        row = await self._row(lender, process)
        await process.house.lenders.change(row, Change(event=event), to)

    async def operate(self, lender: Lender, process: Process) -> None:
        """The operator bans a worker, or takes one again."""
        workers, shell = advance.workers, process.built.shell
        if not lender.stopped and self._dice.random() < 0.5:
            self.said.operated[f"{lender.worker_id} banned"] += 1
            await shell.do(workers.ban, lender.worker_id)
        else:
            self.said.operated[f"{lender.worker_id} paused"] += 1
            await shell.do(workers.readmit, lender.worker_id)

    # ------------------------------------------------------------------------------- parts

    async def _row(self, lender: Lender, process: Process) -> WorkerRow:
        row = await process.house.lenders.worker(lender.token)
        assert row is not None and row.id == lender.worker_id, "a token opens another worker"
        return row

    async def _mine(self, process: Process, lender: Lender, work: Work) -> tuple[WorkerRow, Named]:
        worker = await self._row(lender, process)
        return worker, await process.house.lending.lease(worker, work.lease_id)

    def _die(self, lender: Lender, work: Work) -> None:
        """Die here, if that is its fate: what it was answered is lost with it."""
        if work.fate == "dies" and self._dice.random() < 0.4:
            self._weather.counts["maker: a machine dies"] += 1
            lender.works.clear()
            lender.forgotten = True

    def _hears(self, lender: Lender, work: Work, refusal: Refusal) -> None:
        if refusal.why in GOES_ON:
            return
        self._weather.counts[f"maker: is refused: {refusal.why.name}"] += 1
        if refusal.why is Why.RESULT_REFUSED and self._dice.random() < 0.5:
            work.fate = "fails"
        else:
            self._forget(lender, work)

    def _forget(self, lender: Lender, work: Work) -> None:
        if work in lender.works:
            lender.works.remove(work)
