"""Why a request is not served: each surface says every reason, with a code that programs read."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.http.dialect import (
    AGENT_JOBS,
    IMAGE_JOBS,
    STOCK_WORKERS,
    V1,
    V1_CAST,
    V1_EXECUTE,
    WORKERS,
    Dialect,
    dialect_of,
)
from app.refusal import Why
from app.web.dialect import PAGES
from tests.world.contract import CONTRACT
from tests.world.house_fixtures import Instance

CODES = CONTRACT.document["components"]["schemas"]["ErrorCode"]["enum"]
NOBODY = "0" * 32


@pytest.mark.parametrize(
    "dialect",
    [AGENT_JOBS, V1, V1_CAST, V1_EXECUTE, IMAGE_JOBS, STOCK_WORKERS, PAGES],
    ids=lambda dialect: dialect.name,
)
def test_every_dialect_answers_every_reason(dialect: Dialect) -> None:
    """A reason that a surface has no word for can't be added: each has a status and a word."""
    assert set(dialect.answers) == set(Why)
    for status, word in dialect.answers.values():
        assert 400 <= status < 600 and word


def test_the_contract_lists_exactly_the_codes_that_are_answered() -> None:
    """ErrorCode in openapi.yaml is the agent jobs API's dialect, in order and without doubles."""
    assert sorted({word for _, word in AGENT_JOBS.answers.values()}) == CODES


def test_tools_and_spells_say_every_reason_in_their_own_words() -> None:
    """V1Code in openapi.yaml lists them; what can't be begun has a code of its own."""
    words = {word for each in (V1, V1_CAST, V1_EXECUTE) for _, word in each.answers.values()}
    assert sorted(words) == CONTRACT.document["components"]["schemas"]["V1Code"]["enum"]
    assert all(V1.status(why) == AGENT_JOBS.status(why) for why in Why)
    for path, word in (
        ("generations/execute", "JOB_SUBMISSION_FAILED"),
        ("spells/cast", "SPELL_CAST_FAILED"),
        ("spells/casts/" + NOBODY, "SERVICE_UNAVAILABLE"),
    ):
        assert dialect_of(f"/api/v1/{path}").word(Why.NO_PRICE) == word
    assert dialect_of("/v1/images/generate").word(Why.NO_PRICE) == "price_unavailable"


def test_image_jobs_say_every_reason_in_their_own_words() -> None:
    """ImageJobCode in openapi.yaml lists them; the addresses are those of jobs, not of tools."""
    words = sorted({word for _, word in IMAGE_JOBS.answers.values()})
    assert words == CONTRACT.document["components"]["schemas"]["ImageJobCode"]["enum"]
    assert all(IMAGE_JOBS.status(why) == AGENT_JOBS.status(why) for why in Why)
    for path in ("jobs", f"jobs/{NOBODY}", "users/me", "credits", "tiers", "models"):
        assert dialect_of(f"/api/v1/{path}") is IMAGE_JOBS
    for path in ("jobsite", "user/me", "tools", ""):
        assert dialect_of(f"/api/v1/{path}") is V1


def test_stock_workers_read_every_reason_in_words_of_their_own() -> None:
    """HordeCode in openapi.yaml lists them; a key for that dialect is got in the house's own."""
    words = sorted({word for _, word in STOCK_WORKERS.answers.values()})
    assert words == CONTRACT.document["components"]["schemas"]["HordeCode"]["enum"]
    assert dialect_of("/api/v2/generate/pop") is STOCK_WORKERS
    assert dialect_of("/api/v1/workers/me/horde-key") is WORKERS


def test_one_code_has_one_meaning() -> None:
    """Reasons that share a code are two ways to say one thing, and there are few of them."""
    shared: dict[str, set[Why]] = {}
    for why, (_, word) in AGENT_JOBS.answers.items():
        shared.setdefault(word, set()).add(why)
    assert [group for group in shared.values() if len(group) > 1] == [
        {Why.BAD_INPUT, Why.NO_SUCH_TIER, Why.OVER_TIER},
        {Why.NOT_ALLOWED, Why.FORM_NOT_OURS},
        {Why.CLOSED, Why.CLOSED_FOR_TOP_UP},
    ]


REFUSED: list[tuple[str, str, Any, Mapping[str, str], int, str]] = [
    ("POST", "/api/jobs", {}, {}, 400, "bad_request"),
    ("POST", "/api/jobs", {"request": "x" * 300_000}, {}, 413, "body_too_large"),
    ("GET", "/api/jobs/" + NOBODY, None, {}, 404, "not_found"),
    ("GET", "/api/nowhere", None, {}, 404, "no_such_address"),
    ("DELETE", "/api/jobs", None, {}, 405, "method_not_allowed"),
    ("POST", "/api/ask", {"request": "Hi"}, {}, 402, "payment_required"),
    ("POST", "/api/ask", {"request": "Hi", "maxSats": 1}, {}, 409, "over_max_sats"),
    (
        "GET",
        "/api/ask?request=Hi",
        None,
        {"Authorization": "L402 a:b"},
        401,
        "payment_proof_invalid",
    ),
    ("POST", f"/api/sessions/{NOBODY}/close", {}, {}, 401, "credential_required"),
    (
        "POST",
        f"/api/sessions/{NOBODY}/close",
        {},
        {"Authorization": "Bearer x"},
        401,
        "credential_invalid",
    ),
    ("GET", "/api/gemini/conversations/1", None, {}, 404, "not_found"),
    ("GET", f"/api/jobs/{NOBODY}/receipt", None, {}, 404, "not_found"),
]


@pytest.mark.one_instance
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} {case[1][:40]} {case[5]}")
async def test_each_error_has_a_code_beside_its_sentence(
    instance: Instance, case: tuple[str, str, Any, Mapping[str, str], int, str]
) -> None:
    """Programs branch on `code`; the sentence in `error` is for people, and may change."""
    method, path, body, headers, status, code = case
    answer = await instance.http.request(method, path, json=body, headers=dict(headers))
    said = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    assert said["error"].endswith(".")
