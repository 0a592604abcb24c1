"""What a server answers, as the client knows it, and read strictly before anybody uses it.

An amount is a whole number of sats, zero or more: no text, no fraction, no truth value. An id has
the form of an id before it is part of a path or of a line to copy. What is not so is Unreadable.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Required, TypedDict, cast

from app.plain_text import harmless_value
from app.strict_json import BadInput, parse_object

MOST_SATS = 21_000_000 * 100_000_000  # all the bitcoin there will be
_ID = re.compile("[0-9a-f]{32}")
_WORD = re.compile("[a-z_]{1,40}")


class Unreadable(ValueError):
    """An answer that is not as it must be. The message names the field, and quotes nothing."""


class Invoice(TypedDict, total=False):
    """An invoice of the server's. Its hash is shown on the stub rail only."""

    paymentRequest: Required[str]
    amountSats: Required[int]
    expiresAt: str
    paymentHash: str


class Owed(TypedDict, total=False):
    """One thing that is owed back."""

    reason: str
    amountSats: Required[int]
    refundState: Required[str]  # `pending` or `paid`
    destination: str  # `needed` or `known`
    attempts: int
    lastOutcome: str
    lnurlWithdraw: str


class Job(TypedDict, total=False):
    """A job as it stands: what belongs to its state is there, and nothing else."""

    jobId: Required[str]
    state: Required[str]
    createdAt: str
    completedAt: str | None
    evalInvoice: Invoice
    workInvoice: Invoice
    invoice: Invoice  # of a job at a firm price
    pricingBreakdown: dict[str, Any]
    costLedger: dict[str, Any]
    result: str
    reason: str
    errorMessage: str
    refunds: list[Owed]


class Created(TypedDict):
    """A job that was just made."""

    jobId: str
    createdAt: str
    evalInvoice: Invoice


class Estimate(TypedDict):
    """What a request would cost at most."""

    evalSats: int
    workSats: int
    totalSats: int
    pricingBreakdown: dict[str, Any]


class Answered(TypedDict, total=False):
    """What was bought by the call or on a session. It has no result while it goes on."""

    state: Required[str]
    jobId: str
    requestId: str
    cost: dict[str, Any]
    debitedSats: int
    balanceRemaining: int
    result: str
    reason: str
    errorMessage: str
    refunds: list[Owed]


# ----------------------------------------------------------------------- whole answers


def parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object whose texts are harmless. Raises Unreadable."""
    try:
        return cast(dict[str, Any], harmless_value(parse_object(body)))
    except BadInput as broken:
        raise Unreadable("what it answers with is no JSON object") from broken


def estimate(told: Mapping[str, Any]) -> Estimate:
    """Return what a request would cost at most. The total is the sum of its parts."""
    _read("the estimate", told, _ESTIMATE)
    if told["evalSats"] + told["workSats"] != told["totalSats"]:
        raise Unreadable("its estimate does not add up")
    return cast(Estimate, told)


def created(told: Mapping[str, Any]) -> Created:
    """Return a job that was just made."""
    _read("the new job", told, {"jobId": _id, "evalInvoice": _invoice})
    return cast(Created, told)


def job(told: Any, job_id: str) -> Job:
    """Return a job as it stands, which is the one that was asked for."""
    _read("the job", told, _JOB, _JOB_MAY)
    if told["jobId"] != job_id:
        raise Unreadable("it answers with another job than the one it was asked for")
    work = told.get("workInvoice")
    if work is not None:
        _read("the job", told, {"pricingBreakdown": _breakdown})
        if work["amountSats"] != told["pricingBreakdown"]["totalSats"]:
            raise Unreadable("the invoice of the work is not what it says the work costs")
    return cast(Job, told)


def answered(told: Mapping[str, Any]) -> Answered:
    """Return what was bought by the call."""
    _read("the answer", told, {"state": _word}, {**_JOB_MAY, **_ANSWERED_MAY})
    return cast(Answered, told)


def answered_on_session(told: Mapping[str, Any]) -> Answered:
    """Return a request on a session as it stands."""
    _read("the answer", told, {"requestId": _id})
    if "debitedSats" in told:
        _read("the answer", told, {"balanceRemaining": _whole})
    return answered(told)


def session(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session's status."""
    _read("the session", told, {"sessionId": _id, "state": _word}, _SESSION_MAY)
    return dict(told)


def opened(told: Mapping[str, Any]) -> tuple[str, Invoice]:
    """Return the id of a session that was just opened, and the invoice of its deposit."""
    _read("the session", told, {"sessionId": _id, "invoice": _invoice})
    return told["sessionId"], cast(Invoice, told["invoice"])


def topped_up(told: Mapping[str, Any]) -> Invoice:
    """Return the invoice of a top-up."""
    _read("the answer", told, {"topup": _invoice})
    return cast(Invoice, told["topup"])


def offered(told: Mapping[str, Any]) -> int:
    """Return what a 402 asks for, in sats."""
    _read("the offer", told, {"amountSats": _whole})
    return int(told["amountSats"])


def refunded(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a claim on a refund."""
    _read("the answer", told, {}, {"message": _text})
    return dict(told)


def progress(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a piece of what an agent writes, with what it has cost so far."""
    _read("the progress", told, {}, {"outputTokens": _whole, "costSats": _whole})
    return dict(told)


def is_id(value: object) -> bool:
    """Say whether something has the form of an id: 32 hex digits."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


# ------------------------------------------------------------------------------- fields

_Check = Callable[[str, Any], None]


def _read(
    what: str,
    told: Any,
    needed: Mapping[str, _Check],
    allowed: Mapping[str, _Check] | None = None,
) -> None:
    """Check the fields that must be there, and those that may; others are nobody's business."""
    if not isinstance(told, Mapping):
        _refuse(what, "is no object")
    for name, check in needed.items():
        if name not in told:
            _refuse(what, f"has no field {name!r}")
        check(name, told[name])
    for name, check in (allowed or {}).items():
        if name in told:
            check(name, told[name])


def _refuse(name: str, wrong: str) -> NoReturn:
    where = name if " " in name else f"the field {name!r}"
    raise Unreadable(f"{where} {wrong}")


def _whole(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= MOST_SATS:
        _refuse(name, "is no whole number, zero or more")


def _dollars(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value <= MOST_SATS or math.isnan(value):
        _refuse(name, "is no amount of dollars")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        _refuse(name, "is no text")


def _id(name: str, value: Any) -> None:
    if not is_id(value):
        _refuse(name, "is no id: 32 hex digits")


def _word(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        _refuse(name, "is no word")


def _texts(name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        _refuse(name, "is no list of texts")


def _invoice(name: str, value: Any) -> None:
    _read(f"the {name}", value, {"paymentRequest": _text, "amountSats": _whole})


def _breakdown(name: str, value: Any) -> None:
    _read(f"the {name}", value, _BREAKDOWN, {"priceNote": _text})


def _ledger(name: str, value: Any) -> None:
    _read(f"the {name}", value, _LEDGER)


def _refunds(name: str, value: Any) -> None:
    if not isinstance(value, list):
        _refuse(name, "is no list")
    for owed in value:
        _read(f"the {name}", owed, {"amountSats": _whole, "refundState": _word}, _OWED_MAY)


_ESTIMATE: dict[str, _Check] = {"evalSats": _whole, "workSats": _whole, "totalSats": _whole}
_BREAKDOWN: dict[str, _Check] = {
    "model": _text,
    "inputTokens": _whole,
    "maxOutputTokens": _whole,
    "tokenCostUsd": _dollars,
    "infraUsd": _dollars,
    "marginPct": _whole,
    "btcPriceUsd": _dollars,
    "priceSources": _texts,
    "totalSats": _whole,
}
_LEDGER: dict[str, _Check] = {
    "totalTokens": _whole,
    "workAmountSats": _whole,
    "actualAmountSats": _whole,
    "refundAmountSats": _whole,
}
_OWED_MAY: dict[str, _Check] = {"destination": _word, "lnurlWithdraw": _text}
_JOB: dict[str, _Check] = {"jobId": _id, "state": _word}
_JOB_MAY: dict[str, _Check] = {
    "evalInvoice": _invoice,
    "workInvoice": _invoice,
    "invoice": _invoice,
    "costLedger": _ledger,
    "result": _text,
    "reason": _text,
    "errorMessage": _text,
    "refunds": _refunds,
}
_ANSWERED_MAY: dict[str, _Check] = {
    "jobId": _id,
    "requestId": _id,
    "debitedSats": _whole,
    "balanceRemaining": _whole,
}
_SESSION_MAY: dict[str, _Check] = {
    "balanceSats": _whole,
    "macaroon": _text,
    "invoice": _invoice,
    "pendingTopup": _invoice,
    "refunds": _refunds,
}
