"""Why a worker is given nothing just now, and what whoever lends it can do about that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.trade.catalogue import Catalogue
from app.trade.tiers import TIERED, lane_of
from db.network import LaneSeen, Waiting
from db.workers import HEARD_WITHIN
from statemachine.worker import MOST_SILENT, WorkerState

MOST_NAMED = 6  # models in one sentence
START = "Start `boltwork lend` on that machine: its state file knows this worker."
RESUME = "Resume it when that is mended."


@dataclass(frozen=True, slots=True)
class Stands:
    """A worker as far as it decides what it is given."""

    state: WorkerState
    silent: int  # leases lost by silence, within an hour
    failed_canary: bool
    held: int  # leases that it has
    at_once: int  # and that it may have
    lanes: Sequence[LaneSeen]  # the newest first


@dataclass(frozen=True, slots=True)
class Idle:
    """One reason why a worker is given nothing, or less than it could be; and what helps."""

    sentence: str
    mend: str = ""


def why_idle(
    stands: Stands, waiting: Mapping[str, Waiting], catalogue: Catalogue, now: datetime
) -> list[Idle]:
    """Return why a worker is given nothing, the weightiest reason first; none: it is given work.

    `waiting`: what waits in every lane that a worker could ask for.
    """
    stopped = _stopped(stands)
    if stopped is not None:
        return [stopped]
    heard = [lane for lane in stands.lanes if now - lane.last_seen < HEARD_WITHIN]
    if not heard:
        return [_unheard(stands)]
    if stands.held >= stands.at_once:
        return [Idle(f"It holds {stands.held} items, as many as it may have at once.")]
    return [*_nothing_waits(heard, waiting), *_too_small(heard, catalogue)]


def _stopped(stands: Stands) -> Idle | None:
    match stands.state:
        case WorkerState.BANNED if stands.failed_canary:
            return Idle(
                "It is banned: the server knew what one of its items looks like, and it brought"
                " something else. What was held back of its pay went to the buyers of its last"
                " items.",
                "What is free of its pay stays yours, and can be paid out. If something on the"
                " machine was broken, mend that and ask the operator to readmit it.",
            )
        case WorkerState.BANNED:
            return Idle(
                "The operator of this server has banned it: it gets no work, and what it brings"
                " isn’t accepted.",
                "What is free of its pay stays yours, and can be paid out.",
            )
        case WorkerState.PAUSED if stands.silent >= MOST_SILENT:
            return Idle(
                f"It was paused automatically: it lost {stands.silent} items within an hour,"
                " because nothing was heard from it.",
                f"Make sure that the machine stays awake and online. {RESUME}",
            )
        case WorkerState.PAUSED:
            return Idle("It is paused.", "Resume it to get work again.")
        case WorkerState.DRAINING:
            sentence = "It is draining: it finishes what it has, and gets nothing new."
            return Idle(sentence, "Resume it to get work again.")
        case _:
            return None


def _unheard(stands: Stands) -> Idle:
    if stands.lanes:
        return Idle("Nothing is heard from it now: it isn’t asking for work.", START)
    sentence = "It has never asked for work that its machine can make."
    return Idle(sentence, f"{START} Name with --model what it can make.")


def _nothing_waits(heard: Sequence[LaneSeen], waiting: Mapping[str, Waiting]) -> Iterator[Idle]:
    """Yield what is to be said where nothing waits of what a worker makes."""
    mine = {lane.lane for lane in heard}
    if any(lane in waiting and waiting[lane].items for lane in mine):
        return
    sentence = f"Nothing is waiting for what it makes: {_named(sorted(mine))}."
    others = sorted(
        (each for lane, each in waiting.items() if each.items and lane not in mine),
        key=lambda each: -each.items,
    )
    if others:
        wanted = _named([f"{each.lane} ({each.items:,})" for each in others])
        yield Idle(sentence, f"Waiting now: {wanted}. Make these too, if the machine can.")
    else:
        yield Idle(sentence, "No item waits for a worker at all: it gets the next one it can make.")


def _too_small(heard: Sequence[LaneSeen], catalogue: Catalogue) -> Iterator[Idle]:
    """Yield the tiers of a worker's models that are too large for its machine."""
    mine = {lane.lane for lane in heard}
    for model in sorted({lane.partition("/")[0] for lane in mine} & set(TIERED)):
        if catalogue.get(model) is None:
            continue
        seen = next(lane for lane in heard if lane.lane.partition("/")[0] == model)
        missing = [
            f"{tier.name} needs {tier.vram_gb} GB of VRAM and {tier.most_side:,} × "
            f"{tier.most_side:,} pixels"
            for tier in TIERED[model].tiers.values()
            if lane_of(model, tier.name) not in mine
        ]
        if missing:
            yield Idle(
                f"{model}: {'; '.join(missing)}. It offers {seen.vram_gb} GB and"
                f" {seen.most_pixels:,} pixels.",
                "If the machine can do more, start `boltwork lend` with --vram-gb and --most-side.",
            )


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
