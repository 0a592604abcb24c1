"""A challenge of L402 for what a caller names, before it asks for that (L402's discovery, 6).

It is the 402 of the very address that sells it: the same invoice, the same macaroon, the same
limits. What it proves is bought there.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlencode

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.http import within
from app.http.body import json_response, parse, read_body
from app.http.contract import Sale, sales
from app.http.fields import Body
from app.http.within import Told
from app.refusal import Refusal, Why
from payments.l402 import SERVICE
from pricing.money import sats_to_msat

NAME: Final = SERVICE.partition(":")[0]
_CHALLENGE: Final = re.compile(r'L402 macaroon="([^"]+)", invoice="([^"]+)"')
Fields = dict[str, Any]


class Wanted(Body):
    """What is to be bought: a request, as it will be sent with the proof."""

    path: Annotated[str, Field(min_length=1, max_length=200)]
    method: Annotated[str, Field(pattern="^(GET|POST)$")] = "POST"
    query: dict[str, str] = Field(default_factory=dict)
    body: Fields | None = None


class Quote(Body):
    """POST /l402/quote."""

    service: str
    resource: Wanted
    tier: int = 0
    capabilities: list[str] = Field(default_factory=list)
    constraints: Fields = Field(default_factory=dict)
    max_price_msat: Annotated[int, Field(ge=1)] | None = None
    optimize: str | None = None
    token_id: str | None = None
    payment_method: str = "bolt11"


async def quote(request: Request) -> Response:
    """POST /l402/quote: the price in millisatoshis, with the macaroon and the invoice for it."""
    asked = parse(await read_body(request), Quote)
    sale, wanted = _sale_of(asked), asked.resource
    told = await within.ask(
        request,
        wanted.method,
        sale.path,
        wanted.body,
        query=urlencode(wanted.query),
        headers={"Accept-Payment": "lightning/charge"},  # so an account is not asked for
        shows_credentials=False,
    )
    found = _CHALLENGE.search(", ".join(told.headers.getlist("www-authenticate")))
    if told.status != 402 or found is None:
        _refuse(told)
    offered = told.json
    price_msat = sats_to_msat(offered["amountSats"])
    if asked.max_price_msat is not None and price_msat > asked.max_price_msat:
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"This costs {price_msat} msat, more than your max_price_msat.",
            field="max_price_msat",
        )
    return json_response(
        {
            "price_msat": price_msat,
            "quote_expiry": int(datetime.fromisoformat(offered["expiresAt"]).timestamp()),
            "macaroon": found[1],
            "invoice": found[2],
            "resource": {"method": wanted.method, "path": sale.path},
            "instance": offered.get("instance", sale.path),
        }
    )


def _sale_of(asked: Quote) -> Sale:
    """Return what is sold at the address that is named, by the capabilities that are."""
    if asked.service != NAME:
        sentence = f"There is no service {asked.service[:60]!r} here. It is {NAME!r}."
        _bad(sentence, "unknown_service", "service")
    if asked.tier != 0:
        _bad("There is one tier, 0.", "malformed_request", "tier")
    if asked.payment_method != "bolt11":
        _bad("Invoices are of bolt11.", "malformed_request", "payment_method")
    if asked.constraints:
        field = next(iter(asked.constraints))
        _bad("Nothing is constrained here but by `resource`.", "invalid_constraint", field[:60])
    for sale in sales():
        if (sale.method, sale.path) == (asked.resource.method, asked.resource.path):
            if asked.capabilities and sale.capability not in asked.capabilities:
                _bad("This resource is of another capability.", "unknown_capability", "resource")
            return sale
    _bad(
        "Nothing is sold at this address by the call. /.well-known/l402.json lists what is.",
        "unknown_capability",
        "resource",
    )


def _bad(sentence: str, code: str, field: str) -> NoReturn:
    raise Refusal(Why.BAD_INPUT, sentence, code=code, field=field)


_WHY: Final = {
    404: Why.BAD_INPUT,
    409: Why.OVER_MAX_SATS,
    413: Why.TOO_LARGE,
    429: Why.TOO_MANY,
    500: Why.FAULT,
    503: Why.NOT_WELL,
}


def _refuse(told: Told) -> NoReturn:
    """Refuse as the address has that sells it, in the words of this one."""
    said = told.json
    inner = said.get("error", said) if isinstance(said.get("error"), dict) else said
    sentence = inner.get("message") or inner.get("error")
    headers = {name: told.headers[name] for name in ("Retry-After",) if name in told.headers}
    why = _WHY.get(told.status, Why.BAD_INPUT)
    raise Refusal(why, str(sentence), inner.get("next"), headers, field="resource")
