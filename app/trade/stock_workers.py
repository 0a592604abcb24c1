"""Workers that run another network's programs, as these come: a thin second door to the same desk.

What they take, bring and are paid is the desk of workers' (`app.trade.lending`): its claims, its
fencing, its holdback. Their programs send no heartbeat, so a lease is held for them for some
minutes; and they bring a file to an address that holds a secret, before they say that it is done.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from app import advance
from app.advance import Applied
from app.advance.leases import Held
from app.advance.workers import Change
from app.artifacts.bounds import MIB
from app.keys import stock_keys as credential
from app.ports import NotNow, Store, Wanted
from app.promises.leases import SHARED, Holding, wish
from app.refusal import Refusal, Why, unavailable
from app.trade.catalogue import Kind
from app.trade.lending import AWAY_S, Asked, IsGone, Lending, NoMatch
from app.trade.tiers import TIERED
from db import stock_keys, user_balances, workers
from db.claims import Claim
from db.leases import Named
from db.workers import WorkerRow
from payments.seal import Seal
from statemachine import worker as law
from statemachine.entries import Asset
from statemachine.lease import LeaseState
from statemachine.worker import WorkerState

HOLDS_S: Final = 300  # without a word of who makes it, and never past the lease's deadline
MOST_FILE: Final = 48 * MIB  # the decoder takes no more
MARKED: Final = "file of a lease"  # what the secret of an address is for
MARK: Final = 32  # characters of it: 128 bits
# What the dialect can say of a size: its programs refuse any other. They are asked for the next
# larger one, and what they make is cut.
LEAST_SIDE, MOST_SIDE, GRID = 64, 3_072, 64
# How their models are called that are sold here under another name.
ALSO_CALLED: Final[Mapping[str, str]] = {
    "z-image turbo": "z-image-turbo",
    "flux.1 schnell": "flux-schnell",
    "flux.1-schnell": "flux-schnell",
    "flux.1-schnell fp8 (compact)": "flux-schnell",
    "flux.1-schnell fp16 (compact)": "flux-schnell",
}


@dataclass(frozen=True, slots=True)
class Popped:
    """What a worker is to make, in a model that it calls so, and what it is paid for it."""

    lease_id: str
    model: str
    wanted: Wanted
    asset: Asset
    pay_amount: int
    until: datetime
    mark: str  # the secret of the address that its file is brought to


@dataclass(frozen=True, slots=True)
class Nothing:
    """A worker is given nothing, and this is why."""

    no_match: list[NoMatch]


@dataclass(frozen=True, slots=True)
class Paid:
    """What a worker is paid, in the smallest unit of an asset."""

    asset: Asset
    amount: int


@dataclass(frozen=True, slots=True)
class Purse:
    """What a worker has ever earned in one asset, what of its pay is held back, and is free."""

    earned: int
    held: int
    free: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A worker as it is now, and its pay."""

    row: WorkerRow
    purses: Mapping[Asset, Purse]


@dataclass(frozen=True, slots=True)
class StockWorkers:
    """The door of those workers."""

    lending: Lending
    store: Store
    seal: Seal

    async def new_key(self, worker: WorkerRow) -> str:
        """Return a new key of a worker, which nobody is told again. The one before it is none."""
        key = credential.new_key(self.lending.shell.cell)
        kept = credential.kept_of(key)
        assert kept is not None, "it was just made"
        await self.lending.shell.do(advance.stock_keys.give, worker.id, kept)
        return key

    async def worker(self, key: str) -> WorkerRow | None:
        """Return the worker that a request shows the key of."""
        kept = credential.kept_of(key)
        return await stock_keys.worker(self.lending.db, kept) if kept is not None else None

    async def pop(
        self, worker: WorkerRow, models: Sequence[str], most_pixels: int, is_gone: IsGone
    ) -> Popped | Nothing:
        """Give a worker one item that it can be told of; it is not kept waiting."""
        names = self._known(models)
        # Their programs do not say what their cards hold: what they offer, they can make.
        asked = Asked(tuple(names), most_pixels, _vram_gb(most_pixels))
        try:
            given = await self.lending.claim(worker, asked, is_gone)
        except Refusal as refused:
            raise _of_worker(refused, worker) from None
        if not given.claims:
            return Nothing(given.no_match)
        [claim] = given.claims
        return await self._told(worker, claim, names) or Nothing([])

    def _known(self, models: Sequence[str]) -> dict[str, str]:
        """Return the pictures' models that are sold here, and how a worker calls each."""
        names: dict[str, str] = {}
        for name in models:
            model = ALSO_CALLED.get(name.lower(), name.lower())
            listed = self.lending.catalogue.get(model)
            if listed is not None and listed.offering.kind is Kind.IMAGE:
                names.setdefault(model, name)
        return names

    async def _told(
        self, worker: WorkerRow, claim: Claim, names: Mapping[str, str]
    ) -> Popped | None:
        """Return what was claimed as it is told; None: it can't be, and is given back."""
        wanted, held = sayable(claim.asked), Holding(claim.id, claim.number, worker.id)
        if wanted is None:
            await self.lending.leases.release(held)
            return None
        holds = await self.lending.leases.beat(held, 0, holds_s=HOLDS_S)
        if not isinstance(holds, Held):
            return None
        assert claim.lease_id is not None, "it is a worker's of the network"
        return Popped(
            claim.lease_id,
            names[wanted.model],
            wanted,
            claim.asset,
            claim.pay_amount,
            holds.until,
            self.seal.mark(MARKED, claim.lease_id)[:MARK],
        )

    async def upload(self, lease_id: str, mark: str, body: Callable[[], Awaitable[bytes]]) -> None:
        """Keep the file of a lease until its worker says that it is done; the last one counts.

        Nothing of a body is read for who does not know the secret of the address.
        """
        if len(mark) != MARK or not self.seal.has_marked(MARKED, lease_id, mark):
            raise gone(lease_id)
        found = await stock_keys.awaited(self.lending.db, lease_id)
        if found is None or found.state is LeaseState.RELEASED:
            raise gone(lease_id)
        data = await body()
        if found.state is LeaseState.DONE:
            return  # it was brought before, and the answer was lost
        name = _file_of(lease_id)
        away = await self.store.delete([name]) or await self.store.put(name, data)
        if away is not None:
            raise unavailable(Why.NOT_WELL, away.reason, AWAY_S)

    async def submit(self, worker: WorkerRow, lease_id: str) -> Paid:
        """Take the file of a lease as its result; the same again is the same answer.

        Refuses what is not what was asked for: the item is another's turn then.
        """
        lease = await self._lease(worker, lease_id)
        if lease.state is LeaseState.DONE:
            return Paid(lease.asset, await workers.earned(self.lending.db, lease.item_id))
        if lease.state is LeaseState.RELEASED:
            raise gone(lease_id)
        data = await self._file(lease_id)
        try:
            amount = await self.lending.submit(worker, lease, data, _media_type(lease.asked))
        except Refusal as refused:
            if refused.why is Why.RESULT_REFUSED:  # their programs can't mend it
                await self._not_made(worker, lease, refused.sentence)
            raise _of_lease(refused, lease_id) from None
        await self.store.delete([_file_of(lease_id)])  # what is left of it is swept
        return Paid(lease.asset, amount)

    async def fault(self, worker: WorkerRow, lease_id: str, reason: str) -> None:
        """Hear that a worker could not make an item, or holds back what it has made."""
        lease = await self._lease(worker, lease_id)
        try:
            await self.lending.fail(worker, lease, reason, retryable=True)
        except Refusal as refused:
            raise _of_lease(refused, lease_id) from None
        await self.store.delete([_file_of(lease_id)])

    async def rest(self, worker: WorkerRow, *, rests: bool) -> None:
        """Give a worker nothing more, or something again. Refuses one that is banned."""
        asked = Change(event=law.Paused() if rests else law.Resumed())
        told = await self.lending.shell.do(advance.workers.change, worker.id, asked)
        if not isinstance(told, Applied):
            raise _of_worker(Refusal(Why.WORKER_PAUSED, "It can't be changed."), worker)

    async def standing(self, worker: WorkerRow) -> Standing:
        """Return where a worker stands."""
        db = self.lending.db
        row = await workers.get(db, worker.id) or worker
        earned = await stock_keys.earned(db, row.id)
        free = await user_balances.balances(db, row.account_id)
        held = {Asset.MSAT: row.held_msat, Asset.MICROUSDC: row.held_microusdc}
        return Standing(
            row, {each: Purse(earned.get(each, 0), held[each], free[each]) for each in Asset}
        )

    async def _lease(self, worker: WorkerRow, lease_id: str) -> Named:
        try:
            return await self.lending.lease(worker, lease_id)
        except Refusal as refused:
            raise _of_lease(refused, lease_id) from None

    async def _file(self, lease_id: str) -> bytes:
        data = await self.store.read(_file_of(lease_id), 0, MOST_FILE)
        if isinstance(data, NotNow):
            raise unavailable(Why.NOT_WELL, data.reason, AWAY_S)
        if not data:
            sentence = "No file of this job has arrived."
            raise Refusal(Why.BAD_INPUT, sentence, "PUT it to its `r2_upload`, and submit then.")
        return data

    async def _not_made(self, worker: WorkerRow, lease: Named, reason: str) -> None:
        with suppress(Refusal):  # it had lapsed: it is another's turn already
            await self.lending.fail(worker, lease, reason, retryable=True)
        await self.store.delete([_file_of(lease.id)])


def gone(lease_id: str) -> Refusal:
    """Return what is said of a lease that is not there, or has ended.

    Their programs drop a job of which they read these words, and send others again and again.
    """
    sentence = f"Processing Job with ID {lease_id} does not exist here any more."
    return Refusal(Why.LEASE_UNKNOWN, sentence)


def _of_lease(refused: Refusal, lease_id: str) -> Refusal:
    over = (Why.LEASE_UNKNOWN, Why.LEASE_LOST, Why.JOB_OVER)
    return gone(lease_id) if refused.why in over else refused


def _of_worker(refused: Refusal, worker: WorkerRow) -> Refusal:
    """Return a refusal with the words by which their programs know a worker that is paused."""
    if refused.why is not Why.WORKER_PAUSED:
        return refused
    sentence, next_step = f"This worker is in maintenance mode: it is {worker.state}.", None
    if worker.state is not WorkerState.BANNED:
        next_step = 'Send {"maintenance": false} with PUT /api/v2/workers/{id}.'
    return Refusal(Why.WORKER_PAUSED, sentence, next_step)


def _file_of(lease_id: str) -> str:
    """Return under what name a lease's file lies, beside the artifacts: no row speaks of it, so it
    is swept where nobody deletes it.
    """
    return sha256(f"{MARKED} {lease_id}".encode()).hexdigest()[:32]


def on_grid(side: int) -> int:
    """Return the least side, no less than this, that their programs can be asked for."""
    return -(-side // GRID) * GRID


def _media_type(asked: dict[str, Any]) -> str:
    """Return what a file is brought as: what was made larger, for the grid, is cut to its size."""
    wanted = wish(asked)
    if (on_grid(wanted.width), on_grid(wanted.height)) == (wanted.width, wanted.height):
        return "image/webp"
    return f"image/webp; cut={wanted.width}x{wanted.height}"


def sayable(asked: dict[str, Any]) -> Wanted | None:
    """Return what an item asks for, where the dialect has words for all of it."""
    wanted = wish(asked)
    sides = on_grid(wanted.width), on_grid(wanted.height)
    fits = all(LEAST_SIDE <= side <= MOST_SIDE for side in sides)
    is_plain = not set(wanted.inputs) - set(SHARED) and not wanted.duration_ms
    return wanted if fits and is_plain else None


def _vram_gb(most_pixels: int) -> int:
    """Return what a card has at least that makes pictures of so many pixels, as tiers count it."""
    tiers = [tier for tiered in TIERED.values() for tier in tiered.tiers.values()]
    fits = [tier.vram_gb for tier in tiers if tier.most_side**2 <= most_pixels]
    return max(fits, default=0)
