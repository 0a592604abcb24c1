"""What an account has: paid in by an invoice, taken out over Lightning, each move to be seen."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from app.advance import Act
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import Holder
from app.http.claims import ClaimRefund, answer_claim
from app.http.dialect import AGENT_JOBS
from app.http.fields import Body, Usdc, name_of
from app.http.links import base_url
from app.http.paywall import Sold
from app.http.second_proofs import NotSignedYet, second_proof
from app.http.signing_in import Digits, not_signed_yet
from app.http.throttle import Rule
from app.http.withdrawals import Sats, Wanted
from app.refusal import LEAST_RETRY_S, Refusal, Why
from app.strict_json import BadInput, moment
from app.trade.proofs import Given
from app.trade.usdc_sales import Bought, Thing
from db.payouts import PayoutRow
from db.user_balances import Move
from payments.siwe import LONGEST
from payments.usdc import contract_wallet
from payments.usdc.payment import Payment
from payments.usdc.x402 import REQUIRED, RESPONSE, header_of
from pricing.money import (
    MicroUsd,
    MicroUsdc,
    microusdc_of,
    msat_to_sats,
    sats_down,
    sats_to_msat,
    usd_number,
)
from statemachine.batch import LEAST_REFUND_MICROUSDC
from statemachine.entries import Asset
from statemachine.owner import Owner, OwnerKind
from statemachine.payout import PayoutState
from statemachine.public_id import public_id

PAGE: Final = 100
LARGEST: Final = 2**53
LONGEST_SIGNATURE: Final = 2 * contract_wallet.LONGEST_SIGNATURE + 2  # characters

# What an entry is called, by its key: the first that fits.
_WHAT: Final = (
    (re.compile("invoice:.*:settled"), "deposit"),
    (re.compile("authorization:.*:settled"), "deposit"),
    (re.compile("deposit:.*:(?:arrived|claimed)"), "deposit"),
    (re.compile("batch:([0-9a-f]{32}):reserved"), "job"),
    (re.compile("batch:([0-9a-f]{32}):ended"), "jobRest"),
    (re.compile("payout:.*:owed"), "withdrawal"),
)


class Deposit(Body):
    """POST /api/account/deposits: in sats, by an invoice; or in USDC, over x402."""

    amount_sats: Sats | None = Field(None, alias="amountSats")
    amount_usdc: Usdc | None = Field(None, alias="amountUsdc")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.amount_sats is not None and self.amount_usdc is not None:
            raise ValueError("The fields 'amountSats' and 'amountUsdc' exclude each other.")
        if self.amount_sats is None and self.amount_usdc is None:
            raise ValueError("The field 'amountSats' is missing. Add it, or 'amountUsdc'.")
        if self.amount_usdc is not None and microusdc_of(self.amount_usdc) < LEAST_REFUND_MICROUSDC:
            raise ValueError("Pay in 0.01 USDC at the least.")
        return self


class Withdraw(Wanted):
    """POST /api/account/withdrawals: what is wanted, and a second proof where that is needed."""

    recovery_code: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, alias="recoveryCode"
    )
    message: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = None
    signature: Annotated[str, Field(min_length=1, max_length=LONGEST_SIGNATURE)] | None = None
    k1: Digits | None = None
    secret: Digits | None = None

    @model_validator(mode="after")
    def _whole_proof(self) -> Self:
        if (self.message is None) != (self.signature is None):
            raise ValueError("The fields 'message' and 'signature' go together.")
        if (self.k1 is None) != (self.secret is None):
            raise ValueError("The fields 'k1' and 'secret' go together.")
        return self


async def show(request: Request) -> Response:
    """GET /api/account: the balances, and what is under way. Also takes its payments in."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    await house.waiting.nudge_invoices(await house.accounts.deposits(holder.account_id))
    return json_response(await _standing(request, house, holder.account_id))


async def history(request: Request) -> Response:
    """GET /api/account/history: what has moved the balances, the newest first."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    given = request.query_params.getlist("before")
    if len(given) > 1 or not re.fullmatch("[0-9]{1,15}", given[0] if given else "0"):
        raise BadInput("The parameter 'before' must be the `id` of a move.")
    before = int(given[0]) if given else LARGEST
    moves = await house.accounts.moves(holder.account_id, before, PAGE)
    shape: dict[str, Any] = {"moves": [_move(each) for each in moves]}
    if len(moves) == PAGE:
        shape["nextBefore"] = moves[-1].id
    return json_response(shape)


async def deposit(request: Request) -> Response:
    """POST /api/account/deposits: 201 with an invoice; paid, its amount is on the balance.

    In USDC it is 402, and 201 once that is paid.
    """
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    async with house.throttle.turn(request, Rule.CREATE):
        body = await read_body(request)
        asked = parse(body, Deposit)
        if asked.amount_usdc is not None:
            return await _in_usdc(request, house, holder, body, microusdc_of(asked.amount_usdc))
        assert asked.amount_sats is not None, "the body says so"
        name = name_of(request, f"account:{holder.account_id}", body)
        amount_msat = sats_to_msat(asked.amount_sats)
        invoice = await house.accounts.deposit(holder.account_id, amount_msat, name)
    return json_response({"invoice": house.shapes.invoice(invoice)}, 201)


async def _in_usdc(
    request: Request, house: House, holder: Holder, body: bytes, amount: MicroUsdc
) -> Response:
    """Answer with what a signed order has paid in; without one, with what is to be signed."""
    door, owner = house.usdc, Owner(OwnerKind.ACCOUNT, holder.account_id)
    resource = f"deposit:{public_id(owner.id)}:{amount}"
    price = MicroUsd(amount)  # a dollar is one USDC
    sold = Sold(resource, "A deposit to your account.", body, price, "/api/account", AGENT_JOBS)
    base = base_url(request, house.settings.public_url) or ""
    sentence = "Pay this deposit with a signed order in USDC (x402)."
    asked = door.required(sold, f"{base}{request.url.path}", sentence) if door else None
    if door is None or asked is None:
        raise Refusal(Why.NOT_POSSIBLE_NOW, "Nothing can be paid in USDC here just now.")

    async def prepare(_: Payment) -> Thing:
        return Thing(owner, _nothing)

    paid = await door.bought(request, sold, prepare)
    if isinstance(paid, Bought):
        told = {"amountUsdc": usd_number(price), "settled": paid.is_settled}
        pending = {} if paid.is_settled else {"Retry-After": str(LEAST_RETRY_S)}
        answer = json_response(told, 201 if paid.is_settled else 202, pending)
        return await door.answered(request, paid, answer)
    why = sentence if paid is None else paid.sentence
    shape = {**asked, "error": why, "code": AGENT_JOBS.word(Why.PRICED)}
    if paid is not None:
        shape |= {"retry_action": paid.retry_action, "payment_state": paid.payment_state}
    answer = json_response(shape | {"requestId": request.scope["state"]["request_id"]}, 402)
    answer.headers.append(REQUIRED, header_of(asked))
    if paid is not None:
        answer.headers.append(RESPONSE, header_of(paid.told))
    return answer


async def _nothing(_: Act) -> None:
    """An account is there already: its order is all that is written."""


async def withdraw(request: Request) -> Response:
    """POST /api/account/withdrawals: 201; the money is on its way, or waits to be fetched."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    await house.throttle.count(request, Rule.DESTINATION)
    body = await read_body(request)
    asked = parse(body, Withdraw)
    name = name_of(request, f"account:{holder.account_id}", body)
    account_id = holder.account_id
    amount_msat = asked.amount_msat
    accounts, public_url, given = house.accounts, house.settings.public_url, _given(asked)
    proves = second_proof(request, house.proofs, house.throttle, public_url, account_id, given)
    try:
        if asked.amount_usdc is not None:
            wallet, amount = asked.wallet, microusdc_of(asked.amount_usdc)
            made = await accounts.withdraw_usdc(account_id, amount, wallet, name, proves)
        elif asked.invoice is not None:
            text = asked.invoice
            made = await accounts.withdraw_to(account_id, text, amount_msat, name, proves)
        else:
            assert amount_msat is not None, "the body says so"
            to = house.refunds.destination_of(asked.to) if asked.to is not None else None
            made = await accounts.withdraw(account_id, amount_msat, to, name, proves)
    except NotSignedYet:
        return not_signed_yet()
    base = base_url(request, house.settings.public_url)
    rows = await house.accounts.payouts(account_id)
    [row] = [row for row in rows if row.id == made]
    return json_response({"withdrawal": _payout(house, row, base)}, 201)


def _given(asked: Withdraw) -> Given:
    return Given(asked.recovery_code, asked.message, asked.signature, asked.k1, asked.secret)


async def refund(request: Request) -> Response:
    """POST /api/account/refund: send what waits to be fetched to an invoice or a destination."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    await house.throttle.count(request, Rule.DESTINATION)
    asked = parse(await read_body(request), ClaimRefund)
    return await answer_claim(house.refunds, holder.account_id, asked)


async def _standing(request: Request, house: House, account_id: str) -> dict[str, Any]:
    balances, asked_for, owed = await house.accounts.standing(account_id)
    base = base_url(request, house.settings.public_url)
    deposits = [row.to_pay for row in asked_for]
    return {
        "accountId": account_id,
        "balanceSats": sats_down(balances[Asset.MSAT]),
        "balanceUsdc": usd_number(MicroUsd(balances[Asset.MICROUSDC])),
        "deposits": [house.shapes.invoice(row) for row in deposits if row is not None],
        "withdrawals": [
            _payout(house, row, base) for row in owed if row.state is not PayoutState.PAID
        ],
    }


def _payout(house: House, row: PayoutRow, base: str | None) -> dict[str, Any]:
    return house.shapes.refund(row, base)


def _move(move: Move) -> dict[str, Any]:
    shape: dict[str, Any] = {"id": move.id, "at": moment(move.at), "what": "other"}
    for key, what in _WHAT:
        if (found := key.fullmatch(move.key)) is not None:
            shape["what"] = what
            if found.groups():
                shape["jobId"] = found[1]
            break
    if move.asset is Asset.MSAT:
        whole = msat_to_sats if move.amount % 1000 == 0 else sats_down
        shape["sats"] = whole(abs(move.amount)) * (1 if move.amount > 0 else -1)
    else:
        shape["usdc"] = usd_number(MicroUsd(move.amount))
    return shape
