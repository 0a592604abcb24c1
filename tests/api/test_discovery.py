"""What programs find of this server: each document is true, and all of them tell one price."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ports import Executor
from db.audit import audit
from pricing.money import microusdc_of, usd_text
from tests.world.batch_doors import batch
from tests.world.contract import CONTRACT
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_maker import ScriptedMaker
from tests.world.scripted_tools import ScriptedTools
from tests.world.usdc_doors import asked_in

pytestmark = pytest.mark.one_instance

Node = dict[str, Any]
Told = dict[str, tuple[Node, dict[str, Node]]]  # an address: its price, and each of its lines
DOCUMENTS = (
    *("/openapi.json", "/openapi.yaml", "/swagger.json", "/api/openapi.json"),
    *("/.well-known/x402", "/.well-known/l402.json", "/.well-known/agent-card.json"),
    *("/.well-known/api-catalog", "/llms.txt", "/llms-full.txt"),
)
AT = {"IMAGES_URL": "http://127.0.0.1:9/v1"}
PRICES: list[dict[str, str]] = [
    {"IMAGES_MODELS": "scene-2=0.0123", "CREDIT_SATS": "20"},
    {
        "IMAGES_MODELS": "scene-2=0.5,nano-banana-pro=0.07",
        "CREDIT_SATS": "33",
        "MODEL_PRICES": "smollm2-135m-instruct=7.5/11",
        "MARGIN_PCT": "45",
    },
]


@pytest.fixture(params=PRICES, ids=["cheap", "dear"])
async def shop(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Instance]:
    """An instance that sells all there is, at these prices."""
    makers: list[Executor] = [
        ScriptedMaker("images-api"),
        ScriptedMaker(),
        ScriptedTools("toolbox"),
    ]
    settings = AT | request.param
    async with instance_of(database_url, tmp_path, executors=makers, **settings) as running:
        yield running


def lines(listed: list[Node]) -> dict[str, Node]:
    """Return the lines of an address by their names."""
    return {each["id"]: each["price"] for each in listed}


def in_contract(document: Node) -> Told:
    """Return the prices that a contract tells."""
    return {
        f"{method.upper()} {path}": (each["x-payment-info"]["price"], lines(each["x-offerings"]))
        for path, item in document["paths"].items()
        for method, each in item.items()
        if "x-offerings" in each
    }


def in_words(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the amounts that stand beside each name, of each address."""
    told = {}
    for part in text.split("\n### ")[1:]:
        found = re.search(r"^    (GET|POST) https?://[^/]+(/[^?\s]*)", part, re.MULTILINE)
        assert found, part
        told[f"{found[1]} {found[2]}"] = {
            name: re.findall(r"\$([0-9.]*[0-9])|\(([0-9]+) sats\)", said)
            for name, said in re.findall(r"^- `([^`]+)`: (.*?)\. ", part, re.MULTILINE)
        }
    return {
        address: {name: ["".join(each) for each in amounts] for name, amounts in names.items()}
        for address, names in told.items()
    }


def amounts_of(price: Node) -> list[str]:
    """Return the amounts of a line in the order in which words tell them."""
    names = {
        "per_megapixel_step": ("leastUsd", "mostUsd"),
        "tokens": ("inputUsdPerMillionTokens", "outputUsdPerMillionTokens", "infraUsd"),
    }.get(price["type"], ("sats",) if "credits" in price else ("usd",))
    return [f"{price[name]:.6f}".rstrip("0").rstrip(".") for name in names]


async def test_all_of_them_tell_the_same_prices(shop: Instance) -> None:
    """The contract, the manifests, the card, and the words for models; whatever the operator has
    set."""

    async def read(path: str) -> Any:
        return (await shop.http.get(path)).json()

    told = in_contract(await read("/openapi.json"))
    assert in_contract(await read("/swagger.json")) == told
    [service] = (await read("/.well-known/l402.json"))["services"]
    manifest = {
        f"{each['method']} {each['path']}": (each["pricing"]["usd"], lines(each["x-offerings"]))
        for each in service["resources"]
    }
    assert manifest == told
    by_post = {address: each for address, each in told.items() if address.startswith("POST")}
    for listed, named in (
        ((await read("/.well-known/x402"))["resources"], "{method} {path}"),
        ((await read("/.well-known/agent-card.json"))["skills"], "{id}"),
    ):
        seen = {named.format(**each): (each["price"], lines(each["offerings"])) for each in listed}
        assert seen == by_post
    expected = {
        address: {name: amounts_of(price) for name, price in named.items()}
        for address, (_, named) in told.items()
    }
    for path in ("/llms.txt", "/llms-full.txt"):
        assert in_words((await shop.http.get(path)).text) == expected


async def test_what_they_tell_is_what_is_asked_for(shop: Instance) -> None:
    """A 402 asks for no other amount: of a picture, of a run, of a tier, in USDC and in sats; and a
    quote names it too."""
    told = in_contract((await shop.http.get("/openapi.json")).json())
    picture = told["POST /v1/images/generate"][1]["scene-2"]["usd"]
    one = {"model": "scene-2", "prompt": "a boat"}
    tier = told["POST /api/v1/jobs"][1]["z-image-turbo/pro"]
    speaks = {"Accept-Payment": "lightning/charge"}
    for path, body, usd in (
        ("/v1/images/generate", one, picture),
        ("/api/jobs", batch("a", "b", defaults={"model": "scene-2"}), 2 * picture),
        (
            "/api/v1/generations/execute",
            {"toolId": "qr-code", "inputs": {"text": "a"}},
            told["POST /api/v1/generations/execute"][1]["qr-code"]["usd"],
        ),
        ("/api/v1/jobs", {"prompt": "a boat", "tier": "pro"}, tier["usd"]),
    ):
        asked = await shop.post(path, body, headers=speaks)
        assert asked.status_code == 402, asked.text
        [offered] = asked_in(asked)["accepts"]
        assert int(offered["amount"]) == round(usd * 1_000_000)
        quoted = await shop.post(
            "/l402/quote", {"service": "boltwork", "resource": {"path": path, "body": body}}
        )
        assert quoted.json()["price_msat"] == 1_000 * asked.json()["amountSats"], quoted.text
    assert asked.json()["amountSats"] == tier["sats"]
    told_once = (await shop.post("/api/jobs/quote", batch("a"))).json()["costPerItem"]
    assert told_once == told["POST /api/jobs"][1]["scene-1"]["usd"]


async def test_who_has_a_document_is_not_sent_it_again(instance: Instance) -> None:
    """By its ETag; a page of any origin may read it."""
    for path in DOCUMENTS:
        first = await instance.http.get(path)
        assert first.status_code == 200 and first.headers["access-control-allow-origin"] == "*"
        seen = {"If-None-Match": first.headers["etag"]}
        again = await instance.http.get(path, headers=seen)
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["etag"] == first.headers["etag"]


async def test_what_a_document_links_to_is_there(instance: Instance) -> None:
    """Each link of the catalog, of the card and of the words leads to an answer, and each address
    that is sold at is one of the contract."""
    catalog = await instance.http.get("/.well-known/api-catalog")
    assert catalog.headers["content-type"].startswith("application/linkset+json")
    links = {
        link["href"]
        for each in catalog.json()["linkset"]
        for relation in each.values()
        if isinstance(relation, list)
        for link in relation
    }
    card = (await instance.http.get("/.well-known/agent-card.json")).json()
    interfaces = {each["protocolBinding"]: each["url"] for each in card["supportedInterfaces"]}
    assert interfaces.pop("MCP") == f"{instance.url}/mcp"  # where nothing is read by GET
    links |= {card["documentationUrl"], *interfaces.values()}
    words = (await instance.http.get("/llms.txt")).text
    links |= set(re.findall(r"\]\((.*?)\)", words))
    assert len(links) > 8 and all(link.startswith(instance.url) for link in links)
    async with httpx2.AsyncClient(timeout=PATIENCE_S) as http:  # the pages are not of the contract
        for link in sorted(links):
            assert (await http.get(link)).status_code == 200, link
    sold = re.findall(r"^    (GET|POST) https?://[^/]+(/[^?\s]*)", words, re.MULTILINE)
    assert len(sold) == 8
    for method, path in sold:
        assert "402" in CONTRACT.document["paths"][path][method.lower()]["responses"]


async def test_a_quote_is_the_402_of_what_it_names(instance: Instance) -> None:
    """Its macaroon and its invoice buy that request, and no other; to ask for it is free."""
    body = {"request": "What is rain?"}
    wanted: Node = {"service": "boltwork", "resource": {"path": "/api/ask", "body": body}}
    wanted |= {"max_price_msat": None, "optimize": None, "token_id": None}  # as if left out
    quoted = (await instance.post("/l402/quote", wanted)).json()
    offers = "SELECT payment_hash FROM invoice WHERE bolt11 = %(bolt11)s"
    [row] = await instance.built.db.read_all(offers, bolt11=quoted["invoice"])
    paid = await instance.post(f"/api/dev/stub/pay/{row['payment_hash']}")
    proof = {"Authorization": f"L402 {quoted['macaroon']}:{paid.json()['preimage']}"}
    other = await instance.post("/api/ask", {"request": "What is snow?"}, headers=proof)
    assert other.status_code == 402
    bought = await instance.post("/api/ask?wait=30", body, headers=proof)
    assert (bought.status_code, bought.json()["result"]) == (200, "done: What is rain?")
    assert quoted["price_msat"] == 1_000 * bought.json()["priceSats"]
    assert quoted["instance"].endswith(bought.json()["jobId"])
    assert await audit(instance.built.db) == []


ASK: Node = {"path": "/api/ask", "body": {"request": "hello"}}


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"service": "weather"}, 400, "unknown_service", "service"),
        ({"tier": 1}, 400, "malformed_request", "tier"),
        ({"payment_method": "bolt12"}, 400, "malformed_request", "payment_method"),
        ({"constraints": {"months": 2}}, 400, "invalid_constraint", "months"),
        ({"capabilities": ["batches"]}, 400, "unknown_capability", "resource"),
        ({"resource": {"path": "/api/jobs/quote"}}, 400, "unknown_capability", "resource"),
        ({"resource": {**ASK, "body": {"request": ""}}}, 400, "malformed_request", "resource"),
        ({"max_price_msat": 1}, 409, "unsatisfiable_budget", "max_price_msat"),
        (
            {"resource": {**ASK, "body": {"request": "hello", "maxSats": 1}}},
            409, "unsatisfiable_budget", "resource",
        ),
        ({"odd": 1}, 400, "malformed_request", None),
    ],
)  # fmt: skip
async def test_a_quote_that_can_not_be_given_says_why(
    instance: Instance, changed: Node, status: int, code: str, field: str | None
) -> None:
    """In the words of L402's discovery, with the field that is wrong."""
    asked = {"service": "boltwork", "resource": ASK, **changed}
    refused = await instance.post("/l402/quote", asked)
    said = refused.json()["error"]
    assert (refused.status_code, said["code"], said.get("field")) == (status, code, field), said
    assert said["message"].endswith(".") and said["requestId"] == refused.headers["x-request-id"]


async def test_a_quote_is_counted_like_what_it_quotes(database_url: str, tmp_path: Path) -> None:
    """An invoice costs as much to make here as there: too many of both are a 429."""
    async with instance_of(database_url, tmp_path, CREATES_PER_MINUTE=2) as counted:
        wanted = {"service": "boltwork", "resource": ASK}
        assert (await counted.post("/l402/quote", wanted)).status_code == 200
        assert (await counted.post("/api/ask", ASK["body"])).status_code == 402
        refused = await counted.post("/l402/quote", wanted)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0


@given(st.integers(min_value=0, max_value=10**15))
def test_dollars_as_text_lose_nothing(microusd: int) -> None:
    """What a document tells is the price to the millionth."""
    assert microusdc_of(usd_text(microusd)) == microusd
    assert not re.search(r"\.0*$|\.[0-9]*0$", usd_text(microusd))
