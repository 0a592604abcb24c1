"""What a worker's page shows: where its pay is, what it does, and what keeps work from it."""

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from app.advance.workers import GIVEN_BACK_WITHIN, MOST_GIVEN_BACK
from app.house import House, house_of
from app.promises.leases import wish
from app.trade.idle import Idle, Stands, why_idle
from app.trade.lenders import Standing
from app.web.cookies import token_of
from app.web.page import render
from app.web.troubles import Trouble
from app.web.worker_pay import WAITS_HOURS, directions_at
from db import network
from db.leases import Named
from db.network import LaneSeen
from db.worker_payouts import Purse, Sent
from db.workers import HEARD_WITHIN, WorkerRow, facts_of
from statemachine.entries import Asset
from statemachine.payout import PayoutState
from statemachine.reputation import at_once, reputation_of
from statemachine.worker import MOST_SILENT, NEW_FOR, NEW_ITEMS, SILENT_WITHIN, WorkerState

COOKIE = "boltwork_worker"
PATH = "/workers/me"
MOST_PAID, MOST_PAYOUTS = 20, 10
HEADS = {
    WorkerState.ONLINE: "Online",
    WorkerState.DRAINING: "Draining",
    WorkerState.PAUSED: "Paused",
    WorkerState.BANNED: "Banned",
}
# What may be asked for in each state: the value of a button, and what stands on it.
_PAUSE, _RESUME = ("paused", "Pause"), ("online", "Resume")
_DRAIN = ("draining", "Finish and stop")
BUTTONS = {
    WorkerState.ONLINE: (_DRAIN, _PAUSE),
    WorkerState.DRAINING: (_RESUME, _PAUSE),
    WorkerState.PAUSED: (_RESUME,),
    WorkerState.BANNED: (),
}


@dataclass(frozen=True, slots=True)
class Held:
    """An item that it has just now."""

    model: str
    prompt: str
    progress: int
    until: datetime
    asset: Asset
    pay: int


async def shown(
    request: Request,
    row: WorkerRow,
    wrong: Trouble | None = None,
    given: dict[str, str] | None = None,
) -> Response:
    """Return the page of a worker, to whom has shown its token."""
    house = house_of(request)
    standing = await house.lenders.standing(row)
    lanes = await network.lanes_of(house.db, row.id)
    now = standing.row
    heard_at = max([now.seen_at, *(lane.last_seen for lane in lanes)])
    is_here = house.clock() - heard_at < HEARD_WITHIN
    return render(
        request,
        "worker.html",
        wrong=wrong,
        given=given or {},
        worker=now,
        state=now.state.value,
        headline=HEADS[now.state],
        heard_at=heard_at,
        is_here=is_here,
        is_moving=is_here or any(_moves(each) for each in standing.payouts),
        sums=_sums(standing),
        idle=await _idle(house, standing, lanes),
        held=[_held(lease) for lease in standing.held],
        paid=await network.paid_to(house.db, now.id, MOST_PAID),
        payouts=standing.payouts[:MOST_PAYOUTS],
        facts=_facts(now, house.clock()),
        buttons=BUTTONS[now.state],
        new_items=NEW_ITEMS,
        trusted_from=now.created_at + NEW_FOR,
        payout_sats=house.settings.worker_payout_sats,
        pay=directions_at(now, house.clock()),
        waits_hours=WAITS_HOURS,
        key=house.new_id(),
        csrf=token_of(request, COOKIE),
    )


def _moves(payout: Sent) -> bool:
    return payout.state is not PayoutState.PAID


def _sums(standing: Standing) -> list[tuple[Asset, Purse]]:
    """Return where the pay is, in sats always, in USDC where there ever was any."""
    shown = [each for each in standing.purses if each.asset is Asset.MSAT or each.earned]
    return [(purse.asset, purse) for purse in shown]


async def _idle(house: House, standing: Standing, lanes: list[LaneSeen]) -> list[Idle]:
    row = standing.row
    may_hold = at_once(facts_of(row))
    waiting = await network.waiting(house.db, house.network.lanes)
    failed = row.canaries_failed > 0
    stands = Stands(row.state, row.silent, failed, len(standing.held), may_hold, lanes)
    return why_idle(stands, waiting, house.catalogue, house.clock())


def _held(lease: Named) -> Held:
    wanted, pay = wish(dict(lease.asked)), lease.pay_amount
    return Held(wanted.model, wanted.prompt, lease.progress, lease.until, lease.asset, pay)


def _facts(row: WorkerRow, now: datetime) -> list[tuple[str, str]]:
    """Return what is known of a worker's work, by which it is trusted."""
    told = reputation_of(facts_of(row))
    shares = (("Accepted", told.accepted_pct), ("On time", told.on_time_pct))
    counts = [
        ("Items delivered", row.delivered),
        ("Given up", row.failed),
        ("Lost by silence", row.lost),
        ("Brought late", row.late),
        ("Checks passed", told.canaries_passed),
        ("Checks failed", told.canaries_failed),
    ]
    facts = [(name, f"{n:,}") for name, n in counts if n or name == "Items delivered"]
    facts += [(name, f"{share} %") for name, share in shares if share is not None]
    facts.append(("Items at once", f"{told.at_once}"))
    if row.silent_since is not None and now - row.silent_since < SILENT_WITHIN:
        facts.append(("Lost by silence, within an hour", f"{row.silent} of {MOST_SILENT}"))
    if row.given_back_since is not None and now - row.given_back_since < GIVEN_BACK_WITHIN:
        facts.append(("Given back, within an hour", f"{row.given_back} of {MOST_GIVEN_BACK}"))
    return facts
