"""Claims of many workers in one statement: each is given what it would be by itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from app import advance
from app.advance import Applied
from app.advance.workers import Change
from app.trade.crowd import Crowd
from db import leases
from db.claims import Claim, Hired
from db.engine import Database, DatabaseAway
from db.seen import Seen
from db.shared_claims import Claimer, Dealt
from db.workers import NewWorker
from statemachine.batch import BatchState
from statemachine.item import ItemState
from statemachine.speed import KNOWN_AFTER
from statemachine.worker import Paused
from tests.world.market_fixtures import LANE, Market, hashed
from tests.world.patience import PATIENCE_S

OTHER_LANE = "scene-1/pro"
PAY_PCT = {LANE: 70, OTHER_LANE: 60, "nobody/asks": 50}


class Locked(NamedTuple):
    """A row that is locked."""

    id: str


async def lend(market: Market, *names: str) -> None:
    """Register workers."""
    for name in names:
        new = NewWorker(name, f"{name}-account", name, hashed(name), "wk_…", "a@example.org")
        await market.shell.do(advance.workers.register, new)


async def claim_each(
    market: Market, *names: str, at_once: int = 2
) -> dict[str, list[Claim] | None]:
    """Have workers claim an item each; return what each is told, None: to claim by itself."""
    asked = {name: Claimer(name, f"{name}{next(market.numbers)}", at_once) for name in names}
    told = await market.shell.do(advance.leases.claim_each, list(asked.values()), PAY_PCT)
    for each in asked.values():
        dealt = told.get(each.lease_id, Dealt([]))
        assert all(claim.lease_id == each.lease_id for claim in dealt.claims)
        assert dealt.has_room or not dealt.claims
    return {
        name: told[each.lease_id].claims if each.lease_id in told else None
        for name, each in asked.items()
    }


async def in_turn(market: Market) -> list[str]:
    """Return the items that wait, by whose turn it is."""
    rows = await market.db.read_all(
        "SELECT id FROM item WHERE state = 'pending' AND rank IS NOT NULL ORDER BY rank, id"
    )
    return [row["id"] for row in rows]


async def test_items_are_given_in_their_turn_and_in_the_order_of_who_asked(market: Market) -> None:
    """Over all lanes, as if one had claimed after the other; and their batches have begun."""
    names = [f"w{number}" for number in (3, 1, 4, 2, 0)]
    await lend(market, *names)
    await market.bought("b", [1_000, 2_000, 3_000], payer="p")
    await market.bought("c", [1_500, 2_500, 3_500], payer="q", lane=OTHER_LANE)
    turns = await in_turn(market)
    told = await claim_each(market, *names)
    given = [claim for each in told.values() for claim in each or []]
    assert [claim.id for claim in given] == turns[:5]
    assert {(claim.lane, claim.pay_pct) for claim in given} == {(LANE, 70), (OTHER_LANE, 60)}
    assert all(claim.pay_amount == claim.share_amount * claim.pay_pct // 100 for claim in given)
    assert {(claim.number, claim.until - market.clock()) for claim in given} == {
        (1, timedelta(seconds=30))
    }
    held = [await leases.held_by(market.db, name) for name in names]
    assert [[lease.item_id for lease in each] for each in held] == [[id] for id in turns[:5]]
    for batch_id in ("b", "c"):
        assert (await market.batch(batch_id)).state is BatchState.PROCESSING
    [last] = await market.claim("house", lane=LANE) or await market.claim("house", lane=OTHER_LANE)
    assert last.id == turns[5]
    for name, claim in zip(names, given, strict=True):
        assert await market.deliver(claim, name, f"of {name}") == Applied()
    await market.is_right()


async def test_who_is_given_nothing_knows_whether_something_may_wait_for_him(
    market: Market,
) -> None:
    """Nothing is left, he holds enough, or he is paused: then nothing does. What he has tried, or
    what others hold just now, is no word of what waits: he claims by himself, and waits for nobody.
    """
    await lend(market, "full", "paused", "tried", "busy", "last", "late")
    await market.bought("b", [1_000] * 4)
    told = await claim_each(market, "full", "tried", at_once=1)
    [held], [lost] = told["full"] or [], told["tried"] or []
    change = advance.workers.change
    assert await market.shell.do(change, "paused", Change(event=Paused())) == Applied()
    failed = await market.shell.do(advance.leases.fail, lost.id, lost.number, "tried", "no memory")
    assert failed == Applied()
    assert await claim_each(market, "full", "paused", at_once=1) == {"full": [], "paused": []}
    turns = await in_turn(market)
    assert turns[0] == lost.id
    assert await claim_each(market, "tried") == {"tried": None}
    assert await in_turn(market) == turns
    async with market.db.transaction() as tx:  # it is being paid, say
        assert await tx.row(Locked, "SELECT id FROM worker WHERE id = 'busy' FOR UPDATE")
        told = await claim_each(market, "busy", "last")
        assert told["busy"] is None and [claim.id for claim in told["last"] or []] == turns[:1]
    told = await claim_each(market, "tried", "busy", "late")
    ids = [[claim.id for claim in each or []] for each in told.values()]
    assert ids == [turns[1:2], turns[2:], []] and told["late"] == []
    assert held.id not in turns
    await market.is_right()


async def test_who_is_fast_holds_it_no_longer_than_it_may_need(market: Market) -> None:
    """Beside others of whom that is not known."""
    await lend(market, "fast", "new")
    await market.shell.do(advance.workers.see, Seen("fast", (LANE,), 1_000, 8))
    await market.bought("b", [1_000] * (KNOWN_AFTER + 4))
    for number in range(KNOWN_AFTER):
        [claim] = (await claim_each(market, "fast"))["fast"] or []
        market.clock.forward(seconds=30)
        assert await market.deliver(claim, "fast", f"the {number}th") == Applied()
    lasts: dict[str, list[timedelta]] = {"fast": [], "new": []}
    for _ in range(2):
        told = await claim_each(market, "fast", "new", at_once=8)
        for name, claims in told.items():
            lasts[name] += [claim.deadline - market.clock() for claim in claims or []]
    house = timedelta(seconds=900)
    assert lasts["new"] == [house, house]
    first, second = lasts["fast"]
    assert timedelta(seconds=100) < first < timedelta(seconds=140) and second == 2 * first


async def test_a_crowd_is_served_by_few_statements(market: Market) -> None:
    """Nobody is given what another is, or more than it may hold; whoever asks twice at once, too.
    As many as ask at one moment are answered by one statement after the first one's.
    """
    commits: list[str] = []
    db = Database(market.db.url, passing=commits.append)
    await db.open()
    crowd = Crowd(replace(market.shell, db=db), slow_s=PATIENCE_S)
    names = [f"w{number}" for number in range(20)]
    await lend(market, *names)
    await market.bought("b", [1_000] * 60)
    hired = Hired(PAY_PCT, [], 2)
    asked = [crowd.claim(name, f"{name} {n}", hired) for n in range(3) for name in names]
    seen = [crowd.see(Seen(name, (LANE,), 9, 9)) for name in names]
    given, _ = await asyncio.gather(asyncio.gather(*asked), asyncio.gather(*seen))
    claims = [claim for dealt in given for claim in dealt.claims]
    assert len(claims) == len({claim.id for claim in claims}) == 40
    assert len({claim.lease_id for claim in claims}) == 40
    assert {len(await leases.held_by(market.db, name)) for name in names} == {2}
    assert (await market.states("b"))[ItemState.PENDING] == 20
    done = [place for place in commits if place.endswith("after")]
    assert done.count("commit leases.claim_each: after") == 2
    assert done.count("commit workers.see: after") == 2
    assert done.count("commit leases.claim: after") == 40 - 1  # a second and a third of one worker
    await db.close()
    await market.is_right()


async def test_where_it_is_not_known_what_was_written_nobody_is_told_a_thing(
    market: Market,
) -> None:
    """Whoever asked hears that the database is away, and asks for no other item."""
    commits: list[str] = []
    crowd = Crowd(
        replace(market.shell, db=Database(market.db.url, passing=commits.append)), PATIENCE_S
    )
    asked = [crowd.claim(name, name, Hired(PAY_PCT, [], 2)) for name in ("w", "v", "u")]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in told] == [DatabaseAway] * 3
    assert set(commits) == {"commit leases.claim_each: before"}
