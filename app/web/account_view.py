"""What an account's page shows: balances, invoices, keys, what was spent, and what was made."""

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.caller import COOKIE
from app.trade.histories import History, TimeUnit
from app.web import job_view, spending_plot
from app.web.batch_view import text_of
from app.web.cookies import token_of
from app.web.fiat import rate_now
from app.web.page import render
from app.web.spending_plot import Spent, spent_in
from app.web.troubles import Trouble
from db.api_keys import KeyRow
from db.people import LoginRow
from db.people_tables import IdentityKind
from db.user_spending import Piece
from statemachine.entries import Asset
from statemachine.payout import PayoutState

MOST_PIECES, MOST_BOUGHT, MOST_NOTICES = 24, 12, 12
_NAMES = {
    IdentityKind.PASSWORD: "Name and password",
    IdentityKind.EVM: "Browser wallet",
    IdentityKind.LIGHTNING: "Lightning wallet",
}
_PERIODS = {
    TimeUnit.WEEK: "7 days",
    TimeUnit.MONTH: "30 days",
    TimeUnit.YEAR: "Year",
}


@dataclass(frozen=True, slots=True)
class Here:
    """What this one answer shows beside what the account has."""

    given: dict[str, str] = field(default_factory=dict)
    key: str = ""  # that was just made
    wallet: dict[str, Any] | None = None  # a code that a wallet is to sign
    is_unsigned: bool = False  # and has not yet
    is_proof: bool = False  # it is for the second proof of a withdrawal, which is asked for


async def shown(request: Request, login: LoginRow, wrong: Trouble | None, here: Here) -> Response:
    """Return the page of an account, to who is signed in."""
    house, who = house_of(request), login.account_id
    balances, deposits, owed = await house.accounts.standing(who)
    waiting = [row.to_pay for row in deposits]
    payouts = [row for row in owed if row.state is not PayoutState.PAID]
    unit = _unit(request)
    history = await house.histories.spent(who, unit, 0)
    invoices = [
        await job_view.invoice(one.bolt11, one.amount_msat, one.expires_at)
        for one in waiting[:1]
        if one is not None
    ]
    named, number = await house.logins.names_of(who), _number(request)
    skipped = (number - 1) * MOST_PIECES
    pieces = await house.histories.pieces(who, skipped, MOST_PIECES + 1)
    return render(
        request,
        "account.html",
        wrong=wrong,
        names=[(_NAMES[each.kind], each.name) for each in named],
        proofs={each.kind.value for each in named},
        wallets=[each.name for each in named if each.kind is IdentityKind.EVM],
        sends_usdc=house.usdc is not None,
        balances={"msat": balances[Asset.MSAT], "usdc": balances[Asset.MICROUSDC]},
        invoices=invoices,
        is_moving=bool(invoices or payouts),
        refunds=await job_view.refunds(request, payouts),
        rate=await rate_now(house),
        keys=[_key(row) for row in await house.keys.of_account(who)],
        periods=[(each.value, name, each is unit) for each, name in _PERIODS.items()],
        spent=_spent(history),
        pieces=[_piece(each) for each in pieces[:MOST_PIECES]],
        gallery={"number": number, "has_more": len(pieces) > MOST_PIECES},
        notices=await house.webhooks.of_account(who, MOST_NOTICES),
        bought=await house.histories.bought(who, MOST_BOUGHT),
        here=here,
        given=here.given,
        key=house.new_id(),
        csrf=token_of(request, COOKIE),
    )


def _unit(request: Request) -> TimeUnit:
    given = request.query_params.get("spent", TimeUnit.MONTH.value)
    return next((each for each in _PERIODS if each.value == given), TimeUnit.MONTH)


def _number(request: Request) -> int:
    """Return which page of what was made is asked for, from 1 on."""
    given = request.query_params.get("made", "1")
    is_one = given.isascii() and given.isdecimal() and len(given) < 4 and int(given) > 0
    return int(given) if is_one else 1


def _key(row: KeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "shown": row.shown,
        "created_at": row.created_at,
        "used_at": row.last_used_at,
        "spent_msat": row.spent_msat,
        "spent_usdc": row.spent_microusdc,
        "limit_msat": row.limit_msat,
        "limit_usdc": row.limit_microusdc,
    }


def _spent(history: History) -> list[tuple[Spent, Any]]:
    """Return what was spent in each asset, with its plot; in sats also where that is nothing."""
    every = [spent_in(history, asset) for asset in (Asset.MSAT, Asset.MICROUSDC)]
    used = [each for each in every if each.total] or every[:1]
    return [(each, spending_plot.plot(each) if each.total else None) for each in used]


def _piece(piece: Piece) -> dict[str, Any]:
    path = f"/jobs/{piece.batch_id}/items/{piece.item_id}"
    made_in = f"/casts/{piece.cast_id}" if piece.cast_id else f"/jobs/{piece.batch_id}"
    return {
        "path": path,
        "made_in": made_in,
        "is_film": (piece.media_type or "").startswith("video/"),
        "width": piece.width,
        "height": piece.height,
        "text": text_of(piece.output),
        "tool": piece.tool,
        "prompt": piece.prompt or piece.tool,
        "made_at": piece.ended_at,
    }
