"""The answers of a server as the client knows them, checked strictly before they are used.

An amount is a whole number of sats, zero or more: no text, no fraction, no truth value. An id has
the form of an id before it is part of a path or of a line to copy. Anything else is Unreadable.
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
    """An answer with a wrong field. The message names the field, and quotes nothing."""


class Invoice(TypedDict, total=False):
    """An invoice of the server's. Its hash is shown on the stub rail only."""

    paymentRequest: Required[str]
    amountSats: Required[int]
    expiresAt: str
    paymentHash: str


class Owed(TypedDict, total=False):
    """One refund that is owed."""

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
    """What was bought by the call or on a session. It has no result until it has ended."""

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


class Item(TypedDict, total=False):
    """One picture or film of a batch, as it stands."""

    id: Required[str]
    index_in_job: Required[int]
    status: Required[str]
    media_type: str | None
    sha256: str | None
    error: str


class BatchShown(TypedDict, total=False):
    """A batch as it stands, with some of its items."""

    job: Required[dict[str, Any]]
    items: Required[list[Item]]  # `images` or `videos` on the wire
    priceSats: int
    chargedSats: int
    invoice: Invoice  # while it is to be paid
    refunds: list[Owed]


# ----------------------------------------------------------------------- whole answers


def parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object whose texts are harmless. Raises Unreadable."""
    try:
        return cast(dict[str, Any], harmless_value(parse_object(body)))
    except BadInput as broken:
        raise Unreadable("what it answers with is no JSON object") from broken


def estimate(parsed: Mapping[str, Any]) -> Estimate:
    """Return what a request would cost at most. The total is the sum of its parts."""
    _read("the estimate", parsed, _ESTIMATE)
    if parsed["evalSats"] + parsed["workSats"] != parsed["totalSats"]:
        raise Unreadable("its estimate does not add up")
    return cast(Estimate, parsed)


def created(parsed: Mapping[str, Any]) -> Created:
    """Return a job that was just made."""
    _read("the new job", parsed, {"jobId": _id, "evalInvoice": _invoice})
    return cast(Created, parsed)


def job(parsed: Any, job_id: str) -> Job:
    """Return a job as it stands, which is the one that was asked for."""
    _read("the job", parsed, _JOB, _JOB_MAY)
    if parsed["jobId"] != job_id:
        raise Unreadable("it answers with another job than the one it was asked for")
    work = parsed.get("workInvoice")
    if work is not None:
        _read("the job", parsed, {"pricingBreakdown": _breakdown})
        if work["amountSats"] != parsed["pricingBreakdown"]["totalSats"]:
            raise Unreadable("the invoice of the work is not what it says the work costs")
    return cast(Job, parsed)


def answered(parsed: Mapping[str, Any]) -> Answered:
    """Return what was bought by the call."""
    _read("the answer", parsed, {"state": _word}, {**_JOB_MAY, **_ANSWERED_MAY})
    return cast(Answered, parsed)


def answered_on_session(parsed: Mapping[str, Any]) -> Answered:
    """Return a request on a session as it stands."""
    _read("the answer", parsed, {"requestId": _id})
    if "debitedSats" in parsed:
        _read("the answer", parsed, {"balanceRemaining": _whole})
    return answered(parsed)


def session(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session's status."""
    _read("the session", parsed, {"sessionId": _id, "state": _word}, _SESSION_MAY)
    return dict(parsed)


def opened(parsed: Mapping[str, Any]) -> tuple[str, Invoice]:
    """Return the id of a session that was just opened, and the invoice of its deposit."""
    _read("the session", parsed, {"sessionId": _id, "invoice": _invoice})
    return parsed["sessionId"], cast(Invoice, parsed["invoice"])


def topped_up(parsed: Mapping[str, Any]) -> Invoice:
    """Return the invoice of a top-up."""
    _read("the answer", parsed, {"topup": _invoice})
    return cast(Invoice, parsed["topup"])


def offered(parsed: Mapping[str, Any]) -> int:
    """Return what a 402 asks for, in sats."""
    _read("the offer", parsed, {"amountSats": _whole})
    return int(parsed["amountSats"])


def refunded(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a claim on a refund."""
    _read("the answer", parsed, {}, {"message": _text})
    return dict(parsed)


def progress(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a piece of what an agent writes, with what it has cost so far."""
    _read("the progress", parsed, {}, {"outputTokens": _whole, "costSats": _whole})
    return dict(parsed)


def quoted(parsed: Mapping[str, Any]) -> int:
    """Return what a batch would cost, in sats."""
    _read("the quote", parsed, {"priceSats": _whole})
    return int(parsed["priceSats"])


def models(parsed: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the models of a kind that are sold, with whether another one stands in for each."""
    listed = parsed.get(kind)
    if not isinstance(listed, list):
        _refuse(kind, "is no list")
    for model in listed:
        _read("the model", model, {"id": _text, "standsIn": _yes_or_no})
    return listed


def batch(parsed: Mapping[str, Any], batch_id: str, most: int) -> BatchShown:
    """Return a batch as it stands, which is the one that was asked for and has at most so many
    items; each stands at a place of its own."""
    _read("the batch", parsed, {"job": _mapping}, _BATCH_MAY)
    job = parsed["job"]
    _read("the batch", job, {"id": _id, "status": _word, "job_type": _word})
    if job["id"] != batch_id:
        raise Unreadable("it answers with another batch than the one it was asked for")
    many = {"image": "images", "video": "videos"}.get(job["job_type"])
    if many is None:
        raise Unreadable("the batch is of no kind that is known here")
    counts = (f"total_{many}", f"succeeded_{many}", f"completed_{many}")
    _read("the batch", job, dict.fromkeys(counts, _whole))
    items = parsed.get(many)
    if not isinstance(items, list):
        _refuse(many, "is no list")
    for item in items:
        _read("the item", item, _ITEM, _ITEM_MAY)
    places = [item["index_in_job"] for item in items]
    if not job[counts[1]] <= job[counts[2]] <= job[counts[0]] <= most:
        raise Unreadable("the counts of the batch don't add up")
    if len(set(places)) < len(places) or any(place >= job[counts[0]] for place in places):
        raise Unreadable("two items of the batch have one place, or one has none")
    shown = {name: parsed[name] for name in _BATCH_MAY if name in parsed}
    total, succeeded, ended = (job[count] for count in counts)
    told = {"id": batch_id, "status": job["status"], "kind": job["job_type"]}
    told |= {"total": total, "succeeded": succeeded, "ended": ended}
    return cast(BatchShown, {"job": told, "items": items, **shown})


def is_id(value: object) -> bool:
    """Say whether something has the form of an id: 32 hex digits."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


# ------------------------------------------------------------------------------- fields

_Check = Callable[[str, Any], None]


def _read(
    what: str,
    parsed: Any,
    needed: Mapping[str, _Check],
    allowed: Mapping[str, _Check] | None = None,
) -> None:
    """Check the required fields and the optional ones; others are ignored."""
    if not isinstance(parsed, Mapping):
        _refuse(what, "is no object")
    for name, check in needed.items():
        if name not in parsed:
            _refuse(what, f"has no field {name!r}")
        check(name, parsed[name])
    for name, check in (allowed or {}).items():
        if name in parsed:
            check(name, parsed[name])


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


def _maybe(name: str, value: Any) -> None:
    if value is not None:
        _text(name, value)


def _yes_or_no(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(name, "is neither true nor false")


def _mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        _refuse(name, "is no object")


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
_ITEM: dict[str, _Check] = {"id": _id, "index_in_job": _whole, "status": _word}
_ITEM_MAY: dict[str, _Check] = {"media_type": _maybe, "sha256": _maybe, "error": _text}
_BATCH_MAY: dict[str, _Check] = {
    "priceSats": _whole,
    "chargedSats": _whole,
    "invoice": _invoice,
    "refunds": _refunds,
}
_SESSION_MAY: dict[str, _Check] = {
    "balanceSats": _whole,
    "macaroon": _text,
    "invoice": _invoice,
    "pendingTopup": _invoice,
    "refunds": _refunds,
}
