"""What this server is, for a model that reads it: how to buy here, and what there is for how much.

Nothing that others have written stands in it: no spell's words, and no prompt.
"""

import asyncio
import json
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from app.api.discovery.price_list import PriceList, in_words, price_list
from app.api.discovery.unchanging import answered, document_of
from app.house import House, house_of
from app.http.contract import Sale, document, resolved, sales
from app.http.guides import guides
from app.http.links import base_url

TEXT: Final = "text/plain; charset=utf-8"
Node = dict[str, Any]

HEAD: Final = """# Boltwork

> {summary} No account is needed: a payment by the call buys each of them. What is not used, or not
> delivered, is owed back.

Base URL: {base}

## How to buy

1. Send a request as below, without a credential. The answer is a 402 with the price (`amountSats`),
   an invoice (`paymentRequest`) and a challenge for each way to pay in `WWW-Authenticate`. Nothing
   is charged, and nothing begins.
2. Pay the invoice.
3. Send the same request again with `Authorization: L402 MACAROON:PREIMAGE`: the macaroon as the
   402 gave it, the preimage as 64 hex digits. Clients of L402 and of MPP do these steps by
   themselves.
4. The answer is the result, or an id and an address in `Location` to poll; `?wait=30` waits there.
   The same proof shown again returns the same thing, and is not charged again.

With an `Idempotency-Key` of 32 random hex digits a request may be sent again after a lost answer.
`maxSats` in a body is the most that it may cost. With a session's macaroon, as `Authorization:
Bearer MACAROON`, the session pays, and there is no 402: POST {base}/api/sessions opens one.{usdc}
"""
USDC: Final = """
USDC is taken too, by x402: sign one of `accepts`, and send it in `PAYMENT-SIGNATURE`."""

MORE: Final = """
## More

- [API description]({base}/openapi.json): OpenAPI 3.1, with these prices
- [Documentation]({base}/docs): for people
- [All of it]({base}/llms-full.txt): this page, with each operation in full
- [L402 manifest]({base}/.well-known/l402.json): what is sold, and POST {base}/l402/quote
- MCP server: {base}/mcp (streamable HTTP): the same as tools, for models that buy
- [Spells]({base}/api/v1/spells/marketplace): workflows that others have written
- [Readiness]({base}/api/readyz): whether work can be bought now
"""


async def llms(request: Request) -> Response:
    """GET /llms.txt: how to buy here, and what there is for how much."""
    return await _answer(request, in_full=False)


async def llms_full(request: Request) -> Response:
    """GET /llms-full.txt: the same, with all that the contract says of what is sold."""
    return await _answer(request, in_full=True)


async def _answer(request: Request, *, in_full: bool) -> Response:
    house = house_of(request)
    base = base_url(request, house.settings.public_url) or ""
    text = await asyncio.to_thread(_text, house, base, in_full)
    return answered(request, document_of(text.encode(), TEXT))


def _text(house: House, base: str, in_full: bool) -> str:
    prices = price_list(house)
    usdc = USDC if house.usdc is not None else ""
    head = HEAD.format(summary=document()["info"]["summary"], base=base, usdc=usdc)
    each = [_sale(sale, prices, base, in_full) for sale in sales()]
    sold = "\n## What is sold\n\n" + "\n".join(each)
    return head + sold + _guides(base) + MORE.format(base=base)


def _guides(base: str) -> str:
    """Return where there are programs to copy."""
    lines = [f"- [{each.title}]({base}{each.path}.md): {each.lead}" for each in guides().values()]
    return "\n".join(["", "## Guides", "", *lines, ""])


def _sale(sale: Sale, prices: PriceList, base: str, in_full: bool) -> str:
    operation = document()["paths"][sale.path][sale.method.lower()]
    lines = [f"### {sale.summary}", "", f"    {sale.method} {base}{sale.path}{_query(operation)}"]
    sent = _example(operation)
    if sent is not None:
        lines.append(f"    {json.dumps(sent, ensure_ascii=False)}")
    lines.append("")
    if in_full:
        lines += [" ".join(part.split()) for part in operation["description"].split("\n\n")]
        lines.append("")
    lines += [
        f"- `{line['id']}`: {in_words(line['price'])}. {line['description']}"
        for line in prices.of(sale.sells)
    ]
    if "x-listed-at" in operation:
        lines.append(f"- Listed at {base}{operation['x-listed-at']}")
    if "x-quoted-at" in operation:
        lines.append(f"- Priced, for free, at {base}{operation['x-quoted-at']}")
    return "\n".join([*lines, ""])


def _query(operation: Node) -> str:
    """Return the query that an operation needs, with the contract's own examples."""
    needed = [resolved(each) for each in operation.get("parameters", ())]
    given = {
        each["name"]: each["example"]
        for each in needed
        if each["in"] == "query" and each.get("required")
    }
    return f"?{urlencode(given)}" if given else ""


def _example(operation: Node) -> Any:
    """Return the body that the contract shows, of several the first one."""
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in media:
        return media["example"]
    return next((each["value"] for each in media.get("examples", {}).values()), None)
