"""How a surface says why it refuses: a table with a status and a word for every reason.

A dialect is data. What a refusal means is decided once, where it is raised.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.refusal import Refusal, Why
from app.strict_json import BadInput

Facts = Mapping[str, Any]


def _sentence_and_code(sentence: str, code: str, facts: Facts) -> dict[str, Any]:
    return {"error": sentence, "code": code, **facts}


def _code_and_message(sentence: str, code: str, facts: Facts) -> dict[str, Any]:
    return {"error": code, "message": sentence, **facts}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One surface's status and word for each reason, and how it writes them."""

    name: str
    answers: Mapping[Why, tuple[int, str]]
    envelope: Callable[[str, str, Facts], dict[str, Any]] = _sentence_and_code
    retry_field: str | None = None  # that says when to come back, in seconds

    def status(self, why: Why) -> int:
        """Return the HTTP status of a reason."""
        return self.answers[why][0]

    def word(self, why: Why) -> str:
        """Return the surface's word for a reason: a code for programs, a title for people."""
        return self.answers[why][1]


def why_of(error: Refusal | BadInput) -> Why:
    """Return the reason for which a request is not served."""
    return error.why if isinstance(error, Refusal) else Why.BAD_INPUT


# The codes are a contract: openapi.yaml lists them, and none changes its meaning.
AGENT_JOBS = Dialect(
    "agent jobs API",
    {
        Why.BAD_INPUT: (400, "bad_request"),
        Why.TOO_SLOW: (408, "request_timeout"),
        Why.TOO_LARGE: (413, "body_too_large"),
        Why.UNKNOWN: (404, "not_found"),
        Why.NO_SUCH_ADDRESS: (404, "no_such_address"),
        Why.NO_SUCH_TIER: (400, "bad_request"),
        Why.OVER_TIER: (400, "bad_request"),
        Why.NO_SUCH_RANGE: (416, "no_such_range"),
        Why.DELETED: (410, "deleted"),
        Why.NO_SUCH_METHOD: (405, "method_not_allowed"),
        Why.CREDENTIAL_NEEDED: (401, "credential_required"),
        Why.CREDENTIAL_INVALID: (401, "credential_invalid"),
        Why.CREDENTIAL_EXPIRED: (401, "credential_expired"),
        Why.PROOF_INVALID: (401, "payment_proof_invalid"),
        Why.METHOD_UNSUPPORTED: (400, "payment_method_unsupported"),
        Why.NOT_ALLOWED: (403, "not_allowed"),
        Why.FORM_NOT_OURS: (403, "not_allowed"),
        Why.PRICED: (402, "payment_required"),
        Why.BALANCE_TOO_LOW: (402, "insufficient_balance"),
        Why.BUDGET_TOO_LOW: (402, "insufficient_budget"),
        Why.OVER_MACAROON_LIMIT: (403, "over_macaroon_limit"),
        Why.OVER_MAX_SATS: (409, "over_max_sats"),
        Why.KEY_REUSED: (409, "idempotency_key_reused"),
        Why.NO_ANSWER_KEPT: (409, "no_answer_kept"),
        Why.PAID_ALREADY: (409, "already_paid"),
        Why.OFFER_EXPIRED: (409, "offer_expired"),
        Why.NOT_CANCELLABLE: (409, "not_cancellable"),
        Why.NOT_FINISHED: (409, "not_finished"),
        Why.NOT_PAID: (409, "session_not_paid"),
        Why.PAUSED: (409, "session_paused"),
        Why.CLOSED: (410, "session_closed"),
        Why.CLOSED_FOR_TOP_UP: (409, "session_closed"),
        Why.TOP_UP_PENDING: (409, "topup_pending"),
        Why.NOT_READY: (409, "not_ready"),
        Why.NOTHING_OWED: (409, "nothing_owed"),
        Why.REFUND_IN_FLIGHT: (409, "refund_in_flight"),
        Why.REFUND_PAID: (409, "refund_paid"),
        Why.REFUND_FAILED: (500, "refund_failed"),
        Why.PAYMENT_FAILED: (404, "payment_failed"),
        Why.NOT_POSSIBLE_NOW: (409, "not_possible_now"),
        Why.FULL: (409, "limit_reached"),
        Why.TOO_MUCH_UNDER_WAY: (429, "too_many_active"),
        Why.DECLINED: (422, "declined"),
        Why.LEASE_UNKNOWN: (404, "lease_unknown"),
        Why.LEASE_LOST: (409, "lease_lost"),
        Why.BROUGHT_OTHERWISE: (409, "already_submitted"),
        Why.JOB_OVER: (410, "job_over"),
        Why.RESULT_REFUSED: (422, "result_refused"),
        Why.MEDIA_UNKNOWN: (415, "media_type_unknown"),
        Why.WORKER_UNKNOWN: (401, "worker_unknown"),
        Why.WORKER_PAUSED: (403, "worker_paused"),
        Why.TOO_MANY: (429, "rate_limited"),
        Why.TOO_MANY_FAILURES: (429, "too_many_failures"),
        Why.FREE_SPENT: (503, "free_budget_spent"),
        Why.NOTHING_FREE: (503, "demo_closed"),
        Why.NOT_SELLING: (503, "sales_paused"),
        Why.BUSY: (503, "busy"),
        Why.RESTARTING: (503, "restarting"),
        Why.UNCONFIRMED: (503, "payment_unconfirmed"),
        Why.NO_PRICE: (503, "price_unavailable"),
        Why.NO_AGENT: (503, "agent_unavailable"),
        Why.NO_INVOICE: (503, "lightning_unavailable"),
        Why.NOT_WELL: (503, "unavailable"),
        Why.DATABASE_AWAY: (503, "database_unavailable"),
        Why.FAULT: (500, "internal_error"),
    },
)
# The same words in another envelope: the generations API has the code as `error`.
GENERATIONS = replace(AGENT_JOBS, name="generations API", envelope=_code_and_message)
PREFIX = "/v1/"  # of its addresses

# Tools, spells and people: the code and the sentence stand within `error`. Each status has one
# code, but for what a program must tell apart.
_BY_STATUS = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    402: "PAYMENT_REQUIRED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    410: "GONE",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    416: "RANGE_NOT_SATISFIABLE",
    422: "UNPROCESSABLE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
_APART = {
    Why.BALANCE_TOO_LOW: "INSUFFICIENT_BALANCE",
    Why.BUDGET_TOO_LOW: "INSUFFICIENT_BUDGET",
    Why.OVER_MAX_SATS: "OVER_MAX_SATS",
}
# Reasons for which what was asked for can't be begun, whoever asks.
_NOT_BEGUN = (
    *(Why.NOT_POSSIBLE_NOW, Why.DECLINED, Why.NOT_SELLING, Why.BUSY),
    *(Why.NO_PRICE, Why.NO_AGENT, Why.NO_INVOICE, Why.NOT_WELL),
)


def _within_error(sentence: str, code: str, facts: Facts) -> dict[str, Any]:
    return {"error": {"code": code, "message": sentence, **facts}}


V1 = Dialect(
    "tools and spells API",
    {
        why: (status, _APART.get(why, _BY_STATUS[status]))
        for why, (status, _) in AGENT_JOBS.answers.items()
    },
    _within_error,
)
V1_PREFIX = "/api/v1/"
# Those who lend machines read the same words as buyers of jobs.
WORKERS = replace(AGENT_JOBS, name="workers API", retry_field="retry_after")
WORKER_PREFIXES = ("/api/v1/workers", "/api/v1/leases/")


def _not_begun(name: str, code: str) -> Dialect:
    words = {why: (V1.status(why), code) for why in _NOT_BEGUN}
    return replace(V1, name=name, answers={**V1.answers, **words})


V1_EXECUTE = _not_begun("executing a tool", "JOB_SUBMISSION_FAILED")
V1_CAST = _not_begun("casting a spell", "SPELL_CAST_FAILED")
_BEGINS = {"generations/execute": V1_EXECUTE, "spells/cast": V1_CAST}

# Quotes of L402's discovery have its words (its section 6.5), and beside them those of a status.
_OF_QUOTES = {400: "malformed_request", 409: "unsatisfiable_budget", 429: "rate_limited"}
_OF_QUOTES |= {503: "unpriceable"}
L402_QUOTES = replace(
    V1,
    name="L402 quotes",
    answers={
        why: (status, _OF_QUOTES.get(status, _BY_STATUS[status].lower()))
        for why, (status, _) in AGENT_JOBS.answers.items()
    },
)
QUOTES_AT = "/l402/quote"


def _as_message(sentence: str, code: str, facts: Facts) -> dict[str, Any]:
    error = {"code": INVALID_REQUEST, "message": sentence, "data": {"code": code, **facts}}
    return {"jsonrpc": "2.0", "id": None, "error": error}


# A message of MCP that is refused before it is read: an error of JSON-RPC 2.0.
INVALID_REQUEST = -32600
MCP = replace(AGENT_JOBS, name="MCP", envelope=_as_message)
MCP_AT = "/mcp"

# Images by the tier, for credits. What is bought by the call is bought for want of credits.
_WORDS = {
    **_APART,
    Why.BAD_INPUT: "INVALID_REQUEST",
    Why.NO_SUCH_TIER: "INVALID_TIER",
    Why.OVER_TIER: "TIER_LIMIT_EXCEEDED",
    Why.PRICED: "INSUFFICIENT_CREDITS",
    Why.BALANCE_TOO_LOW: "INSUFFICIENT_CREDITS",
    Why.TOO_MANY: "RATE_LIMIT_EXCEEDED",
    Why.NO_AGENT: "MODEL_UNAVAILABLE",
}
IMAGE_JOBS = Dialect(
    "image jobs API",
    {
        why: (status, _WORDS.get(why, _BY_STATUS[status]))
        for why, (status, _) in AGENT_JOBS.answers.items()
    },
    retry_field="retry_after",
)
_IMAGE_JOBS_AT = ("jobs", "users", "credits", "tiers", "models")  # the next part of its addresses

# Workers of another network: its programs read `message` and `rc`, and some look for certain words
# in the message. What its dialect has no word for is said in words of its kind.
_RC_BY_STATUS = {
    400: "BadRequest",
    401: "InvalidAPIKey",
    402: "KudosUpfront",
    403: "Forbidden",
    404: "RequestNotFound",
    408: "RequestExpired",
    429: "TooManyPrompts",
    500: "Locked",
    503: "Locked",
}
_RC = {
    Why.NOT_POSSIBLE_NOW: (403, "WorkerInviteOnly"),
    Why.WORKER_PAUSED: (403, "WorkerMaintenance"),
    Why.LEASE_UNKNOWN: (404, "InvalidJobID"),
    Why.LEASE_LOST: (404, "InvalidJobID"),
    Why.JOB_OVER: (404, "InvalidJobID"),
    Why.BROUGHT_OTHERWISE: (400, "DuplicateGen"),
    Why.RESULT_REFUSED: (400, "ImageValidationFailed"),
    Why.MEDIA_UNKNOWN: (400, "ImageValidationFailed"),
    Why.UNKNOWN: (404, "WorkerNotFound"),
}


def _message_and_rc(sentence: str, code: str, facts: Facts) -> dict[str, Any]:
    return {"message": sentence, "rc": code, **facts}


STOCK_WORKERS = Dialect(
    "AI Horde dialect for workers",
    {
        why: _RC.get(why, (status, _RC_BY_STATUS.get(status, "BadRequest")))
        for why, (status, _) in AGENT_JOBS.answers.items()
    },
    _message_and_rc,
)
STOCK_PREFIX = "/api/v2/"


def dialect_of(path: str) -> Dialect:
    """Return the dialect that is spoken at an address."""
    if path.startswith(PREFIX):
        return GENERATIONS
    if path in (QUOTES_AT, MCP_AT):
        return L402_QUOTES if path == QUOTES_AT else MCP
    if path.startswith(WORKER_PREFIXES):
        return WORKERS
    if path.startswith(V1_PREFIX):
        if path.removeprefix(V1_PREFIX).partition("/")[0] in _IMAGE_JOBS_AT:
            return IMAGE_JOBS
        return _BEGINS.get(path.removeprefix(V1_PREFIX), V1)
    if path.startswith(STOCK_PREFIX):
        return STOCK_WORKERS
    return AGENT_JOBS
