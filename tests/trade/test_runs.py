"""Runs of tools by the path of all items: texts, measured use, files that they are made from."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from app import advance
from app.advance.batches import Ordered
from app.http.generation_status import cost_of, outputs_of
from app.ports import Declined, Made, Stepped, Undoable, Wanted, unwatched_step
from app.promises.leases import asked_of, files_in, wish
from app.trade.batch_receipts import batch_payload
from db import artifacts, batch_receipts, batches, forgetting, lapsed, runtimes
from db.artifacts import Artifact
from db.engine import Tx
from db.items import ItemView, NewItem
from statemachine.batch import BatchState, invoice_id
from statemachine.item import ItemState
from tests.world.market_fixtures import LANE
from tests.world.workshop import Scripted, Workshop, png


@dataclass
class Metered(Scripted):
    """An executor whose use is measured, and that writes."""

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Answer with what it was asked, and what its files are."""
        self.asked.append(wanted)
        asked = dict(wanted.inputs)
        data = {"text": "Hei.\n", "empty": " \n", "odd": "a\x00b"}.get(asked["says"], "")
        if asked["says"] == "values":
            return Made(b'{"a": [1]}', "application/json", used_microusd=999)
        return Made(data.encode(), "text/plain", used_microusd=asked.get("used", 1))


async def test_a_text_is_kept_with_its_item_and_charged_by_its_use(workshop: Workshop) -> None:
    """A part of the share as the use is one of the price, rounded up; the rest goes back. What is
    no text is none."""
    market, executor = workshop.market, Metered()
    asked: list[dict[str, Any]] = [
        {"says": "text", "used": 334}, {"says": "values"}, {"says": "text", "used": 2_000},
        {"says": "text", "used": 0}, {"says": "empty"}, {"says": "odd"},
    ]  # fmt: skip
    async with workshop.at_work(executor):
        items = [
            NewItem(f"b{n}", LANE, 1_000, 10_000, asked_of(Wanted("t", inputs=each)))
            for n, each in enumerate(asked)
        ]
        opened = market.invoice(60_000)
        begin, ordered = advance.batches.begin, Ordered(items, "p", {})
        await market.shell.do(begin, "b", ordered, 60_000, opened)
        await market.pay(invoice_id("b"), opened)
        await workshop.until("b", BatchState.COMPLETED)
    shown = await market.items("b")
    assert [item.output for item in shown[:4]] == [
        {"text": "Hei.\n"}, {"values": {"a": [1]}}, {"text": "Hei.\n"}, {"text": "Hei.\n"},
    ]  # fmt: skip
    assert [item.charged_amount for item in shown[:4]] == [3_340, 9_990, None, 0]
    assert shown[0].sha256 == sha256(b"Hei.\n").hexdigest() and shown[0].artifact is None
    assert [item.state.value for item in shown[4:]] == ["dead_letter", "dead_letter"]
    batch = await market.batch("b")
    assert batch.charged_amount == 24_000  # 23,330 as whole sats
    assert [payout.amount for payout in batch.payouts] == [36_000]
    pace = await batches.pace(market.db, "b")
    assert pace is not None and pace.charged_microusd == 334 + 999 + 1_000
    await market.is_right()
    took = (await runtimes.of(market.db, [LANE, "never"]))[LANE]
    assert took.runs == 4 and took.median_ms >= 0
    await _is_forgotten(workshop, list(shown))


async def _is_forgotten(workshop: Workshop, shown: list[ItemView]) -> None:
    """Have a batch be forgotten: texts go, and what its receipt tells and each item costs stays."""
    market, now = workshop.market, workshop.market.clock()
    told, batch = await batch_receipts.facts(market.db, "b"), await market.batch("b")
    assert told is not None
    later = now + timedelta(days=1)
    for most, count in ((10, 0), (1, 1), (1, 0)):  # who has made it is forgotten first

        async def forget(tx: Tx, most: int = most) -> int:
            return await forgetting.forget(tx, later, later, most)

        assert await market.db.run("forget_asked", forget) == count
        await market.db.run("purge_leases", lambda tx: lapsed.purge_leases(tx, later, later, 10))
    slim, after = await market.items("b"), await market.batch("b")
    assert [item.output for item in slim] == [None] * 6 and outputs_of(slim, None) == []
    assert [item.asked for item in slim] == [{"model": "t"}] * 6
    assert [cost_of(item) for item in slim] == [cost_of(item) for item in shown]
    assert (after.version, after.forgotten_at) == (batch.version + 1, later)
    kept = await batch_receipts.facts(market.db, "b")
    assert kept is not None and batch_payload(kept, now) == batch_payload(told, now)
    await market.is_right()


async def test_a_run_is_given_the_files_that_it_names(workshop: Workshop) -> None:
    """Their bytes as they are kept; one that is kept no more is a reason, and no try."""
    market, executor = workshop.market, Metered()
    kept = await workshop.leases.artifacts.take(png(), "image/png")
    assert isinstance(kept, Artifact)
    inputs: dict[str, Any] = {
        "says": "text",
        "image": f"artifact:{kept.id}",
        "more": [f"artifact:{kept.id}"],
    }
    name = f"artifact:{kept.id}"
    gone = {"says": "text", "image": f"artifact:{'0' * 32}"}
    async with workshop.at_work(executor):
        items = [
            NewItem(f"b{n}", LANE, 1, 1_000, asked_of(Wanted("t", inputs=each)))
            for n, each in enumerate((inputs, gone))
        ]
        ordered, opened = Ordered(items, "p", {}, files=[kept]), market.invoice(2_000)
        await market.shell.do(advance.batches.begin, "b", ordered, 2_000, opened)
        await market.pay(invoice_id("b"), opened)
        await workshop.until("b", BatchState.COMPLETED)
    [wanted] = executor.asked
    assert list(wanted.files) == [name]
    assert sha256(wanted.files[name]).hexdigest() == kept.sha256
    first, second = await market.items("b")
    assert first.state is ItemState.COMPLETED
    assert (second.state, second.tries) == (ItemState.FAILED, 0)
    assert second.reason is not None and "kept no more" in second.reason
    found = await artifacts.owned(market.db, kept.id)
    assert found == (kept.expires_at, None, "image/png")
    await market.is_right()


def test_what_a_row_keeps_of_a_wish_is_read_again() -> None:
    """A run by its inputs, with what every maker of pictures knows among them."""
    inputs = {"prompt": "a cat", "width": 512, "height": 256, "steps": 3, "duration": 5}
    again = wish(asked_of(Wanted("t", inputs=inputs)))
    assert (again.prompt, again.width, again.height, again.steps) == ("a cat", 512, 256, 3)
    assert again.duration_ms == 5_000 and again.inputs == inputs
    assert files_in({"a": "artifact:1", "b": ["artifact:2", "artifact:1", 7], "c": "x"}) == [
        "1", "2"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="kept as an artifact"):
        asked_of(Wanted("t", inputs={}, files={"a": b""}))
