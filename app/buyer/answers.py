"""The answers of a server as the client knows them, checked strictly before they are used.

An amount is a whole number of sats, zero or more: no text, no fraction, no truth value. An id has
the form of an id before it is part of a path or of a line to copy. Anything else is Unreadable.
"""

from collections.abc import Mapping
from typing import Any, Required, TypedDict, cast

from app.buyer import answer_fields as fields
from app.buyer.answer_fields import Invoice, Unreadable
from app.plain_text import harmless_value
from app.strict_json import BadInput, parse_list, parse_object


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
    """One picture, film or run of a tool of a batch, as it stands."""

    id: Required[str]
    index_in_job: Required[int]
    status: Required[str]
    media_type: str | None
    sha256: str | None
    error: str


class BatchShown(TypedDict, total=False):
    """A batch as it stands, with some of its items."""

    job: Required[dict[str, Any]]
    items: Required[list[Item]]  # `images`, `videos` or `runs` on the wire
    priceSats: int
    chargedSats: int
    invoice: Invoice  # while it is to be paid
    refunds: list[Owed]


PLURALS = {"image": "images", "video": "videos", "tool": "runs", "agent": "runs"}

# ----------------------------------------------------------------------- whole answers


def parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object whose texts are harmless. Raises Unreadable."""
    try:
        return cast(dict[str, Any], harmless_value(parse_object(body)))
    except BadInput as broken:
        raise Unreadable("what it answers with is no JSON object") from broken


def parsed_list(body: bytes) -> list[Any]:
    """Return a JSON list whose texts are harmless. Raises Unreadable."""
    try:
        return cast(list[Any], harmless_value(parse_list(body)))
    except BadInput as broken:
        raise Unreadable("what it answers with is no JSON list") from broken


def flattened(body: dict[str, Any]) -> dict[str, Any]:
    """Return an error with its sentence as `error`, where the surface has that within it."""
    within = body.get("error")
    if isinstance(within, dict) and isinstance(within.get("message"), str):
        return {**body, **within, "error": within["message"]}
    return body


def estimate(parsed: Mapping[str, Any]) -> Estimate:
    """Return what a request would cost at most. The total is the sum of its parts."""
    fields.read("the estimate", parsed, _ESTIMATE)
    if parsed["evalSats"] + parsed["workSats"] != parsed["totalSats"]:
        raise Unreadable("its estimate does not add up")
    return cast(Estimate, parsed)


def created(parsed: Mapping[str, Any]) -> Created:
    """Return a job that was just made."""
    fields.read("the new job", parsed, {"jobId": fields.id_, "evalInvoice": fields.invoice})
    return cast(Created, parsed)


def job(parsed: Any, job_id: str) -> Job:
    """Return a job as it stands, which is the one that was asked for."""
    fields.read("the job", parsed, _JOB, _JOB_MAY)
    if parsed["jobId"] != job_id:
        raise Unreadable("it answers with another job than the one it was asked for")
    work = parsed.get("workInvoice")
    if work is not None:
        fields.read("the job", parsed, {"pricingBreakdown": _breakdown})
        if work["amountSats"] != parsed["pricingBreakdown"]["totalSats"]:
            raise Unreadable("the invoice of the work is not what it says the work costs")
    return cast(Job, parsed)


def answered(parsed: Mapping[str, Any]) -> Answered:
    """Return what was bought by the call."""
    fields.read("the answer", parsed, {"state": fields.word}, {**_JOB_MAY, **_ANSWERED_MAY})
    return cast(Answered, parsed)


def answered_on_session(parsed: Mapping[str, Any]) -> Answered:
    """Return a request on a session as it stands."""
    fields.read("the answer", parsed, {"requestId": fields.id_})
    if "debitedSats" in parsed:
        fields.read("the answer", parsed, {"balanceRemaining": fields.whole})
    return answered(parsed)


def session(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session's status."""
    fields.read(
        "the session", parsed, {"sessionId": fields.id_, "state": fields.word}, _SESSION_MAY
    )
    return dict(parsed)


def opened(parsed: Mapping[str, Any]) -> tuple[str, Invoice]:
    """Return the id of a session that was just opened, and the invoice of its deposit."""
    fields.read("the session", parsed, {"sessionId": fields.id_, "invoice": fields.invoice})
    return parsed["sessionId"], cast(Invoice, parsed["invoice"])


def topped_up(parsed: Mapping[str, Any]) -> Invoice:
    """Return the invoice of a top-up."""
    fields.read("the answer", parsed, {"topup": fields.invoice})
    return cast(Invoice, parsed["topup"])


def offered(parsed: Mapping[str, Any]) -> int:
    """Return what a 402 asks for, in sats."""
    fields.read("the offer", parsed, {"amountSats": fields.whole})
    return int(parsed["amountSats"])


def refunded(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a claim on a refund."""
    fields.read("the answer", parsed, {}, {"message": fields.text})
    return dict(parsed)


def progress(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a piece of what an agent writes, with what it has cost so far."""
    fields.read(
        "the progress", parsed, {}, {"outputTokens": fields.whole, "costSats": fields.whole}
    )
    return dict(parsed)


def quoted(parsed: Mapping[str, Any]) -> int:
    """Return what a batch would cost, in sats."""
    fields.read("the quote", parsed, {"priceSats": fields.whole})
    return int(parsed["priceSats"])


def models(parsed: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the models of a kind that are sold, with whether another one stands in for each."""
    listed = parsed.get(kind)
    if not isinstance(listed, list):
        fields.refuse(kind, "is no list")
    for model in listed:
        fields.read("the model", model, {"id": fields.text, "standsIn": fields.yes_or_no})
    return listed


def batch(parsed: Mapping[str, Any], batch_id: str, most: int) -> BatchShown:
    """Return a batch as it stands, which is the one that was asked for and has at most so many
    items; each stands at a place of its own."""
    fields.read("the batch", parsed, {"job": fields.mapping}, _BATCH_MAY)
    job = parsed["job"]
    fields.read(
        "the batch", job, {"id": fields.id_, "status": fields.word, "job_type": fields.word}
    )
    if job["id"] != batch_id:
        raise Unreadable("it answers with another batch than the one it was asked for")
    many = PLURALS.get(job["job_type"])
    if many is None:
        raise Unreadable("the batch is of no kind that is known here")
    counts = (f"total_{many}", f"succeeded_{many}", f"completed_{many}")
    fields.read("the batch", job, dict.fromkeys(counts, fields.whole))
    items = parsed.get(many)
    if not isinstance(items, list):
        fields.refuse(many, "is no list")
    for item in items:
        fields.read("the item", item, _ITEM, _ITEM_MAY)
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


def _breakdown(name: str, value: Any) -> None:
    fields.read(f"the {name}", value, _BREAKDOWN, {"priceNote": fields.text})


def _ledger(name: str, value: Any) -> None:
    fields.read(f"the {name}", value, _LEDGER)


def _refunds(name: str, value: Any) -> None:
    if not isinstance(value, list):
        fields.refuse(name, "is no list")
    for owed in value:
        fields.read(
            f"the {name}", owed, {"amountSats": fields.whole, "refundState": fields.word}, _OWED_MAY
        )


_ESTIMATE: dict[str, fields.Check] = {
    "evalSats": fields.whole,
    "workSats": fields.whole,
    "totalSats": fields.whole,
}
_BREAKDOWN: dict[str, fields.Check] = {
    "model": fields.text,
    "inputTokens": fields.whole,
    "maxOutputTokens": fields.whole,
    "tokenCostUsd": fields.dollars,
    "infraUsd": fields.dollars,
    "marginPct": fields.whole,
    "btcPriceUsd": fields.dollars,
    "priceSources": fields.texts,
    "totalSats": fields.whole,
}
_LEDGER: dict[str, fields.Check] = {
    "totalTokens": fields.whole,
    "workAmountSats": fields.whole,
    "actualAmountSats": fields.whole,
    "refundAmountSats": fields.whole,
}
_OWED_MAY: dict[str, fields.Check] = {"destination": fields.word, "lnurlWithdraw": fields.text}
_JOB: dict[str, fields.Check] = {"jobId": fields.id_, "state": fields.word}
_JOB_MAY: dict[str, fields.Check] = {
    "evalInvoice": fields.invoice,
    "workInvoice": fields.invoice,
    "invoice": fields.invoice,
    "costLedger": _ledger,
    "result": fields.text,
    "reason": fields.text,
    "errorMessage": fields.text,
    "refunds": _refunds,
}
_ANSWERED_MAY: dict[str, fields.Check] = {
    "jobId": fields.id_,
    "requestId": fields.id_,
    "debitedSats": fields.whole,
    "balanceRemaining": fields.whole,
}
_ITEM: dict[str, fields.Check] = {
    "id": fields.id_,
    "index_in_job": fields.whole,
    "status": fields.word,
}
_ITEM_MAY: dict[str, fields.Check] = {
    "media_type": fields.maybe,
    "sha256": fields.maybe,
    "error": fields.text,
}
_BATCH_MAY: dict[str, fields.Check] = {
    "priceSats": fields.whole,
    "chargedSats": fields.whole,
    "invoice": fields.invoice,
    "refunds": _refunds,
}
_SESSION_MAY: dict[str, fields.Check] = {
    "balanceSats": fields.whole,
    "macaroon": fields.text,
    "invoice": fields.invoice,
    "pendingTopup": fields.invoice,
    "refunds": _refunds,
}
