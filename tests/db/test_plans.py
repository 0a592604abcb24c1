"""What is done all the time reads by an index: it takes as long however many jobs are over."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from db import (
    amends,
    api_keys,
    artifacts,
    balances,
    batch_receipts,
    batches,
    canaries,
    casts,
    claims,
    connect_requests,
    deposits,
    forgetting,
    holds,
    idempotency,
    invoices,
    items,
    job_events,
    jobs,
    lanes,
    lapsed,
    leases,
    ledger,
    looks,
    months,
    network,
    overview,
    payouts,
    people,
    rate_limits,
    receiving_wallets,
    routing,
    runtimes,
    seen,
    sessions,
    shared_claims,
    spells,
    spending,
    standing,
    stock_keys,
    user_balances,
    user_spending,
    webhook_log,
    webhooks,
    worker_payouts,
    workers,
)
from db.canaries import CanaryRow
from db.chain_blocks import Watch
from db.claims import Hired
from db.engine import Database, Tx
from db.pay_destinations import strayed
from db.promises import QUEUES, Outbox
from db.seen import Seen
from db.shared_claims import Claimer
from db.worker_payouts import FROM_THE_NEWEST
from statemachine import hold, session
from statemachine.attempt import AttemptFacts, AttemptState
from statemachine.canary import CanaryState
from statemachine.connect import ConnectKind
from statemachine.entries import Asset, Entry, Posting, of_job, of_session, of_user
from statemachine.lease import LeaseFacts, LeaseState
from statemachine.notice import NoticeFacts, NoticeState
from statemachine.owner import Purpose
from tests.world.plan_fixtures import ROWS, ExplainingDatabase, Plan, analyse, fill

MOST_BLOCKS = 150  # of a statement; each table has many hundreds
LARGE = {  # among 500, ten blocks each; and what its index has not sorted in yet
    "spells that are like a word": 6_000,
    "spells by a word": 300,
    "a tag's spells by a word": 300,
}


def named(text: str) -> str:
    """Return what the filling calls a row."""
    return hashlib.md5(text.encode()).hexdigest()


PLACE = ROWS // 2
JOB, SESSION = named(f"job{PLACE}"), named(str(PLACE))
PERSON = SESSION  # whose key has the same id
HANDS, LANES = (SESSION, named(str(PLACE + 1))), ("scene-1/standard", "scene-1/pro")
CLAIMERS, PAY_PCT = [Claimer(each, each, 2) for each in HANDS], dict.fromkeys(LANES, 70)
HASH = SESSION * 2
PAYOUT = f"{JOB}:surplus"
ATTEMPT = named(f"paid{PLACE}") + SESSION
LINKS = (SESSION, named(f"link{PLACE}"))
SHOWN = holds.Shown(SESSION, LINKS)
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
BATCH, ITEM = named(f"batch{PLACE}"), named(f"item{PLACE}")
RICH, CAST, WEBHOOK = named("rich"), named(f"cast{PLACE}"), named(f"webhook{PLACE}")
CHAIN, SINCE = "eip155:8453", NOW - 30 * DAY
UNPAID = lapsed.Unpaid(f"{JOB}:eval", JOB, None, None, None, Purpose.EVAL)
LEASE = LeaseFacts(ITEM, 1, LeaseState.HELD, NOW, NOW)
PACE = invoices.Pace(30, 600, 3600, timedelta(days=7))
BUDGETS = ((LINKS[1], 100_000),)
RESERVED = session.grounds(session.Reserved(1_000))
RELEASED = session.grounds(session.Released(1_000, 400))
HELD = hold.HoldFacts(named(f"hold{PLACE}"), hold.HoldState.HELD, 1_000, SESSION)


def entry() -> Entry:
    """Return a debit, as the ledger takes it."""
    legs = Posting(of_session(SESSION), 1000), Posting(of_job(JOB), -1000)
    return Entry("job:new:charged", Asset.MSAT, legs)


async def debit_account(tx: Tx) -> None:
    """Have an account pay by its key, out of what it was given before."""
    legs = Posting(of_session(SESSION), 1_000), Posting(of_user(PERSON), -1_000)
    await ledger.post(tx, [Entry("given", Asset.MSAT, legs)], NOW)
    left = await balances.debit_user(tx, PERSON, PERSON, 1_000, Asset.MSAT, [entry()], NOW)
    assert left is None


READS: dict[str, Callable[[Database], Awaitable[object]]] = {
    "poll, the whole": lambda db: jobs.view(db, JOB),
    "poll, the version": lambda db: jobs.version(db, JOB),
    "job": lambda db: jobs.get(db, JOB),
    "a worker by its token": lambda db: workers.by_token(db, HASH),
    "a worker by its key": lambda db: stock_keys.worker(db, HASH),
    "whose file it is": lambda db: stock_keys.awaited(db, SESSION),
    "canaries to judge": lambda db: canaries.due(db, 20),
    "amends to make": lambda db: amends.due(db, 20),
    "workers that are new no more": lambda db: workers.due(db, NOW, 9),
    "what a worker has": lambda db: worker_payouts.purses(db, SESSION),
    "what was sent to a worker": lambda db: worker_payouts.page(db, PERSON, FROM_THE_NEWEST, 20),
    "what an item was paid for": lambda db: workers.earned(db, ITEM),
    "what work pays": lambda db: workers.rates(db, NOW),
    "what waits for workers": lambda db: network.waiting(db, ["scene-1/standard"], 100),
    "how long items waited": lambda db: network.waited(db, NOW),
    "what a worker asks for": lambda db: network.lanes_of(db, SESSION),
    "what a worker was paid": lambda db: network.paid_to(db, SESSION, 9),
    "a lease by its name": lambda db: leases.named(db, named(f"lease{PLACE}"), "w"),
    "what a worker holds": lambda db: leases.held_by(db, "w"),
    "lanes where something waits": lambda db: claims.waiting(db, "v", ["scene-1/standard"]),
    "history": lambda db: job_events.happened(db, JOB, "cancelled"),
    "stream, where it stands": lambda db: job_events.standing(db, JOB),
    "stream, what happened": lambda db: job_events.between(db, JOB, 0, 9),
    "unfinished jobs": lambda db: jobs.idle(db, NOW, 100),
    "invoice": lambda db: invoices.get(db, f"{JOB}:eval"),
    "invoice by its hash": lambda db: invoices.by_hash(db, HASH),
    "invoices of a wallet": lambda db: receiving_wallets.invoices_made(db, "wallet 7", 500),
    "transfers between wallets": lambda db: receiving_wallets.live_transfers(db, "rail"),
    "lapsed invoices": lambda db: invoices.lapsed(db, NOW, [], 100),
    "payouts of one": lambda db: payouts.of_owner(db, JOB),
    "payout": lambda db: payouts.get(db, PAYOUT),
    "routing of a job": lambda db: routing.account_of(db, JOB, None, None, None, NOW.date()),
    "routing of a session": lambda db: routing.account_of(
        db, None, SESSION, None, None, NOW.date()
    ),
    "routing of a person": lambda db: routing.account_of(
        db, None, None, None, "a" * 32, NOW.date()
    ),
    "moves of a person's balance": lambda db: user_balances.moves(db, "a" * 32, 1, 100),
    "deposits of a person": lambda db: user_balances.open_deposits(db, "a" * 32, 20),
    "a login": lambda db: people.login(db, "a" * 64, NOW),
    "logins of a person": lambda db: people.logins_of(db, "a" * 32, NOW),
    "names of a person": lambda db: people.names_of(db, "a" * 32),
    "a password": lambda db: people.password_of(db, "agent"),
    "the password of a person": lambda db: people.password_of_account(db, "a" * 32),
    "routing given on a day": lambda db: routing.payers(db, NOW.date(), 20),
    "live attempt": lambda db: payouts.live_attempt(db, PAYOUT, 1),
    "a hash's meaning": lambda db: payouts.hash_is_known(db, HASH),
    "credential": lambda db: sessions.standing(db, SESSION, LINKS, JOB),
    "session": lambda db: sessions.get(db, SESSION),
    "invoices of a session": lambda db: sessions.open_invoices(db, SESSION),
    "idle sessions": lambda db: sessions.idle(db, NOW, 100),
    "what was spent": lambda db: spending.of_session(db, SESSION, 20),
    "due holds": lambda db: holds.due(db, NOW, 100),
    "balance": lambda db: ledger.balance(db, f"session:{SESSION}", Asset.MSAT),
    "limit of a caller": lambda db: rate_limits.window(db, "caller:7", NOW),
    "promise of a name": lambda db: Outbox(db).is_staged(f"{JOB}:judge"),
    "what nobody paid for": lambda db: lapsed.due(db, NOW - DAY, 100),
    "a purged invoice": lambda db: lapsed.find(db, HASH),
    "operator, hours": lambda db: overview.tallies(db, NOW),
    "a batch": lambda db: batches.view(db, BATCH),
    "a page of items": lambda db: items.page(db, BATCH, 0, 100),
    "an item": lambda db: items.get(db, BATCH, ITEM),
    "a batch's mark": lambda db: batches.mark(db, BATCH),
    "a batch's pace": lambda db: batches.pace(db, BATCH),
    "what waits before a batch": lambda db: lanes.before(db, BATCH, 100),
    "what waits in lanes": lambda db: lanes.at(db, ["scene-1/standard"], 8),
    "how much waits": lambda db: lanes.waiting(db, ["scene-1/standard"], 100),
    "what a payer has under way": lambda db: batches.load_of(db, f"session:{SESSION}"),
    "leases that are due": lambda db: leases.due(db, NOW, 100),
    "what an account has bought": lambda db: user_spending.bought(db, RICH, 10),
    "a day of an account": lambda db: user_spending.by_day(db, RICH, SINCE, SINCE + DAY / 24),
    "an account's day by tool": lambda db: user_spending.by_tool(db, RICH, SINCE, SINCE + DAY / 48),
    "files of an account": lambda db: user_spending.pieces(db, RICH, NOW, 0, 60),
    "keys of an account": lambda db: api_keys.of_account(db, named("7")),
    "a batch's receipt": lambda db: batch_receipts.facts(db, BATCH),
    "a file": lambda db: artifacts.owned(db, named(f"artifact{PLACE}")),
    "a cast": lambda db: casts.get(db, CAST),
    "steps of a cast": lambda db: casts.steps(db, CAST),
    "what a cast has made": lambda db: casts.outputs(db, CAST),
    "what is kept of a cast": lambda db: casts.kept(db, CAST, NOW),
    "how long casts take": lambda db: casts.runtimes(db, named("version7"), 10),
    "how long runs take": lambda db: runtimes.of(db, ["scene-1/standard"]),
    "a spell": lambda db: spells.by_slug(db, "spell-7"),
    "a version of a spell": lambda db: spells.by_version(db, named("version7")),
    "the marketplace": lambda db: spells.listed(db, None, None, 10),
    "spells of a tag": lambda db: spells.listed(db, "tag700", None, 20),
    "spells by a word": lambda db: spells.listed(db, None, "word700", 20),
    "a tag's spells by a word": lambda db: spells.listed(db, "tag700", "word700", 20),
    "spells that are like a word": lambda db: spells.listed(db, None, "makes", 20),
    "spells that came with the server": spells.of_house,
    "notices of an account": lambda db: webhook_log.of_account(db, RICH, 10),
    "notices of a webhook": lambda db: webhook_log.of_webhook(db, WEBHOOK, 20),
    "the last notice of a webhook": lambda db: webhook_log.notice_of(db, WEBHOOK, None),
    "operator, notices": lambda db: webhook_log.standing(db, NOW, NOW - DAY),
    "a notice that is due": lambda db: webhooks.due(db, "https://7", NOW),
    "when a receiver is due": lambda db: webhooks.next_of(db, "https://7"),
    "receivers that were forgotten": lambda db: webhooks.forgotten(db, NOW, 100),
    "operator, unclaimed deposits": lambda db: deposits.unclaimed(db, 50),
    "operator, deposits that are gone": lambda db: deposits.gone(db, 50),
    "whether a request is due": lambda db: connect_requests.is_due(
        db, ConnectKind.LIGHTNING, None, NOW
    ),
    "accounts that are idle": lambda db: people.idle(db, named("7"), NOW, 100),
    "operator, open jobs": overview.open_jobs,
    "operator, the sheet": overview.sheet,
    "operator, watched payouts": lambda db: standing.watched_payouts(db, NOW, 50),
    "operator, waiting payouts": lambda db: standing.waiting_payouts(db, NOW, 50),
}

WRITES: dict[str, Callable[[Tx], Awaitable[object]]] = {
    "lock a job": lambda tx: jobs.lock(tx, JOB),
    "lock a session": lambda tx: sessions.lock(tx, SESSION),
    "lock a worker": lambda tx: workers.lock(tx, SESSION),
    "what is owed to a worker, and goes nowhere": lambda tx: strayed(
        tx, SESSION, "you@example.org", None
    ),
    "see workers": lambda tx: seen.see(tx, [Seen(each, LANES, 9, 9) for each in HANDS], NOW),
    "hear a worker": lambda tx: workers.hear(tx, SESSION, NOW),
    "lock an invoice": lambda tx: invoices.lock(tx, f"{JOB}:eval"),
    "lock a payout": lambda tx: payouts.lock(tx, PAYOUT),
    "lock a hold": lambda tx: holds.lock(tx, named(f"hold{PLACE}")),
    "lock an attempt": lambda tx: payouts.lock_attempt(tx, PAYOUT, 1),
    "claim an attempt's call": lambda tx: payouts.move_attempt(
        tx, AttemptFacts(HASH, AttemptState.CALLED, 0, called_by="stub"), NOW
    ),
    "lock an item's batch": lambda tx: batches.lock_of_item(tx, ITEM),
    "lock an item": lambda tx: items.lock(tx, ITEM),
    "lock a lease": lambda tx: leases.lock(tx, ITEM, 1),
    "lock who holds an item": lambda tx: leases.lock_held(tx, ITEM),
    "claim items": lambda tx: claims.claim(tx, "v", ["scene-1/standard"], 2, LEASE, NOW),
    "claim items for a worker of the network": lambda tx: claims.claim(
        tx, SESSION, ["scene-1/standard"], 2, LEASE, NOW, Hired({}, ["a", "b"], 2)
    ),
    "claim for many": lambda tx: shared_claims.claim_each(tx, CLAIMERS, PAY_PCT, LEASE, NOW),
    "claim items that pay enough": lambda tx: claims.claim(
        tx,
        SESSION,
        ["scene-1/standard"],
        2,
        LEASE,
        NOW,
        Hired({"scene-1/standard": 70}, ["a", "b"], 2, {Asset.MSAT: 1}),
    ),
    "give turns": lambda tx: lanes.give_turns(tx, BATCH, f"session:{SESSION}"),
    "lock what nobody has begun": lambda tx: items.lock_unbegun(tx, BATCH),
    "lock an item that nobody has begun": lambda tx: items.lock_if_unbegun(tx, ITEM),
    "pictures that look the same": lambda tx: looks.near(tx, ITEM, f"{7:064x}"),
    "what a worker has been paid for": lambda tx: canaries.charges(
        tx, CanaryRow(ITEM, SESSION, CanaryState.GIVEN, None), Asset.MSAT
    ),
    "number of amends": lambda tx: amends.next_number(tx, BATCH),
    "cancel items": lambda tx: items.cancel(tx, BATCH, NOW),
    "due invoices": lambda tx: invoices.take_due(tx, NOW, PACE, 100),
    "due payouts": lambda tx: payouts.take_due(tx, NOW, 5, 300, 100),
    "every open invoice": lambda tx: invoices.ask_all(tx, NOW),
    "claim a key": lambda tx: idempotency.claim(tx, "peer:7", named("7"), "", "", NOW),
    "forget keys": lambda tx: idempotency.purge(tx, NOW),
    "count a caller": lambda tx: rate_limits.count(tx, "caller:7", 1, NOW, NOW),
    "due purged invoices": lambda tx: lapsed.take_due(tx, NOW, DAY, 100),
    "forget purged invoices": lambda tx: lapsed.forget(tx, NOW - DAY, NOW - DAY, 100),
    "forget a purged invoice": lambda tx: lapsed.never_paid(tx, "0" * 64),
    "purge what nobody paid for": lambda tx: lapsed.purge(tx, [UNPAID]),
    "forget counts": lambda tx: rate_limits.purge(tx, NOW),
    "what a session and its budgets have left": lambda tx: balances.lock_to_spend(
        tx, SESSION, BUDGETS
    ),
    "give back to a budget": lambda tx: balances.unspend(tx, LINKS[1:], 1000),
    "set aside": lambda tx: balances.set_aside(tx, SESSION, RESERVED, BUDGETS, NOW, NOW),
    "give back": lambda tx: balances.give_back(tx, SESSION, RELEASED, LINKS[1:], NOW),
    "begin a hold": lambda tx: holds.begin_at_once(
        tx, hold.begin("new", 1_000, SESSION), RESERVED, BUDGETS, "gemini", NOW, NOW, NOW, SHOWN
    ),
    "end a hold": lambda tx: holds.end_at_once(
        tx, hold.decide(HELD, hold.Used(600)), RELEASED, LINKS[1:], NOW
    ),
    "debit an account": debit_account,
    "a pending top-up": lambda tx: sessions.pending_topup(tx, SESSION),
    "a credential's first use": lambda tx: sessions.mark_used(tx, SESSION, NOW),
    "revoke": lambda tx: sessions.revoke(tx, SESSION, "some link", NOW),
    "items that are due": lambda tx: items.due(tx, BATCH, ITEM),
    "items that are lost": lambda tx: items.forsake(tx, BATCH, ITEM, NOW),
    "a cast is paid": lambda tx: casts.paid(tx, CAST, NOW),
    "forget who has made it": lambda tx: lapsed.purge_leases(tx, NOW, NOW, 4),
    "forget what was asked for": lambda tx: forgetting.forget(tx, NOW, NOW, 4),
    "purge orders": lambda tx: lapsed.purge_orders(tx, NOW, 10),
    "forget old lines": lambda tx: months.forget(tx, NOW, 0, 5),
    "purge requests": lambda tx: lapsed.purge_requests(tx, NOW, NOW, 5),
    "purge webhooks": lambda tx: webhooks.purge(tx, NOW, 10),
    "a webhook's notice": lambda tx: webhooks.insert_notice(
        tx, NoticeFacts("new", "https://7", NoticeState.WANTED), WEBHOOK, "batch.failed", NOW
    ),
    "deposits of an address": lambda tx: deposits.lock_unclaimed(tx, named("payer8")),
    "deposits that are missed": lambda tx: deposits.miss(tx, Watch(CHAIN, "us"), ROWS - 5, NOW),
    "who asked for an amount": lambda tx: connect_requests.asked_before(tx, CHAIN, 500_007),
    "requests that are due": lambda tx: connect_requests.lock_due(
        tx, ConnectKind.USDC, CHAIN, NOW, 5
    ),
    "post an entry": lambda tx: ledger.post(tx, [entry()], NOW),
}

# The task engine's own. What is in a function is not explained, but all it touches is counted.
PROMISES = {
    **{
        f"the next of the {lane}": f"SELECT * FROM claim_promise('{lane}', NULL)" for lane in QUEUES
    },
    "promises of dead workers": (
        "SELECT job.* FROM procrastinate_jobs job JOIN procrastinate_workers w"
        " ON job.worker_id = w.id WHERE job.status = 'doing'"
    ),
    "a promise that waits": (
        "SELECT id FROM procrastinate_jobs WHERE lock = 'none' AND status = 'todo'"
    ),
}


LEARNING = 5  # what a connection learns when it first calls a function is no plan
SMALL = {  # whatever happens
    "job_tally", "root_key", "n", "procrastinate_workers", "lane_floor", "account_part",
}  # fmt: skip


class _Undone(Exception):
    """Takes back what a statement did: the next ones find the rows as they were."""


async def plans_of(db: ExplainingDatabase) -> dict[str, list[Plan]]:
    """Return how Postgres goes about each of these statements just now."""
    found: dict[str, list[Plan]] = {}
    for name, read in READS.items():
        await read(db)
        found[name] = db.taken()
    with db.watched():
        for name, write in WRITES.items():
            taken = []
            for _ in range(LEARNING):
                with suppress(_Undone):
                    await db.run("plan", partial(_undone, write))
                taken.append(db.taken())
            found[name] = [
                min(tries, key=lambda plan: plan.blocks) for tries in zip(*taken, strict=True)
            ]
    for name, query in PROMISES.items():
        for _ in range(LEARNING):
            await db.read_all(query)
        found[name] = [min(db.taken(), key=lambda plan: plan.blocks)]
    return found


async def _undone(write: Callable[[Tx], Awaitable[object]], tx: Tx) -> None:
    await write(tx)
    raise _Undone


async def test_every_hot_query_goes_by_an_index(database_url: str) -> None:
    """None reads a table to its end, whether or not the planner has ever been told of its rows."""
    fill(database_url)
    db = ExplainingDatabase(database_url)
    await db.open()
    try:
        unheard_of = await plans_of(db)
        analyse(database_url)
        analysed = await plans_of(db)
    finally:
        await db.close()
    assert all(unheard_of.values()) and all(analysed.values()), "nothing was explained"
    wrong = [
        f"{name}, {when}: {plan}"
        for when, found in (("unheard of", unheard_of), ("analysed", analysed))
        for name, plans in found.items()
        for plan in plans
        if plan.blocks > LARGE.get(name, MOST_BLOCKS) or plan.scanned - SMALL
    ]
    assert not wrong, "\n".join(wrong)
