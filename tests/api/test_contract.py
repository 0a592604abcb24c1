"""openapi.yaml says what the server does: no more, no less, and in the words of the seed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from starlette.routing import Route

from app.api import DEV_ROUTES, ROUTES
from app.http.body import LONGEST_S, MOST_BYTES
from app.http.fields import LONGEST_WAIT_S, MOST_CHARACTERS
from app.mcp import MCP_ROUTES
from app.strict_json import MOST_DEPTH
from app.web.metrics import metrics
from payments import lnurl
from payments.faults import Call, Fault
from payments.pasted import LONGEST
from statemachine.job import JobState
from tests.world.contract import CONTRACT, DOCUMENT, SCHEMAS, kind
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent

SURFACE = [*ROUTES, *MCP_ROUTES, Route("/metrics", metrics)]
ID = "0" * 32
HEADERS = {"x-request-id": "0123456789abcdef", "content-type": "application/json"}

# What the seed has of the routes that exist now: operation → (method, path, answers).
SEED_OPERATIONS = {
    "healthCheck": ("GET", "/api/healthz", {"200"}),
    "createJob": ("POST", "/api/jobs", {"201", "400", "500"}),
    "getJob": ("GET", "/api/jobs/{id}", {"200", "404", "500"}),
    "claimRefund": ("POST", "/api/jobs/{id}/refund", {"200", "400", "404", "409", "500"}),
    "runDemo": ("GET", "/api/demo", {"200", "400", "429", "500"}),
}
# Its schemas: name → (required fields, every field with its type).
SEED_SCHEMAS: dict[str, tuple[set[str], dict[str, str]]] = {
    "HealthStatus": ({"status"}, {"status": "string"}),
    "ErrorResponse": ({"error"}, {"error": "string"}),
    "InvoiceInfo": (
        {"paymentRequest", "amountSats"},
        {"paymentRequest": "string", "amountSats": "integer"},
    ),
    "CreateJobRequest": ({"request"}, {"request": "string"}),
    "CreateJobResponse": (
        {"jobId", "createdAt", "evalInvoice"},
        {"jobId": "string", "createdAt": "date-time", "evalInvoice": "object"},
    ),
    "PricingBreakdown": (
        set(),
        {"estimatedCostUsd": "number", "marginPct": "number", "btcPriceUsd": "number"},
    ),
    "CostLedger": (
        set(),
        {
            "actualInputTokens": "integer",
            "actualOutputTokens": "integer",
            "totalTokens": "integer",
            "actualCostUsd": "number",
            "actualChargeUsd": "number",
            "estimatedCostUsd": "number",
            "actualAmountSats": "integer",
            "workAmountSats": "integer",
            "refundAmountSats": "integer",
            "refundState": "string",
            "marginPct": "number",
            "btcPriceUsd": "number",
        },
    ),
    "JobStatusResponse": (
        {"jobId", "state", "createdAt"},
        {
            "jobId": "string",
            "state": "string",
            "createdAt": "date-time",
            "completedAt": "date-time or null",
            "evalInvoice": "object",
            "workInvoice": "object",
            "pricingBreakdown": "object",
            "reason": "string",
            "result": "string",
            "costLedger": "object",
            "errorMessage": "string",
        },
    ),
    "DemoResponse": ({"result"}, {"result": "string"}),
    "ClaimRefundRequest": ({"invoice"}, {"invoice": "string"}),
    "ClaimRefundResponse": (
        {"ok", "refundAmountSats", "paymentHash", "message"},
        {
            "ok": "boolean",
            "refundAmountSats": "integer",
            "paymentHash": "string",
            "message": "string",
        },
    ),
}
# What another network's programs send has other fields with each of their versions.
OPEN_REQUESTS = {"HordePopRequest", "HordeSubmitRequest", "HordeModifyRequest"}
SEED_ENUMS = {
    "JobState": [
        "awaiting_eval_payment",
        "evaluating",
        "rejected",
        "awaiting_work_payment",
        "executing",
        "complete",
        "failed",
    ],
    "RefundState": ["not_applicable", "pending", "paid"],
}


def answers() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (method, path, status, answer) of all that the contract promises."""
    for method, path, operation in CONTRACT.operations():
        for status, answer in operation["responses"].items():
            yield method, path, status, CONTRACT.resolve(answer)


def test_the_contract_is_valid_openapi() -> None:
    """openapi.yaml is an OpenAPI 3.1 document without a fault."""
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


def test_every_route_is_in_the_contract_and_nothing_else_is() -> None:
    """Paths and methods of the route table and of the contract are the same."""

    def plain(path: str) -> str:
        return re.sub(r"\{[^}]+\}", "{}", path)

    served = {plain(r.path): set(r.methods or ()) for r in [*SURFACE, *DEV_ROUTES]}
    assert served == {plain(path): CONTRACT.methods(path) for path in DOCUMENT["paths"]}


def test_every_operation_has_a_name_of_its_own() -> None:
    """An operationId is in camelCase and unique; summary, tag and answers are there."""
    names = [operation["operationId"] for _, _, operation in CONTRACT.operations()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)+", name) for name in names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for _, _, operation in CONTRACT.operations():
        assert set(operation["tags"]) <= tags and operation["summary"]
    assert all(answer["description"] for *_, answer in answers())


@pytest.mark.parametrize("name", SEED_OPERATIONS)
def test_the_seeds_operations_are_there(name: str) -> None:
    """An operation of the seed has its name, method, path and every status it had."""
    method, path, statuses = SEED_OPERATIONS[name]
    operation = DOCUMENT["paths"][path][method.lower()]
    assert operation["operationId"] == name
    assert statuses <= set(operation["responses"])


@pytest.mark.parametrize("name", SEED_SCHEMAS)
def test_the_seeds_fields_are_there(name: str) -> None:
    """A schema of the seed has its fields, of their types, and what it required."""
    required, fields = SEED_SCHEMAS[name]
    schema = SCHEMAS[name]
    assert required <= set(schema["required"])
    assert fields == {field: kind(schema["properties"][field]) for field in fields}
    if name.endswith("Request"):
        assert set(schema["required"]) == required  # what the seed left open stays open


def test_the_seeds_words_are_there() -> None:
    """States on the wire are the seed's words, and the law's."""
    assert {name: SCHEMAS[name]["enum"] for name in SEED_ENUMS} == SEED_ENUMS
    assert set(SEED_ENUMS["JobState"]) == {state.value for state in JobState}


def test_the_contracts_limits_are_the_codes() -> None:
    """Numbers in the contract are those that the code enforces."""
    assert SCHEMAS["RequestText"]["maxLength"] == MOST_CHARACTERS
    assert SCHEMAS["ClaimRefundRequest"]["properties"]["invoice"]["maxLength"] == LONGEST
    for name in ("CreateJobRequest", "NameDestinationRequest"):
        assert SCHEMAS[name]["properties"]["refundTo"]["maxLength"] == lnurl.LONGEST
    wait = DOCUMENT["paths"]["/api/jobs/{id}"]["get"]["parameters"][1]
    assert wait["name"] == "wait" and wait["schema"]["maximum"] == LONGEST_WAIT_S
    prose = " ".join(DOCUMENT["info"]["description"].split())
    limits = f"{MOST_BYTES // 1024} KiB long and {MOST_DEPTH} levels deep"
    assert limits in prose and f"{LONGEST_S:.0f} seconds to arrive" in prose
    script = SCHEMAS["ScriptStubFaultRequest"]["properties"]
    assert script["call"]["enum"] == [*get_args(Call)]
    assert script["fault"]["enum"] == [*get_args(Fault)]


def test_requests_are_closed_and_answers_may_grow() -> None:
    """A request with an unknown field is refused; an answer's reader must expect new ones."""
    asked = {
        one["$ref"].split("/")[-1]
        for _, _, operation in CONTRACT.operations()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
        for schema in [operation["requestBody"]["content"]["application/json"]["schema"]]
        for one in schema.get("oneOf", [schema])
    }
    assert asked == {name for name in SCHEMAS if name.endswith(("Request", "Body"))}
    for name, schema in SCHEMAS.items():
        if name in OPEN_REQUESTS:
            assert schema["additionalProperties"] == {}  # and what is not known is ignored
        elif schema.get("type") == "object":
            assert schema["additionalProperties"] is (name not in asked), name


def test_every_refusal_has_the_seeds_envelope() -> None:
    """Each answer of 400 and above is {error, code}: readiness has its parts beside it, a 402 its
    price, and conversations name the envelope as the seed does."""
    envelope = SCHEMAS["ErrorResponse"]
    shared = DOCUMENT["components"]["responses"]
    refusals = [answer for *_, status, answer in answers() if int(status) >= 400]
    refusals += [CONTRACT.resolve(shared[n]) for n in ("UnknownAddress", "UnknownMethod")]
    other = []
    for answer in refusals:
        schemas = [media["schema"] for media in answer["content"].values()]
        either = [one for schema in schemas for one in schema.get("oneOf", [schema])]
        other += [one for one in either if one != {"$ref": "#/components/schemas/ErrorResponse"}]
    assert envelope["required"] == ["error", "code"]
    v1 = {"V1Error", "V1Priced", "ChallengeQuoteError", "McpMessage"}  # within `error`
    names = {one["$ref"].rpartition("/")[2] for one in other} - v1
    assert SCHEMAS["V1Error"]["properties"]["error"]["required"] == ["code", "message"]
    ones = {"GenerationError", "GenerationPriced"}  # where the code is `error`
    by_tier = {"ImageJobError", "ImageJobPriced"}
    horde = {"HordeError"}  # whose readers know `message` and `rc`
    ours = {"Readiness", "PaymentRequired", "DepositRequired", "GeminiError"}
    assert names == {*ours, *ones, *by_tier, *horde}
    assert SCHEMAS["HordeError"]["required"] == ["message", "rc"]
    assert all(SCHEMAS[one]["required"] == ["error", "code"] for one in by_tier)
    assert all({"error", "message"} <= set(SCHEMAS[one]["required"]) for one in ones)
    assert SCHEMAS["GeminiError"] == {"$ref": "#/components/schemas/ErrorResponse"}
    for priced in ("PaymentRequired", "DepositRequired"):
        assert {"error", "code"} <= set(SCHEMAS[priced]["required"])


def test_every_answer_has_a_request_id_and_every_503_a_time() -> None:
    """X-Request-Id is promised always, Retry-After with each 202, 429 and 503."""
    for method, path, status, answer in answers():
        promised = answer["headers"]
        assert CONTRACT.resolve(promised["X-Request-Id"])["required"], (method, path, status)
        if status in ("202", "429", "503") and path != "/mcp":  # of whose 202 nothing comes
            assert CONTRACT.resolve(promised["Retry-After"])["required"], (method, path)


def test_every_example_is_true() -> None:
    """Each example in the contract obeys the schema that it stands beside."""
    seen = 0

    def look(node: Any, where: str) -> None:
        nonlocal seen
        if isinstance(node, dict):
            given = [v["value"] for v in node.get("examples", {}).values()]
            for example in given + ([node["example"]] if "example" in node else []):
                assert CONTRACT.problems(node["schema"], example) == [], where
                seen += 1
            for key, value in node.items():
                if key not in ("example", "examples"):
                    look(value, f"{where}/{key}")
        elif isinstance(node, list):
            for number, item in enumerate(node):
                look(item, f"{where}/{number}")

    look(DOCUMENT, "")
    assert seen > 30


async def test_production_has_no_doors_of_the_stub(database_url: str, tmp_path: Path) -> None:
    """In production the development routes are not there, whatever the rail."""
    production: dict[str, Any] = {
        "BOLTWORK_ENV": "production",
        "BOLTWORK_SECRET": "s" * 32,
        "LNBITS_URL": "http://127.0.0.1:9",
        "LNBITS_API_KEY": "none",
        "ALLOW_EMBEDDED_MODEL": True,
    }
    async with instance_of(database_url, tmp_path, **production) as running:
        for method, path, operation in CONTRACT.operations():
            if operation["tags"] == ["development"]:
                path = path.format(paymentHash="00" * 32)
                answer = await running.http.request(method, path, json={})
                assert answer.status_code == 404
                assert answer.json()["error"].startswith("There is nothing at this address.")


async def test_every_get_answers_head(instance: Instance) -> None:
    """HEAD answers what GET does, without the body."""
    made = await instance.create()
    await instance.post(f"/api/jobs/{made['jobId']}/cancel")  # a stream of it ends
    for method, path, _ in CONTRACT.operations():
        if method == "GET":
            ids = dict.fromkeys(("requestId", "secret", "itemId", "k1"), ID)
            names = dict.fromkeys(("slug", "toolId", "name"), "no-such")
            path = path.format(id=made["jobId"], which="surplus", **names, **ids)
            head, get = await instance.http.head(path), await instance.http.get(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]


requests = st.text(max_size=30) | st.sampled_from(["", " ", "\n\t", "a\x00", "\x1ca", "a\x85b"])
limits = st.integers(-3, 100_000_003) | st.none() | st.booleans() | st.text(max_size=3)
bodies = st.fixed_dictionaries(
    {"request": requests}, optional={"maxSats": limits}
) | st.fixed_dictionaries({}, optional={"request": requests, "odd": limits})


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies)
async def test_what_the_contract_allows_is_what_is_taken(instance: Instance, body: Any) -> None:
    """A body that the schema allows makes a job, and one that it does not is a 400."""
    schema = CONTRACT.request_schema("POST", "/api/jobs")
    assert schema is not None
    allowed = not CONTRACT.problems(schema, body)
    answer = await instance.post("/api/jobs", body)
    if allowed and answer.status_code == 409:  # what it allows can be less than anything costs
        assert body["maxSats"] < answer.json()["leastSats"]
        return
    assert answer.status_code == (201 if allowed else 400), answer.text


async def test_the_checker_reads_every_answer_of_an_instance(
    database_url: str, tmp_path: Path
) -> None:
    """An answer that the contract does not know fails the test that got it."""
    agent = ScriptedAgent()
    agent.name = 7  # type: ignore[assignment]  # the readiness page will tell this number
    async with instance_of(database_url, tmp_path, agent=agent) as running:
        with pytest.raises(AssertionError, match="GET /api/readyz"):
            await running.http.get("/api/readyz")


made = {
    "jobId": ID,
    "createdAt": "2026-11-22T12:00:00.000Z",
    "evalInvoice": {"paymentRequest": "lnbc1", "amountSats": 5},
}
created = {**HEADERS, "location": f"/api/jobs/{ID}"}


def test_the_checker_takes_a_right_answer() -> None:
    """What the contract promises passes."""
    CONTRACT.check("POST", "/api/jobs", 201, created, json.dumps(made).encode())


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body", "says"),
    [
        ("POST", "/api/jobs", 200, created, made, "the contract knows no such answer"),
        ("PUT", "/api/jobs", 201, created, made, "the contract knows no such answer"),
        ("GET", "/api/nothing", 200, HEADERS, {}, "the contract knows no such answer"),
        ("GET", f"/api/jobs/{ID}/more", 200, HEADERS, {}, "the contract knows no such answer"),
        ("POST", "/api/jobs", 201, HEADERS, made, "header Location is missing"),
        ("POST", "/api/jobs", 201, created | {"location": "/x"}, made, "header Location is '/x'"),
        ("POST", "/api/jobs", 201, {**created, "content-type": "text/html"}, made, "'text/html'"),
        ("POST", "/api/jobs", 201, created, made | {"odd": 1}, "'odd' was unexpected"),
        ("POST", "/api/jobs", 201, created, made | {"jobId": 1}, "is not of type 'string'"),
        ("POST", "/api/jobs", 201, created, made | {"createdAt": "soon"}, "is not a 'date-time'"),
        ("POST", "/api/jobs", 201, created, {"jobId": ID}, "is a required property"),
        (
            "POST",
            "/api/jobs",
            201,
            created,
            made | {"evalInvoice": {"paymentRequest": "lnbc1", "amountSats": 0.5}},
            r"\$\.evalInvoice\.amountSats: 0\.5 is not of type 'integer'",
        ),
        ("POST", "/api/jobs", 503, HEADERS, {"error": "Later."}, "Retry-After is missing"),
        ("POST", "/api/jobs", 503, HEADERS | {"retry-after": "soon"}, {}, "Retry-After is 'soon'"),
        ("POST", "/api/jobs", 400, HEADERS, {"message": "no"}, "'error' is a required property"),
        ("POST", "/api/jobs", 400, {"content-type": "text/plain"}, {}, "X-Request-Id is missing"),
        ("PUT", "/api/jobs", 405, HEADERS, {"error": "No."}, "Allow is missing"),
        ("PUT", "/api/jobs", 405, HEADERS | {"allow": "PUT"}, {"error": "No."}, "should be"),
        ("GET", f"/api/jobs/{ID}", 304, HEADERS | {"etag": '"1"'}, {"a": 1}, "has none there"),
        ("GET", f"/api/jobs/{ID}", 304, HEADERS | {"etag": "1"}, None, "header ETag is '1'"),
    ],
)
def test_the_checker_refuses_a_wrong_answer(
    method: str, path: str, status: int, headers: dict[str, str], body: Any, says: str
) -> None:
    """A status, a header, a type or a field that was not promised is named."""
    raw = b"" if body is None else json.dumps(body).encode()
    with pytest.raises(AssertionError, match=says):
        CONTRACT.check(method, path, status, headers, raw)
