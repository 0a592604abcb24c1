"""What each tool does: it asks addresses of ours, as its client, and tells what they answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from app.house import House, house_of
from app.http import within
from app.http.caller import KEY, bearer
from app.http.links import base_url
from app.http.within import Told
from app.keys.api_keys import looks_like_one
from app.mcp.results import (
    OF_REFUNDS,
    OF_SPELLS,
    WRITTEN_BY_OTHERS,
    Result,
    is_done,
    marked,
    noted,
    purchase,
    refused,
    to_pay,
)
from app.strict_json import BadInput

Node = dict[str, Any]
TEXT_WAIT_S: Final = 25
PAUSE_S: Final = 0.5
LOOKS: Final = {
    "job": "/api/jobs/{}",
    "run": "/api/v1/generations/status/{}",
    "cast": "/api/v1/spells/casts/{}",
}
CANCELS: Final = {
    "job": "/api/jobs/{}/cancel",
    "run": "/api/jobs/{}/cancel",
    "cast": "/api/v1/spells/casts/{}/cancel",
}
CLAIMS: Final = {
    "job": "/api/jobs/{}/refund",
    "run": "/api/jobs/{}/refund",
    "cast": "/api/jobs/{}/refund",
    "session": "/api/sessions/{}/refund",
    "account": "/api/account/refund",
}
_LOGIN: Final = re.compile("[0-9a-f]{64}")  # the token of a login: no macaroon is one
NO_CREDENTIAL: Final = (
    "This connection sends no credential. Send a session's macaroon or an API key as"
    " `Authorization: Bearer …`."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    request: Request
    given: Mapping[str, Any]

    @property
    def house(self) -> House:
        """The house that was called."""
        return house_of(self.request)

    @property
    def base(self) -> str | None:
        """By which address this server is reached."""
        return base_url(self.request, self.house.settings.public_url)

    def body(self, *names: str) -> Node:
        """Return the arguments of these names that were given."""
        return {name: self.given[name] for name in names if name in self.given}

    async def ask(
        self, method: str, path: str, body: Node | None = None, *, tag: str = "", **query: Any
    ) -> Told:
        """Return what an address answers to the client. A purchase is named by its key."""
        headers = {"If-None-Match": tag} if tag else {}
        if "purchaseKey" in self.given:
            headers["Idempotency-Key"] = self.given["purchaseKey"]
        asked = urlencode(query)
        return await within.ask(self.request, method, path, body, query=asked, headers=headers)

    def path(self, paths: Mapping[str, str], name: str = "id") -> str:
        """Return the address of what an argument names, of the kind that another says."""
        kind = self.given.get("kind", "job")
        if kind not in paths:
            raise BadInput(f"The argument 'kind' must be one of: {', '.join(paths)}.")
        path = paths[kind]
        return path.format(self.part(name)) if "{}" in path else path

    def part(self, name: str) -> str:
        """Return an argument as one part of an address. Refuses what would name another address."""
        text: str = self.given[name]
        if not text or "/" in text:
            raise BadInput(f"The argument '{name}' must be a name, without any '/'.")
        return quote(text, safe="")

    @property
    def has_account(self) -> bool:
        """Whether an account's key or login is sent, and no session's macaroon."""
        text = bearer(self.request) or ""
        by_bearer = looks_like_one(text) or _LOGIN.fullmatch(text) is not None
        return by_bearer or KEY in self.request.headers


async def buy_job(call: Call) -> Result:
    """An agent's text: paid at once, evaluation and work; by a key it is a run of the agent."""
    if call.has_account:
        body = {"toolId": "agent", "inputs": {"prompt": call.given["request"]}}
        return await _bought(call, "/api/v1/generations/execute", body, "run", "generationId")
    wait_s = call.given.get("waitS", TEXT_WAIT_S)
    body = call.body("request")
    return await _bought(call, "/api/ask", body, "job", "jobId", wait=wait_s)


async def draw(call: Call) -> Result:
    """Pictures or films by the job."""
    body = call.body("job_type", "defaults", "images")
    return await _bought(call, "/api/jobs", body, "job", "jobId")


async def run_tool(call: Call) -> Result:
    """One run of a tool."""
    body = call.body("toolId", "inputs")
    return await _bought(call, "/api/v1/generations/execute", body, "run", "generationId")


async def cast_spell(call: Call) -> Result:
    """A cast of a spell."""
    body = call.body("slug") | {"context": call.body("parameterOverrides")}
    return await _bought(call, "/api/v1/spells/cast", body, "cast", "castId")


async def _bought(call: Call, path: str, body: Node, kind: str, name: str, **query: Any) -> Result:
    """Buy what is sold at an address, within the limit and under the name of this purchase."""
    told = await call.ask("POST", path, body | call.body("maxSats", "refundTo"), **query)
    if told.status == 402 and "paymentRequest" in told.json:
        return to_pay(told, kind)
    if told.status >= 400:
        return refused(told)
    is_over = told.status == 200 and is_done(told.headers)
    return purchase(told, kind, told.json[name], call.base, is_over=is_over)


async def get_job(call: Call) -> Result:
    """Where a purchase stands; held until it has ended, or as long as its client waits."""
    wait_s, path = call.given.get("waitS", 0), call.path(LOOKS)
    until_s = monotonic() + wait_s
    told = await call.ask("GET", path)
    while told.status == 200 and not is_done(told.headers):
        left_s = ceil(until_s - monotonic())
        if left_s <= 0:
            break
        asked_s = monotonic()
        look = await call.ask("GET", path, tag=told.headers.get("etag", ""), wait=left_s)
        is_same = look.status == 304 or look.body == told.body
        if is_same and monotonic() - asked_s < PAUSE_S:
            await asyncio.sleep(PAUSE_S)  # a look that nobody holds, at what is not paid for
        if look.status != 304:
            told = look
    if told.status >= 400:
        return refused(told)
    kind, is_over = call.given.get("kind", "job"), is_done(told.headers)
    return purchase(told, kind, call.given["id"], call.base, is_over=is_over)


async def cancel(call: Call) -> Result:
    """Have what nobody has begun yet not made."""
    told = await call.ask("POST", call.path(CANCELS))
    return _told(told)


async def claim_refund(call: Call) -> Result:
    """Send what is owed back to where its owner says."""
    if "id" not in call.given and call.given.get("kind") != "account":
        raise BadInput("The argument 'id' is missing. Add it.")
    to = call.body("invoice", "refundTo")
    return _told(await call.ask("POST", call.path(CLAIMS), to), OF_REFUNDS)


async def balance(call: Call) -> Result:
    """What the session or the account has left whose credential is sent."""
    if call.has_account:
        return _told(await call.ask("GET", "/api/account"), kind="account")
    shown = await call.house.callers.macaroon(call.request, "status")
    if shown is None:
        raise BadInput(NO_CREDENTIAL)
    return _told(await call.ask("GET", f"/api/sessions/{shown.session_id}"), kind="session")


async def get_price(call: Call) -> Result:
    """What something would cost."""
    given = call.given
    named = [name for name in ("request", "images", "toolId", "slug") if name in given]
    if len(named) != 1:
        raise BadInput("Give one of: request, images, toolId, slug.")
    match named[0]:
        case "request":
            told = await call.ask("POST", "/api/estimate", call.body("request"))
        case "images":
            body = call.body("job_type", "defaults", "images")
            told = await call.ask("POST", "/api/jobs/quote", body)
        case "toolId":
            return await _tool(call)
        case _:
            path = f"/api/v1/spells/{call.part('slug')}/quote"
            told = await call.ask("POST", path, call.body("parameterOverrides"))
    return _told(told)


async def list_tools(call: Call) -> Result:
    """All that is sold; or one of it whole."""
    if "toolId" in call.given:
        return await _tool(call)
    if "slug" in call.given:
        told = await call.ask("GET", f"/api/v1/spells/{call.part('slug')}")
        return _told(told, OF_SPELLS)
    data: Node = {}
    searched = {"search": call.given["search"]} if "search" in call.given else {}
    for name, path, query, names in (
        ("tools", "/api/v1/tools", {}, frozenset[str]()),
        ("models", "/api/models", {}, frozenset[str]()),
        ("spells", "/api/v1/spells/marketplace", searched, OF_SPELLS),
    ):
        told = await call.ask("GET", path, **query)
        if told.status >= 400:
            return refused(told)
        data[name] = marked(told.json, names)
    return Result(noted(data))


async def _tool(call: Call) -> Result:
    path = f"/api/v1/tools/registry/{call.part('toolId')}"
    return _told(await call.ask("GET", path), frozenset())


def _told(told: Told, names: frozenset[str] = WRITTEN_BY_OTHERS, **more: str) -> Result:
    if told.status >= 400:
        return refused(told)
    return Result(noted({**more, **marked(told.json, names)}))


CALLS: Final[Mapping[str, Callable[[Call], Awaitable[Result]]]] = {
    "list_tools": list_tools,
    "quote": get_price,
    "buy_job": buy_job,
    "draw": draw,
    "run_tool": run_tool,
    "cast_spell": cast_spell,
    "get_job": get_job,
    "cancel": cancel,
    "balance": balance,
    "claim_refund": claim_refund,
}
