"""A worker itself: registered, read, changed, paid; and what work pays."""

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from app.advance.workers import Change
from app.api.workers.shapes import (
    claim_shape,
    payouts_shape,
    rate_shape,
    standing_shape,
    worker_shape,
)
from app.api.workers.tokens import worker_of
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.edge import polls
from app.http.fields import Body, name_of
from app.http.later import IsGone, Later
from app.http.throttle import Rule
from app.plain_text import odd_in
from app.strict_json import BadInput
from app.trade.lenders import Redirection, Registration
from app.trade.lending import LONGEST_WAIT_S, Asked, Lending
from db.worker_payouts import FROM_THE_NEWEST, mark_of
from db.workers import WorkerRow
from payments.usdc.address import Address, read_address
from pricing.money import microusdc_of, sats_to_msat
from statemachine import worker as law
from statemachine.entries import Asset

KEEP = "Keep the token: it is shown this once."
KEEP_BOTH = "Keep the token. With your secret the same request shows it again for 24 hours."
SHOWN_ONCE = "This worker was registered before, and its token was shown then."
MOST_NAMED, MOST_MODELS = 64, 64
MOST_PIXELS, MOST_VRAM_GB, MOST_AT_ONCE = 8_192 * 8_192, 10_000, 8
MOST_SATS = 100_000_000
EVENTS: dict[str, law.Resumed | law.Drained | law.Paused] = {
    "online": law.Resumed(),
    "draining": law.Drained(),
    "paused": law.Paused(),
}
Named = Annotated[str, Field(min_length=1, max_length=MOST_NAMED)]
To = Annotated[str, Field(min_length=3, max_length=2_000)]
Model = Annotated[str, Field(min_length=1, max_length=80)]
UsdcOrAll = Annotated[str, Field(pattern=r"^([0-9]{1,9}(\.[0-9]{1,6})?|all)$")]
Wallet = Annotated[str, Field(min_length=42, max_length=42)]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Register(Body):
    """POST /api/v1/workers."""

    name: Named
    pay_to: To = Field(alias="payTo")
    usdc_to: Wallet | None = Field(None, alias="payToUsdc")
    payout_key: Hex32 | None = Field(None, alias="payoutKey")
    secret: Hex32 | None = None


class ChangeWorker(Body):
    """PATCH /api/v1/workers/me."""

    name: Named | None = None
    pay_to: To | None = Field(None, alias="payTo")
    usdc_to: Wallet | None = Field(None, alias="payToUsdc")
    signature: Hex64 | None = None
    state: Literal["online", "draining", "paused"] | None = None


class ClaimItems(Body):
    """POST /api/v1/workers/claims."""

    models: Annotated[list[Model], Field(min_length=1, max_length=MOST_MODELS)]
    most_pixels: Annotated[int, Field(ge=1, le=MOST_PIXELS)] = Field(alias="maxPixels")
    vram_gb: Annotated[int, Field(ge=0, le=MOST_VRAM_GB)] = Field(0, alias="vramGb")
    most: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1
    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT_S)] = 0
    least_sats: Annotated[int, Field(ge=0, le=MOST_SATS)] = Field(0, alias="minSats")


class PayOut(Body):
    """POST /api/v1/workers/me/payouts."""

    amount_sats: Annotated[int, Field(ge=1, le=MOST_SATS)] | None = Field(None, alias="amountSats")
    amount_usdc: UsdcOrAll | None = Field(None, alias="amountUsdc")

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if self.amount_sats is not None and self.amount_usdc is not None:
            raise ValueError("Take out sats or USDC: 'amountUsdc' has no use here.")
        return self

    @property
    def amount(self) -> int | None:
        """Return how much, in the smallest unit of its asset; None: all that is free."""
        if self.amount_usdc is not None:
            return microusdc_of(self.amount_usdc) if self.amount_usdc != "all" else None
        return sats_to_msat(self.amount_sats) if self.amount_sats is not None else None


def _wallet(text: str | None) -> Address | None:
    wallet = read_address(text) if text is not None else None
    if text is not None and wallet is None:
        raise BadInput(
            "The field 'payToUsdc' must be an address: 0x and 40 hex digits, with its capitals"
            " where they must be."
        )
    return wallet


def _plain(name: str) -> str:
    odd = odd_in(name)
    if odd:
        raise BadInput(f"The field 'name' holds the character {odd}, which is not text.")
    if not name.strip():
        raise BadInput("The field 'name' is empty.")
    return name.strip()


async def register(request: Request) -> Response:
    """POST /api/v1/workers: 201 with a new worker, and its token, which is shown once."""
    house = house_of(request)
    await house.throttle.count(request, Rule.ACCOUNT)
    body = await read_body(request)
    asked = parse(body, Register)
    to = house.refunds.destination_of(asked.pay_to).text
    guards = _wallet(asked.usdc_to), asked.payout_key, asked.secret
    name = name_of(request, f"peer:{house.throttle.address(request)}", body, is_known=False)
    made = await house.lenders.register(Registration(_plain(asked.name), to, *guards), name)
    shape = worker_shape(made.row)
    if made.token is None:
        return json_response({**shape, "message": SHOWN_ONCE}, 201)
    message = KEEP_BOTH if asked.secret is not None and name is not None else KEEP
    return json_response({**shape, "token": made.token, "message": message}, 201)


async def me(request: Request) -> Response:
    """GET /api/v1/workers/me: where the worker stands. PATCH: the same, once it is changed."""
    house = house_of(request)
    worker = await worker_of(request, house)
    if request.method == "PATCH":
        asked = parse(await read_body(request), ChangeWorker)
        change = Change(
            name=_plain(asked.name) if asked.name is not None else None,
            event=EVENTS[asked.state] if asked.state is not None else None,
        )
        await house.lenders.change(worker, change, _redirection(house, asked))
    return json_response(standing_shape(await house.lenders.standing(worker)))


def _redirection(house: House, asked: ChangeWorker) -> Redirection | None:
    if asked.pay_to is None and asked.usdc_to is None:
        return None
    pay_to = house.refunds.destination_of(asked.pay_to).text if asked.pay_to is not None else None
    as_sent = asked.pay_to, asked.usdc_to
    return Redirection(pay_to, _wallet(asked.usdc_to), asked.signature, *as_sent)


async def claims(request: Request) -> Response:
    """POST /api/v1/workers/claims: 200 with what the worker holds from now on, or why nothing."""
    polls(request)
    house = house_of(request)
    worker = await worker_of(request, house)
    asked = parse(await read_body(request), ClaimItems)
    able = tuple(asked.models), asked.most_pixels, asked.vram_gb
    wish = Asked(*able, asked.most, asked.wait, sats_to_msat(asked.least_sats))
    if not wish.wait_s:
        return await _claimed(house.lending, worker, wish, request.is_disconnected)
    return Later(partial(_claimed, house.lending, worker, wish))


async def _claimed(lending: Lending, worker: WorkerRow, wish: Asked, is_gone: IsGone) -> Response:
    given = await lending.claim(worker, wish, is_gone)
    no_match = [
        {
            "reason": each.reason.value,
            "message": each.sentence,
            **({"model": each.model} if each.model is not None else {}),
        }
        for each in given.no_match
    ]
    shape = {"leases": [claim_shape(claim) for claim in given.claims], "noMatch": no_match}
    return json_response(shape)


async def payouts(request: Request) -> Response:
    """GET /api/v1/workers/me/payouts: a page of them. POST: 201; pay is on its way."""
    house = house_of(request)
    worker = await worker_of(request, house)
    if request.method != "POST":
        return await _page(request, house, worker)
    await house.throttle.count(request, Rule.DESTINATION)
    body = await read_body(request)
    asked = parse(body, PayOut)
    asset = Asset.MICROUSDC if asked.amount_usdc is not None else Asset.MSAT
    name = name_of(request, f"worker:{worker.id}", body)
    await house.lenders.pay_out(worker, asked.amount, name, asset)
    return json_response(standing_shape(await house.lenders.standing(worker)), 201)


async def _page(request: Request, house: House, worker: WorkerRow) -> Response:
    given = request.query_params.getlist("before")
    before = mark_of(given[0]) if len(given) == 1 else FROM_THE_NEWEST
    if before is None or len(given) > 1:
        raise BadInput("The parameter 'before' must be the `nextBefore` of the page before.")
    return json_response(payouts_shape(await house.lenders.payouts(worker, before)))


async def market(request: Request) -> Response:
    """GET /api/v1/workers/market: the median pay and time of an item, by model, of the last day."""
    house = house_of(request)
    return json_response({"rates": [rate_shape(rate) for rate in await house.lending.rates()]})
