"""The seed's sessions in openapi.yaml: its operations, fields and words, and the code's limits."""

from typing import Any

import pytest

from app.api.jobs import requests, sessions
from app.http.fields import DEFAULT_HOLD_S, LONGEST_WAIT_S
from payments import lnurl
from statemachine.job import JOB, JobState
from statemachine.session import SessionState
from tests.world.contract import CONTRACT, DOCUMENT, SCHEMAS, kind

OPERATIONS = {
    "createSession": ("POST", "/api/sessions", {"201", "400", "500"}),
    "getSession": ("GET", "/api/sessions/{id}", {"200", "404"}),
    "submitSessionRequest": (
        "POST",
        "/api/sessions/{id}/request",
        {"200", "401", "402", "409", "410"},
    ),
    "topupSession": ("POST", "/api/sessions/{id}/topup", {"200", "400", "401", "409"}),
}
FIELDS: dict[str, tuple[set[str], dict[str, str]]] = {
    "SessionInvoiceInfo": (
        set(),
        {"paymentRequest": "string", "amountSats": "integer", "paymentHash": "string"},
    ),
    "CreateSessionRequest": ({"amount_sats"}, {"amount_sats": "integer"}),
    "CreateSessionResponse": (
        {"sessionId", "state", "invoice"},
        {"sessionId": "string", "state": "string", "invoice": "object"},
    ),
    "SessionStatusResponse": (
        {"sessionId", "state", "balanceSats"},
        {
            "sessionId": "string",
            "state": "string",
            "balanceSats": "integer",
            "minimumBalanceSats": "integer",
            "macaroon": "string",
            "expiresAt": "date-time",
            "invoice": "object",
            "pendingTopup": "object",
        },
    ),
    "SessionRequestBody": ({"request"}, {"request": "string"}),
    "SessionCostBreakdown": (
        set(),
        {
            "evalSats": "integer",
            "workSats": "integer",
            "totalSats": "integer",
            "btcPriceUsd": "number",
        },
    ),
    "SessionRequestResponse": (
        {"requestId", "state", "debitedSats", "balanceRemaining"},
        {
            "requestId": "string",
            "state": "string",
            "result": "string",
            "reason": "string",
            "errorMessage": "string",
            "debitedSats": "integer",
            "balanceRemaining": "integer",
            "cost": "object",
        },
    ),
    "TopupSessionResponse": (
        {"sessionId", "topup"},
        {"sessionId": "string", "topup": "object"},
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_seeds_operations_are_there(name: str) -> None:
    """An operation of the seed has its name, method, path and every status it had."""
    method, path, statuses = OPERATIONS[name]
    operation = DOCUMENT["paths"][path][method.lower()]
    assert operation["operationId"] == name
    assert statuses <= set(operation["responses"])


@pytest.mark.parametrize("name", FIELDS)
def test_the_seeds_fields_are_there(name: str) -> None:
    """A schema of the seed has its fields, of their types, and what it required."""
    required, fields = FIELDS[name]
    schema = SCHEMAS[name]
    asked = set(schema["oneOf"][0]["required"] if "oneOf" in schema else schema["required"])
    assert required <= asked
    assert fields == {field: kind(schema["properties"][field]) for field in fields}
    if name.endswith(("Request", "Body")):
        assert asked == required  # what the seed left open stays open


def test_the_words_are_the_laws() -> None:
    """States on the wire are the seed's words, and the law's."""
    assert SCHEMAS["SessionState"]["enum"] == [state.value for state in SessionState]
    ended = SCHEMAS["SessionRequestResponse"]["properties"]["state"]["enum"]
    assert set(ended) == {state.value for state in JobState if JOB.final(state)}
    running = SCHEMAS["SessionRequestRunning"]["properties"]["state"]["enum"]
    assert set(running) == {JobState.EVALUATING.value, JobState.EXECUTING.value}


def test_the_limits_are_the_codes() -> None:
    """Numbers in the contract are those that the code enforces."""
    for name, body in (
        ("CreateSessionRequest", sessions.OpenSession),
        ("TopupSessionRequest", sessions.TopUp),
        ("SessionRequestBody", requests.SessionRequest),
    ):
        for field, enforced in body.model_json_schema()["properties"].items():
            promised = SCHEMAS[name]["properties"][field]
            plain: dict[str, Any] = next(
                (one for one in enforced.get("anyOf", [enforced]) if "minimum" in one), {}
            )
            for bound in ("minimum", "maximum"):
                assert plain.get(bound) == promised.get(bound), (name, field)
    for name in ("CreateSessionRequest", "CloseSessionRequest"):
        assert SCHEMAS[name]["properties"]["refundTo"]["maxLength"] == lnurl.LONGEST
    for method, path, operation in CONTRACT.operations():
        if "sessions" in operation["tags"]:
            for parameter in operation.get("parameters", []):
                if parameter.get("name") == "wait":
                    assert parameter["schema"]["maximum"] == LONGEST_WAIT_S, path
                    default = DEFAULT_HOLD_S if method == "POST" else 0
                    assert parameter["schema"]["default"] == default, path


def test_everything_that_spends_needs_the_macaroon() -> None:
    """Only opening a session and looking at one do without."""
    free = {
        operation["operationId"]
        for _, _, operation in CONTRACT.operations()
        if "sessions" in operation["tags"]
        and operation.get("security") != [{"sessionMacaroon": []}]
    }
    assert free == {"createSession", "getSession"}
