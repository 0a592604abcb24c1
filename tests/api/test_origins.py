"""Pages of other origins: a browser lets them buy, and lets them at nothing that a cookie opens."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from playwright.async_api import Browser, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from app.ports import Destinations
from app.serving.run import listening
from tests.world.contract import CONTRACT
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.paying import decoded
from tests.world.raw_http import BrokenDestinations, judged, said

ORIGIN = {"Origin": "https://shop.example"}
NO_INVOICE = {"call": "create_invoice", "fault": "5xx", "times": 100}
OPEN: tuple[str, str, dict[str, Any]] = ("POST", "/api/sessions", {"json": {"amount_sats": 500}})
BUYS = r"""async (at) => {
  const url = `${at}/api/ask?request=hello&maxSats=500`;
  const asks = { headers: {
    "Idempotency-Key": "00112233445566778899aabbccddeeff", "Accept-Payment": "lightning/charge",
  } };
  const offer = await fetch(url, asks);
  const challenge = offer.headers.get("WWW-Authenticate");
  const [, macaroon] = challenge.match(/macaroon="([^"]+)"/);
  const { paymentHash } = await offer.json();
  const paid = await fetch(`${at}/api/dev/stub/pay/${paymentHash}`, {
    method: "POST", body: "{}", headers: { "Content-Type": "application/json" },
  });
  const { preimage } = await paid.json();
  const proof = { Authorization: `L402 ${macaroon}:${preimage}` };
  const bought = await fetch(`${url}&wait=55`, { headers: proof });
  const told = await bought.json();
  const [, line] = challenge.match(/Payment (id=.*?), L402 /);
  const [...parameters] = line.matchAll(/(\w+)="([^"]*)"/g);
  const challenged = Object.fromEntries(parameters.map(([, name, value]) => [name, value]));
  const credential = btoa(JSON.stringify({ challenge: challenged, payload: { preimage } }))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const shown = { Authorization: `Payment ${credential}` };
  const again = await fetch(`${url}&wait=55`, { headers: shown });
  const receipt = again.headers.get("Payment-Receipt");
  const events = new EventSource(`${at}${bought.headers.get("Location")}/events`);
  const last = await new Promise((done) => {
    events.onopen = () => done("heard");
    events.onerror = () => done("refused");
  });
  events.close();
  return { offered: offer.status, status: bought.status, told, last, receipt };
}"""
TRIES = """async ([at, path, method]) => {
  try {
    const answer = await fetch(at + path, { method, credentials: "omit" });
    return answer.status;
  } catch (refused) {
    return "the browser refuses it";
  }
}"""


@pytest.fixture
async def elsewhere(chromium: Browser) -> AsyncIterator[Page]:
    """A page of another origin, in a real browser."""

    async def empty(request: Request) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>A shop</title>")

    app = Starlette(routes=[Route("/", empty)])
    async with listening(app, "127.0.0.1", 0) as url:
        context = await chromium.new_context()
        page = await context.new_page()
        await page.goto(url)
        yield page
        await context.close()


async def test_a_page_of_another_origin_buys(instance: Instance, elsewhere: Page) -> None:
    """It reads the challenges of a 402, pays, shows either proof, reads the result and MPP's
    receipt, and may listen."""
    bought: dict[str, Any] = await elsewhere.evaluate(BUYS, instance.url)
    assert (bought["offered"], bought["status"]) == (402, 200)
    assert bought["told"]["result"] == "done: hello" and bought["last"] == "heard"
    assert decoded(bought["receipt"])["status"] == "success"


async def test_what_a_cookie_opens_is_not_for_other_pages(
    instance: Instance, elsewhere: Page
) -> None:
    """The browser keeps from them the pages, and conversations."""

    async def tries(path: str, method: str = "GET") -> Any:
        return await elsewhere.evaluate(TRIES, [instance.url, path, method])

    assert await tries("/api/healthz") == await tries("/openapi.yaml") == 200
    assert await tries("/api/nothing") == 404 and await tries("/api/ask", "DELETE") == 405
    for path in ("/", "/docs", "/operator", "/api/gemini/conversations", "/metrics"):
        assert await tries(path) == "the browser refuses it", path
    assert await tries("/api/gemini/conversations", "DELETE") == "the browser refuses it"


def shares(answer: httpx2.Response) -> bool:
    """Say whether a page of another origin may read an answer, whatever it is."""
    exposed = answer.headers.get("access-control-expose-headers", "").lower().split(", ")
    anyone = answer.headers.get("access-control-allow-origin") == "*"
    assert anyone == ("www-authenticate" in exposed)
    assert "access-control-allow-credentials" not in answer.headers
    return anyone


async def test_every_answer_can_be_read(database_url: str, tmp_path: Path) -> None:
    """Refusals of each kind too, also those of the outermost layer, and faults of ours."""
    told: dict[int, bool] = {}
    broken = cast(Destinations, BrokenDestinations())
    async with instance_of(
        database_url, tmp_path, destinations=broken, CREATES_PER_MINUTE=3
    ) as house:
        for method, path, options in (
            ("GET", "/api/healthz", {}),
            ("GET", "/api/ask", {}),
            ("GET", "/api/ask?request=a", {"headers": {"Authorization": "L402 x"}}),
            ("HEAD", "/api/ask?request=a", {}),
            ("GET", "/api/jobs/1", {}),
            ("PUT", "/api/jobs", {}),
            ("POST", "/api/jobs", {"json": {"request": "a", "refundTo": "a@example.org"}}),
            OPEN,
            ("POST", "/api/dev/stub/faults", {"json": NO_INVOICE}),
            *(5 * [OPEN]),  # what fails on our side is given back, as often as it may be asked
        ):
            answer = await house.http.request(method, path, **options)
            told[answer.status_code] = shares(answer)
        twice = b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        framed = await said(house, twice + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert judged(framed) == 400 and b"access-control-allow-origin: *" in framed
        assert not shares(await house.http.get("/api/gemini/conversations"))
    assert set(told) >= {200, 201, 400, 401, 402, 404, 405, 429, 500, 503} and all(told.values())


async def test_a_preflight_is_answered_for_what_is_open(instance: Instance) -> None:
    """204 with all that a buyer sends; without its headers OPTIONS is a method like any other."""
    asks = ORIGIN | {"Access-Control-Request-Method": "POST"}
    http = httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S)
    for path in CONTRACT.document["paths"]:
        answer = await http.options(path.replace("{id}", "0" * 32), headers=asks)
        if path.startswith(("/api/gemini", "/api/auth", "/metrics")) or not path.startswith(
            (
                *("/api/", "/v1/", "/openapi", "/swagger.json"),
                *("/.well-known/", "/llms", "/l402/", "/mcp"),
            )
        ):
            assert answer.status_code == 405 and not shares_preflight(answer), path
            continue
        assert answer.status_code == 204 and shares_preflight(answer), path
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {
            "accept-payment", "authorization", "payment-authorization", "content-type",
            "idempotency-key", "prefer", "x-payment-preimage", "last-event-id", "if-none-match",
        } <= set(allowed)  # fmt: skip
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE"
    assert (await http.options("/api/jobs")).status_code == 405
    await http.aclose()


def shares_preflight(answer: httpx2.Response) -> bool:
    """Say whether a preflight allows a call."""
    return "access-control-allow-headers" in answer.headers
