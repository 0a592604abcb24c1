"""Where items are claimed and delivered: the one path of all who make things.

The house's own executors take it, and whoever comes through a door. What is brought is encoded anew
and stored before the item's end is written, so that there is never an item without its bytes. A
text is kept in the item's own row.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final

from app import advance
from app.advance import Lost, Missing, Otherwise, Outcome, Replayed, Reused, Shell, Stale
from app.advance.leases import Enough, Held
from app.artifacts.keeping import Artifacts
from app.plain_text import odd_in
from app.ports import NotNow, Unfit, Wanted
from db import leases
from db.artifacts import Artifact
from db.claims import NOBODY, Claim, Hired
from db.items import Output
from pricing.money import MicroUsd
from statemachine.lease import LeaseState

FREE = MicroUsd(0)
LONGEST_REASON = 500  # characters of what a holder says
TEXT: Final = "text/plain"
VALUES: Final = "application/json"
MOST_TEXT: Final = 64 * 1024  # bytes of a text or of values
ARTIFACT: Final = "artifact:"  # how inputs name a file that is kept here
# Inputs that every maker of pictures knows under these names.
SHARED: Final = ("prompt", "negative_prompt", "width", "height", "steps", "seed")
GONE: Final = Unfit("A picture that this is to be made from is kept no more.")

REUSED: Final = Unfit(
    "This was brought before, for something else that was asked for: make what this lease asks for."
)


def asked_of(wanted: Wanted) -> dict[str, Any]:
    """Return what an item asks for, as its row keeps it. ValueError: no row keeps a picture."""
    if wanted.reference or wanted.files:
        raise ValueError("a picture to go by is kept as an artifact, and not in a row")
    if wanted.inputs:
        return {"model": wanted.model, "inputs": dict(wanted.inputs)}
    asked = asdict(wanted)
    for name in ("reference", "inputs", "files"):
        del asked[name]
    return asked


def wish(asked: dict[str, Any]) -> Wanted:
    """Return what an item asks for, as an executor is told it, without the bytes of its files."""
    inputs = asked.get("inputs")
    if inputs is None:
        return Wanted(**asked)
    shared = {name: inputs[name] for name in SHARED if name in inputs}
    duration_ms = inputs.get("duration", 0) * 1_000
    return Wanted(asked["model"], **shared, duration_ms=duration_ms, inputs=inputs)


def files_in(value: Any) -> list[str]:
    """Return the ids of the files that inputs name, each once, in their order."""
    if isinstance(value, str):
        return [value.removeprefix(ARTIFACT)] if value.startswith(ARTIFACT) else []
    each = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(name for one in each for name in files_in(one)))


def output_of(data: bytes, media_type: str) -> Output | Unfit:
    """Return a text or values as a row keeps them."""
    if len(data) > MOST_TEXT:
        return Unfit("The text is too long to be kept.")
    try:
        text = data.decode()
        value = {"text": text} if media_type == TEXT else {"values": json.loads(text)}
    except ValueError:
        return Unfit("The text can't be read.")
    if media_type == TEXT and (not text.strip() or odd_in(text)):
        return Unfit("There is no text in it that can be kept.")
    return Output(sha256(data).hexdigest(), value)


@dataclass(frozen=True, slots=True)
class Holding:
    """Which lease, and whose."""

    item_id: str
    number: int
    worker: str
    cost_microusd: MicroUsd = FREE  # what whoever makes it wants of the house by now


Fits = Callable[[Artifact], Unfit | None]


def anything(made: Artifact) -> Unfit | None:
    """Find nothing wrong with a file."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The desk of those who make items."""

    shell: Shell
    artifacts: Artifacts

    async def claim(
        self, worker: str, in_lanes: Sequence[str], most: int, hired: Hired = NOBODY
    ) -> list[Claim]:
        """Claim up to so many items in one of these lanes; an empty list: nothing waits there."""
        return await self.shell.do(advance.leases.claim, worker, in_lanes, most, hired)

    async def beat(
        self,
        held: Holding,
        progress: int,
        preview: str | None = None,
        holds_s: int | None = None,
    ) -> Held | Lost | Missing:
        """Be heard of: it is held on. Lost: whoever makes it is to stop.

        `preview`: under what name it was stored how the item looks by now, if it was. `holds_s`:
        for how long it is held on, where not for as long as everybody's.
        """
        whose, percent = (held.item_id, held.number, held.worker), min(100, max(0, progress))
        return await self.shell.do(advance.leases.beat, *whose, percent, preview, holds_s)

    async def show(self, held: Holding, progress: int, brought: bytes) -> Held | None:
        """Let others see how an item looks by now: a small picture, as its holder brings it.

        None: it is none to be shown, or the lease is lost.
        """
        previews, name = self.artifacts.previews, self.artifacts.new_id()
        before = await leases.get(self.shell.db, held.item_id, held.number)
        if before is None or not await previews.keep(name, brought):
            return None
        told = await self.beat(held, progress, name)
        old = before.preview if isinstance(told, Held) else name
        await previews.forget([old] if old is not None else [])
        return told if isinstance(told, Held) else None

    async def wanted(self, asked: dict[str, Any]) -> Wanted | Unfit | NotNow:
        """Return what an item asks for, with the bytes of its files; Unfit: one is kept no more."""
        plain, files = wish(asked), {}
        for name in files_in(dict(plain.inputs)):
            file = await self.artifacts.find(name)
            if file is None or self.artifacts.has_expired(file):
                return GONE
            data = await self.artifacts.read(file, 0, file.size)
            if isinstance(data, NotNow):
                return data
            if data is None:
                return GONE
            files[ARTIFACT + name] = data
        return replace(plain, files=files) if files else plain

    async def submit(
        self,
        held: Holding,
        data: bytes,
        media_type: str,
        used_microusd: int | None = None,
        fits: Fits = anything,
    ) -> Outcome | Lost | Otherwise | Unfit | NotNow:
        """Take a result in. Unfit: it is nothing that is kept, and the item is still held.

        `used_microusd`: what it came to, where that is measured and less than its price. `fits`
        says what is wrong with a file, once it is encoded anew: that is not kept. The same
        bytes again are Replayed, and are neither encoded nor stored again.
        """
        brought = sha256(data).hexdigest()
        before = await leases.get(self.shell.db, held.item_id, held.number)
        if before is None or before.worker != held.worker:
            return Missing()
        if before.state is LeaseState.DONE:
            return Replayed() if before.sha256 == brought else Otherwise()
        if before.state is LeaseState.RELEASED:
            return Lost()
        made: Artifact | Output | Unfit | NotNow
        if media_type in (TEXT, VALUES):
            made = output_of(data, media_type)
        else:
            made = await self.artifacts.take(data, media_type)
            if isinstance(made, Artifact):  # of one that does not fit, the bytes are swept
                made = fits(made) or made
        if isinstance(made, Unfit | NotNow):
            return made
        whose = held.item_id, held.number, held.worker
        submit = advance.leases.submit
        paid = used_microusd, held.cost_microusd
        told = await self.shell.do(submit, *whose, brought, made, *paid)
        match told:
            case Stale():
                return NotNow("It lay too long before it was written.")
            case Reused():
                return REUSED
            case _:
                return told

    async def decline(self, held: Holding, reason: str) -> Outcome | Lost:
        """Say that the item can't be made, whoever tries; the buyer reads the reason."""
        whose, told = (held.item_id, held.number, held.worker), reason[:LONGEST_REASON]
        return await self.shell.do(advance.leases.decline, *whose, told, held.cost_microusd)

    async def fail(self, held: Holding, reason: str) -> Outcome | Lost:
        """Say that this holder could not make it: another may."""
        whose, told = (held.item_id, held.number, held.worker), reason[:LONGEST_REASON]
        return await self.shell.do(advance.leases.fail, *whose, told, held.cost_microusd)

    async def hand_back(self, held: Holding) -> Outcome | Lost | Enough:
        """Give back what a worker of the network has not begun; Enough: it does so too often."""
        whose = held.item_id, held.number, held.worker
        return await self.shell.do(advance.leases.hand_back, *whose)

    async def release(self, held: Holding) -> Outcome | Lost:
        """Give the item back, without blame."""
        whose = held.item_id, held.number, held.worker
        return await self.shell.do(advance.leases.release, *whose, held.cost_microusd)
