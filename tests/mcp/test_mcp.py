"""What the tools of MCP are, what they refuse, and what the door itself answers."""

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp.client.session import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from tests.world.house_fixtures import Instance, instance_of
from tests.world.mcp_fixtures import connected, key, paid
from tests.world.patience import PATIENCE_S
from tests.world.scripted_tools import ScriptedTools

Node = dict[str, Any]
NOBODY = "0" * 32
SPENDS = {"buy_job", "draw", "run_tool", "cast_spell"}
ONE: Node = {"images": [{"prompt": "a boat", "model": "scene-1"}]}
MESSAGE: Node = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
TAKES = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
async def shop(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance that sells pictures and tools: of all tests here."""
    makers = [ScriptedTools(name) for name in ("scene-1", "toolbox", "agent")]
    folder = tmp_path_factory.mktemp("shop")
    async with instance_of(database_url_of_file, folder, executors=makers) as running:
        yield running


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_clients_of_both_kinds_see_the_tools(shop: Instance, mode: str) -> None:
    """Those that shake hands first, and those that send each message alone. What spends needs its
    limit and the name of the purchase."""
    async with connected(shop.url, mode=mode) as agent:
        listed = (await agent.client.list_tools()).tools
        assert (agent.client.protocol_version == "2026-07-28") == (mode == "auto")
        assert len(listed) == 10 and all(tool.description for tool in listed)
        for tool in listed:
            needs = set(tool.input_schema["required"])
            assert ({"maxSats", "purchaseKey"} <= needs) == (tool.name in SPENDS), tool.name
            assert tool.annotations is not None
            assert not (tool.annotations.read_only_hint and tool.name in SPENDS)
        quoted = await agent.told("quote", **ONE)
        assert quoted["priceSats"] == 4


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "says"),
    [
        ("draw", {**ONE, "purchaseKey": NOBODY}, "bad_request", "'maxSats' is missing"),
        ("draw", {**ONE, "maxSats": 5}, "bad_request", "'purchaseKey' is missing"),
        ("draw", {**ONE, "maxSats": 0, "purchaseKey": NOBODY}, "bad_request", "must be from 1"),
        ("draw", {"images": "a", "maxSats": 5, "purchaseKey": NOBODY}, "bad_request", "a list"),
        ("quote", {"odd": 1}, "bad_request", "has no argument 'odd'"),
        ("quote", {}, "bad_request", "Give one of"),
        ("quote", {"toolId": "no-such"}, "not_found", "not found"),
        ("get_job", {"id": NOBODY, "kind": "session"}, "bad_request", "must be one of: job, run"),
        ("get_job", {"id": f"{NOBODY}/events"}, "bad_request", "'id' must be a name"),
        ("list_tools", {"slug": f"casts/{NOBODY}"}, "bad_request", "'slug' must be a name"),
        ("get_job", {"id": NOBODY, "waitS": True}, "bad_request", "a whole number"),
        ("cancel", {"id": NOBODY, "kind": "cast"}, "not_found", "no cast"),
        ("claim_refund", {"refundTo": "a@b.example"}, "bad_request", "'id' is missing"),
        ("balance", {}, "bad_request", "sends no credential"),
        ("steal", {}, "not_found", "no tool 'steal'"),
    ],
)
async def test_a_call_that_can_not_be_served_says_why(
    shop: Instance, tool: str, arguments: Node, code: str, says: str
) -> None:
    """As a result that is an error: a code, and a sentence that names what is wrong."""
    async with connected(shop.url) as agent:
        refused = await agent.refused(tool, **arguments)
    assert refused["code"] == code and says in refused["error"], refused


async def test_what_an_address_refuses_a_tool_refuses(shop: Instance) -> None:
    """In the same words: each of these asks the address that its client could ask itself."""
    wrong = {"images": [{"prompt": "a boat", "model": "no-such"}]}
    dear = {"images": 100 * ONE["images"], "maxSats": 5}
    run = {"toolId": "resize", "inputs": {"width": 1}}
    cases: list[tuple[str, str, Node]] = [
        ("draw", "/api/jobs", wrong),
        ("draw", "/api/jobs", dear),
        ("run_tool", "/api/v1/generations/execute", run),
        ("cast_spell", "/api/v1/spells/cast", {"slug": "no-such"}),
        ("buy_job", "/api/ask", {"request": " "}),
        ("buy_job", "/api/ask", {"request": "hello", "maxSats": 1}),
    ]
    async with connected(shop.url) as agent:
        for tool, path, body in cases:
            answer = (await shop.post(path, body)).json()
            said = answer["error"] if isinstance(answer["error"], dict) else answer
            limit = {"maxSats": 900} | body
            refused = await agent.refused(tool, **limit, purchaseKey=key())
            assert refused["error"] == (said.get("message") or said["error"]), tool
            assert refused["code"] == said["code"].lower()
            assert refused["requestId"]


async def test_a_macaroon_that_does_not_hold_is_refused(shop: Instance) -> None:
    """Nothing is offered in its place: its holder believes that it pays."""
    for credential in ("AgEJYm9sdHdvcms", "sk_live_bw_" + "a" * 49):
        async with connected(shop.url, {"Authorization": f"Bearer {credential}"}) as agent:
            for tool, arguments in (
                ("balance", {}),
                ("buy_job", {"request": "hello", "maxSats": 99, "purchaseKey": key()}),
                ("draw", {**ONE, "maxSats": 99, "purchaseKey": key()}),
            ):
                refused = await agent.refused(tool, **arguments)
                assert refused["status"] == 401, refused
                assert refused["code"] in ("credential_invalid", "unauthorized")


async def test_who_can_open_a_page_is_sent_to_pay(shop: Instance) -> None:
    """A client that says so gets the page to open, and what was bought once it comes back; one that
    comes back unpaid gets the invoice as data."""
    pages: list[str] = []
    pays = True

    async def opened(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams) and "4 sats" in params.message
        pages.append(params.url)
        if pays:
            job = await shop.http.get(f"/api/jobs/{params.url.rpartition('/')[2]}")
            await paid(shop, job.json()["invoice"])
        return ElicitResult(action="accept")

    async with connected(shop.url, elicitation_callback=opened) as agent:
        bought = await agent.told("draw", **ONE, maxSats=9, purchaseKey=key())
        done = await agent.followed(bought)
        assert done["images"][0]["status"] == "completed"
        assert pages == [f"{shop.url}/jobs/{done['id']}"]
        pays = False
        offer = await agent.told("draw", **ONE, maxSats=9, purchaseKey=key())
        assert offer["paymentRequired"] and offer["payUrl"] == pages[-1]
        for odd in ("[" * 100_000, "[]", '{"id": 1}'):  # what is no word of ours
            answer = await agent.client.call_tool("list_tools", {}, request_state=odd)
            assert answer.structured_content is not None


async def test_the_door_answers_in_the_words_of_json_rpc(shop: Instance) -> None:
    """What is no message is an error of JSON-RPC; other methods than POST are not there."""
    assert (await shop.post("/mcp", MESSAGE, headers=TAKES)).json()["result"]["tools"]
    async with httpx2.AsyncClient(base_url=shop.url, timeout=PATIENCE_S) as http:
        for body, says in ((b"{", "not valid JSON"), (b"[]", "no object"), (b"{}", "")):
            headers = {"Content-Type": "application/json", **TAKES}
            answer = await http.post("/mcp", content=body, headers=headers)
            assert answer.status_code == 400, body
            error = answer.json()["error"]
            assert error["code"] < 0 and says in error["message"]
        text = {"Content-Type": "text/plain", **TAKES}
        answer = await http.post("/mcp", content=b"{}", headers=text)
        assert answer.status_code == 400 and "application/json" in answer.json()["error"]["message"]
        for method in ("GET", "DELETE", "PUT"):
            other = await http.request(method, "/mcp", headers=TAKES)
            assert (other.status_code, other.headers["allow"]) == (405, "POST")
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        answer = await http.post("/mcp", json=note, headers=TAKES)
        assert (answer.status_code, answer.content) == (202, b"")
        page = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        allowed = await http.options("/mcp", headers=page)
        assert "mcp-protocol-version" in allowed.headers["access-control-allow-headers"].lower()


async def test_a_cookie_opens_nothing_here(shop: Instance) -> None:
    """Only what a client sends as its credential counts: a page can't have a browser add it."""
    signed = await shop.post("/api/auth/login", {"username": "reader", "password": "p" * 20})
    cookie = signed.headers["set-cookie"].partition(";")[0]
    async with connected(shop.url, {"Cookie": cookie}) as agent:
        refused = await agent.refused("balance")
        assert "sends no credential" in refused["error"]
        offer = await agent.told("draw", **ONE, maxSats=9, purchaseKey=key())
        assert offer["paymentRequired"]


def test_what_speaks_it_is_loaded_by_the_first_message() -> None:
    """A server starts without it."""
    said = "import sys, app.main; print([m for m in sys.modules if m.split('.')[0] == 'mcp'])"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
