"""Those who make items: honest, slow, silent, late; now and then two of them bring the same one.

They live on when a process dies, and remember what they were told. The auditor knows all that they
said: a result that nobody brought, or a refusal that nobody uttered, can't be written.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random

from app.advance import Applied, Lost, Missing, Otherwise, Replayed
from app.ports import NotNow, Unfit
from app.promises.leases import Holding
from db.claims import Claim
from tests.simulation.clock import Clock
from tests.simulation.process import Process
from tests.simulation.shelf import UNFIT
from tests.simulation.weather import Weather
from tests.simulation.workbench import COSTS_MICROUSD, PAYS_PCT, words

LANES = tuple(PAYS_PCT)
ALL_LANES = (*LANES, *COSTS_MICROUSD)
WORKERS = tuple(f"worker:{n}" for n in range(5))
MOST_PIECES = 8  # that are being made at once
MOST_CLAIMED = 3
LONG_OVER = timedelta(days=1)  # a lease, then: it may be forgotten that there was one
FATES = (
    ("honest", 40),
    ("slow", 15),
    ("silent", 8),  # and brings it when his time is long over
    ("dies", 8),
    ("declines", 8),
    ("fails", 8),
    ("gives back", 5),
    ("twice", 6),
    ("unfit", 4),
)
Which = tuple[str, int]  # an item, and the number of a lease
Work = Callable[[], Awaitable[None]]


def sha(data: bytes) -> str:
    """Return the hash of bytes, hex."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Said:
    """All that makers ever said, and what they were answered since the last check."""

    brought: dict[tuple[Which, str], dict[str, bytes]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    declined: set[tuple[Which, str]] = field(default_factory=set)
    taken: list[tuple[Which, str]] = field(default_factory=list)
    refused: list[Which] = field(default_factory=list)
    # What workers of the network were told of their pay: for which item, who, and how much.
    paid: list[tuple[str, str, int]] = field(default_factory=list)
    operated: Counter[str] = field(default_factory=Counter)  # "<worker> banned", or readmitted


@dataclass(eq=False)
class Piece:
    """One item that somebody makes, as he was told it."""

    held: Holding
    until: datetime
    fate: str
    data: bytes
    at: datetime  # when he goes on with it
    beats: int = 0

    @property
    def which(self) -> Which:
        """Which lease it is."""
        return self.held.item_id, self.held.number


class Makers:
    """All of them, and what they do next."""

    def __init__(self, dice: Random, weather: Weather, clock: Clock) -> None:
        self._dice, self._weather, self._clock = dice, weather, clock
        self.said = Said()
        self.lanes: tuple[str, ...] = LANES
        self.pieces: list[Piece] = []
        self._born = 0

    def next(self, process: Process) -> tuple[str, Work] | None:
        """Return what one of them does next at a process, if any does."""
        now = self._clock.true
        ready = [piece for piece in self.pieces if piece.at <= now]
        if not ready or (len(self.pieces) < MOST_PIECES and self._dice.random() < 0.3):
            return f"claim by {(worker := self._worker())}", partial(self.claim, process, worker)
        piece = self._dice.choice(ready)
        return f"{piece.fate} {piece.held.item_id[:6]}", partial(self.go_on, process, piece)

    def _worker(self) -> str:
        """Return a far worker, or another one of the house's: each of these makes one thing."""
        if self._dice.random() < 0.6:
            return self._dice.choice(WORKERS)
        self._born += 1
        return f"house:{self._born}"

    async def claim(self, process: Process, worker: str) -> None:
        """Claim some items, and see what becomes of each."""
        lanes = self._dice.sample(self.lanes, self._dice.randrange(1, len(self.lanes) + 1))
        most = self._dice.randrange(1, MOST_CLAIMED + 1)
        for claim in await process.leases.claim(worker, lanes, most):
            self._weather.counts["maker: has an item"] += 1
            self.pieces.append(self._piece(claim, worker))

    def _piece(self, claim: Claim, worker: str) -> Piece:
        names, weights = zip(*FATES, strict=True)
        fate = "honest" if self._weather.calm else self._dice.choices(names, weights)[0]
        data = f"{words(claim.asked)} {claim.number} {self._dice.random()}".encode()
        at = self._clock.true
        if fate == "silent":
            at = claim.until + timedelta(seconds=self._dice.randrange(1, 4_000))
        elif not self._weather.calm:
            at += timedelta(seconds=self._dice.randrange(20))
        self._weather.counts[f"maker: {fate}"] += fate != "honest"
        return Piece(Holding(claim.id, claim.number, worker), claim.until, fate, data, at)

    async def go_on(self, process: Process, piece: Piece) -> None:
        """Do what is next with a piece; some do it while they wait for the answer to it."""
        dice, leases, held = self._dice, process.leases, piece.held
        if dice.random() < 0.05 and not self._weather.calm:
            await self._pretend(process, piece)
        match piece.fate:
            case "dies":
                self._forget(piece)
            case "slow" if piece.beats < 3:
                piece.beats += 1
                piece.at = self._clock.true + timedelta(seconds=dice.randrange(20))
                if isinstance(await leases.beat(held, 30 * piece.beats), Lost | Missing):
                    piece.beats = 3  # and he brings it all the same
            case "declines":
                self.said.declined.add((piece.which, held.worker))
                self._hears(piece, await leases.decline(held, "It is not made here."))
            case "fails":
                self._hears(piece, await leases.fail(held, "It broke."))
            case "gives back":
                self._hears(piece, await leases.release(held))
            case "unfit":
                told = await leases.submit(held, UNFIT + piece.data, "image/png")
                assert isinstance(told, Unfit | Lost | Otherwise | NotNow), told
                piece.fate = "fails" if not isinstance(told, NotNow) else piece.fate
            case _:
                await self._bring(process, piece)

    async def _bring(self, process: Process, piece: Piece) -> None:
        self.said.brought[piece.which, piece.held.worker][sha(piece.data)] = piece.data
        told = await process.leases.submit(piece.held, piece.data, "image/png")
        if isinstance(told, NotNow):
            return  # and brings the same bytes again
        if isinstance(told, Applied | Replayed):
            self.said.taken.append((piece.which, sha(piece.data)))
        if isinstance(told, Lost | Otherwise):
            self.said.refused.append(piece.which)
        if piece.fate != "twice":
            self._hears(piece, told)
        elif self._dice.random() < 0.5:
            piece.fate = "late again"  # the same bytes

    async def _pretend(self, process: Process, piece: Piece) -> None:
        """Have another one speak of a lease that is not his: for him there is none."""
        other = Holding(piece.held.item_id, piece.held.number, "worker:nobody")
        self._weather.counts["maker: speaks of another's lease"] += 1
        told = await process.leases.submit(other, piece.data, "image/png")
        assert isinstance(told, Missing), f"another's lease was told {told}"

    def _hears(self, piece: Piece, told: object) -> None:
        long_over = self._clock.true - piece.until >= LONG_OVER
        known = long_over or not isinstance(told, Missing)
        assert known, f"there is no lease {piece.which} any more"
        self._forget(piece)

    def _forget(self, piece: Piece) -> None:
        if piece in self.pieces:
            self.pieces.remove(piece)

    # ------------------------------------------------------------------ in calm weather

    def hand_over(self) -> list[Piece]:
        """Return all that is being made, for the last time: whoever is silent for good is dead."""
        self.pieces = [piece for piece in self.pieces if piece.fate != "dies"]
        for piece in self.pieces:
            piece.at = min(piece.at, self._clock.true)
        return list(self.pieces)

    def last_claim(self, process: Process) -> Work:
        """Return how a new one of them claims what waits."""
        self._born += 1
        return partial(self._claim_all, process, f"house:{self._born}")

    async def _claim_all(self, process: Process, worker: str) -> None:
        for claim in await process.leases.claim(worker, self.lanes, 10):
            self.pieces.append(self._piece(claim, worker))
