"""Casts in the shell: steps in the order in which they need each other, each charged once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from app import advance
from app.advance import Act, Applied, Payer
from app.advance.batches import Ordered
from app.advance.casts import CastOf
from app.keys.receipt_check import lines
from app.trade.batch_receipts import batch_payload
from db import batch_receipts, casts, forgetting, lapsed, leases, people, spells, workers
from db.claims import Claim, Hired
from db.engine import Duplicate
from db.items import NewItem
from db.workers import NewWorker
from statemachine import cast as law
from statemachine.cast import CastState
from statemachine.entries import Asset
from statemachine.filling import reference, text
from statemachine.item import ItemState
from statemachine.public_id import public_id
from tests.world.market_fixtures import LANE, QUOTE, Market

PAYER, AUTHOR = "payer", "author"
DOCUMENT = {"slug": "a-spell", "name": "A spell", "description": "", "tags": [], "steps": []}


@dataclass
class Theatre:
    """Casts of one spell, whose author has ten per cent, paid for by an account."""

    market: Market
    needs: Sequence[Sequence[int]]
    casts: int = field(default=0)

    async def open(self, balance_msat: int = 0) -> None:
        """Have an author, a spell and a payer."""

        async def publish(act: Act) -> None:
            for account in (PAYER, AUTHOR):
                await people.insert(act.tx, account, act.now)
            insert = spells.insert
            assert await insert(act.tx, "spell", AUTHOR, "version", DOCUMENT, {}, act.now)

        await self.market.shell.do(publish)
        if balance_msat:
            await self.market.has_msat(PAYER, balance_msat)

    def items(self, batch_id: str, steps: Sequence[int]) -> list[NewItem]:
        """Return items for these steps: each costs 1,100 msat, and says what it is made from."""
        ids = {step: f"{batch_id}s{step}" for step in steps}
        return [
            NewItem(
                ids[step],
                LANE,
                1_100,
                1_100,
                {"inputs": {"image": [reference(other, 0) for other in self.needs[step - 1]]}},
                needs=tuple(ids[other] for other in self.needs[step - 1] if other in ids),
                step=step,
            )
            for step in steps
        ]

    async def cast(self, batch_id: str, steps: Sequence[int], resumes: str | None = None) -> None:
        """Cast it, or have it go on."""
        of = CastOf("version", {"prompt": "a cat"}, AUTHOR, 10, resumes)
        items = self.items(batch_id, steps)
        ordered = Ordered(items, "p", QUOTE, account_id=PAYER, cast=of)
        begin, price = advance.batches.begin_from_account, sum(each.share_amount for each in items)
        told = await self.market.shell.do(begin, batch_id, ordered, Asset.MSAT, price, Payer(PAYER))
        assert told == Applied()

    async def claimed(self) -> dict[int, Claim]:
        """Have a worker claim all that has its turn; return each by its step."""
        found = await self.market.claim(most=20)
        return {int(claim.id.rpartition("s")[2]): claim for claim in found}

    async def decline(self, claim: Claim) -> None:
        """Refuse a step for good."""
        decline = advance.leases.decline
        told = await self.market.shell.do(decline, claim.id, claim.number, "w", "It can’t be made.")
        assert told == Applied()

    async def stands(self, cast_id: str) -> tuple[CastState, dict[int, str]]:
        """Return where a cast and each of its steps stand."""
        steps = await casts.steps(self.market.db, cast_id)
        state = law.state_of([step.made for step in steps])
        return state, {step.step: step.state.value for step in steps}


CHAIN = ((), (1,), (2,), (3,), (4,))


async def test_steps_are_made_in_the_order_of_their_needs(market: Market) -> None:
    """Two that are independent side by side; the third with what both have made."""
    house = Theatre(market, ((), (), (1, 2)))
    await house.open(9_000)
    await house.cast("c", (1, 2, 3))
    first = await house.claimed()
    assert set(first) == {1, 2}
    await market.deliver(first[1])
    assert await house.claimed() == {}
    await market.deliver(first[2])
    third = (await house.claimed())[3]
    assert third.asked == {"inputs": {"image": ["artifact:acs1", "artifact:acs2"]}}
    await market.is_right()
    await market.deliver(third)
    assert (await house.stands("c"))[0] is CastState.COMPLETED
    assert await market.rests_on(f"user:{AUTHOR}") == 300
    assert await market.rests_on(f"user:{PAYER}") == 9_000 - 3_300
    await market.is_right()


async def test_a_step_that_fails_for_good_is_charged_nothing_and_resumed_alone(
    market: Market,
) -> None:
    """One and two are charged and the rest goes back; three to five are charged when they are made,
    once, and the author has the share of each to the msat."""
    house = Theatre(market, CHAIN)
    await house.open(18_000)
    await house.cast("c", (1, 2, 3, 4, 5))
    assert await market.rests_on(f"user:{PAYER}") == 18_000 - 5_500
    for step in (1, 2):
        await market.deliver((await house.claimed())[step])
    await house.decline((await house.claimed())[3])
    state, steps = await house.stands("c")
    assert state is CastState.FAILED
    lost = {3: "failed", 4: "cancelled", 5: "cancelled"}
    assert steps == {1: "completed", 2: "completed", **lost}
    facts = await batch_receipts.facts(market.db, "c")
    assert facts is not None
    receipt = batch_payload(facts, market.clock())
    told = {"spell": "a-spell", "version": 1, "authorSharePct": 10, "authorMsat": 200}
    assert receipt["cast"] == {"publicId": public_id("c"), **told}
    assert [item["step"] for item in receipt["items"]] == [1, 2, 3, 4, 5]
    assert any("of the spell a-spell, version 1" in line for line in lines(receipt))
    assert await market.rests_on(f"user:{PAYER}") == 18_000 - 3_000  # 2,200, in whole sats
    assert await market.rests_on(f"user:{AUTHOR}") == 200
    await market.is_right()

    await house.cast("again", (3, 4, 5), resumes="c")
    assert (await house.stands("c"))[0] is CastState.RUNNING
    third = (await house.claimed())[3]
    for step in (4, 5):
        await market.deliver(third)
        third = (await house.claimed())[step]
        assert third.asked["inputs"]["image"] == [f"artifact:aagains{step - 1}"]
    await market.deliver(third)
    assert await house.stands("c") == (CastState.COMPLETED, dict.fromkeys(range(1, 6), "completed"))
    assert await market.rests_on(f"user:{PAYER}") == 18_000 - 3_000 - 3_300
    assert await market.rests_on(f"user:{AUTHOR}") == 500
    assert await market.rests_on("batch:c") == await market.rests_on("batch:again") == 0
    await market.is_right()

    stood = await casts.steps(market.db, "c")
    later = market.clock() + timedelta(days=60)
    await market.db.run("purge_leases", lambda tx: lapsed.purge_leases(tx, later, later, 10))
    for given in ({"prompt": "a cat"}, {}):  # with the last of its batches, and not before
        await market.db.run("forget_asked", lambda tx: forgetting.forget(tx, later, later, 1))
        row = await casts.get(market.db, "c")
        assert row is not None and row.parameters == given
        assert (row.forgotten_at is None) == bool(given)
    assert await casts.steps(market.db, "c") == stood
    await market.is_right()


async def test_of_a_cast_one_thing_is_ordered_at_a_time(market: Market) -> None:
    """Of two that resume it, Postgres refuses the second: nothing is paid for twice."""
    house = Theatre(market, CHAIN)
    await house.open(18_000)
    await house.cast("c", (1, 2, 3, 4, 5))
    with pytest.raises(Duplicate):
        await house.cast("again", (3, 4, 5), resumes="c")
    assert await market.rests_on(f"user:{PAYER}") == 18_000 - 5_500
    await market.is_right()


async def test_what_does_not_fit_is_lost_with_what_is_made_from_it(market: Market) -> None:
    """A step whose input would be too long is declined in the transaction that would begin it."""
    house = Theatre(market, CHAIN)
    await house.open(9_000)
    items = house.items("c", (1, 2, 3))
    items[1].asked["inputs"]["prompt"] = text(["of ", (1, 0)], most=5)
    ordered = Ordered(items, "p", QUOTE, account_id=PAYER, cast=CastOf("version", {}, AUTHOR, 10))
    begin = advance.batches.begin_from_account
    await market.shell.do(begin, "c", ordered, Asset.MSAT, 3_300, Payer(PAYER))
    await market.deliver((await house.claimed())[1])
    state, steps = await house.stands("c")
    assert (state, steps) == (
        CastState.FAILED,
        {1: "completed", 2: "failed", 3: "cancelled"},
    )
    reasons = [item.reason for item in await market.items("c")]
    assert reasons[1] is not None and "takes 5 at most" in reasons[1]
    await market.is_right()


async def test_a_cast_that_is_cancelled_gives_back_what_was_not_made(market: Market) -> None:
    """Those that wait are cancelled with those that are pending; what is held runs to its end."""
    house = Theatre(market, CHAIN)
    await house.open(9_000)
    await house.cast("c", (1, 2, 3))
    first = (await house.claimed())[1]
    assert await market.shell.do(advance.batches.cancel, "c") == Applied()
    await market.deliver(first)
    assert (await house.stands("c"))[1] == {1: "completed", 2: "cancelled", 3: "cancelled"}
    assert await market.rests_on(f"user:{PAYER}") == 9_000 - 2_000
    await market.is_right()


async def test_the_author_of_what_is_paid_in_usdc_has_usdc(market: Market) -> None:
    """A share is in the asset that paid, to its smallest unit."""
    house = Theatre(market, ((),))
    await house.open()
    await market.has_usdc(PAYER, 9_999)
    items = house.items("c", (1,))
    ordered = Ordered(items, "p", QUOTE, account_id=PAYER, cast=CastOf("version", {}, AUTHOR, 30))
    begin = advance.batches.begin_from_account
    assert (
        await market.shell.do(begin, "c", ordered, Asset.MICROUSDC, 1_100, Payer(PAYER))
        == Applied()
    )
    await market.deliver((await house.claimed())[1])
    assert await market.rests_on(f"user:{AUTHOR}", Asset.MICROUSDC) == 1_100 * 30 // 130
    await market.is_right()


async def test_a_worker_is_told_what_it_is_paid_of_a_step(market: Market) -> None:
    """The author's share is no part of that, nor of what its own floor is held to."""
    house = Theatre(market, ((),))
    await house.open(9_000)
    await house.cast("c", (1,))
    lender = NewWorker("w", "w-account", "w", "0" * 64, "wk_…", "lender@example.org")
    await market.shell.do(advance.workers.register, lender)
    claim, share = advance.leases.claim, {LANE: 70}  # of the 1,000 that are not the author's
    more, enough = (Hired(share, ["1"], 2, {Asset.MSAT: least}) for least in (701, 700))
    assert await market.shell.do(claim, "w", [LANE], 1, more) == []
    [given] = await market.shell.do(claim, "w", [LANE], 1, enough)
    [held] = await leases.held_by(market.db, "w")
    assert await market.deliver(given) == Applied()
    assert given.pay_amount == held.pay_amount == await workers.earned(market.db, given.id) == 700
    await market.is_right()


def test_where_a_cast_stands_is_read_from_its_steps() -> None:
    """All delivered: completed; all over: failed; else it runs, or waits to be paid for."""
    done, lost = law.Made(1, ItemState.COMPLETED, False), law.Made(2, ItemState.FAILED, False)
    runs, unpaid = law.Made(3, ItemState.WAITING, True), law.Made(3, ItemState.PENDING, False)
    assert law.state_of([done]) is CastState.COMPLETED
    assert law.state_of([done, lost]) is CastState.FAILED
    assert law.state_of([done, lost, runs]) is CastState.RUNNING
    assert law.state_of([done, unpaid]) is CastState.AWAITING_PAYMENT
    assert law.missing([done, lost, runs]) == [2]
