"""Amounts, moments and states as a person reads them."""

import re
from datetime import UTC, datetime

from pricing.money import MICROUSD_PER_USD, MSAT_PER_SAT
from statemachine.entries import Asset
from statemachine.job import JobState
from statemachine.session import SessionState

REASONS = {
    "surplus": "what the work did not need",
    "not needed": "what was not needed",
    "not evaluated": "the request was not read",
    "not done": "the work was not done",
    "overpaid": "paid beyond the invoice",
    "unawaited": "paid when nothing was due",
    "change": "kept for routing, and not needed",
    "unspent": "what was left of the session",
}
HEADLINES = {
    JobState.AWAITING_EVAL_PAYMENT: (
        "Pay to have it read",
        "An agent reads your request as soon as this small invoice is paid, and names a price.",
    ),
    JobState.EVALUATING: ("An agent reads it", "It decides whether it can do this, and prices it."),
    JobState.REJECTED: ("Declined", "The agent read your request and does not take it."),
    JobState.AWAITING_WORK_PAYMENT: (
        "Pay for the work",
        "The agent takes it. This is the most it can cost; what is not needed goes back to you.",
    ),
    JobState.EXECUTING: ("The agent works", "It is paid for and under way."),
    JobState.COMPLETE: ("Done", "Here is your result."),
    JobState.FAILED: ("Not done", "What was paid for it and not used is yours."),
}
# What is said of a job that failed when nothing is owed back: was its reading paid for?
NOTHING_OWED = {
    True: "It was read, and ended before the work was paid for. Nothing else was taken.",
    False: "It ended before anything was paid, so there is nothing to take back.",
}
SESSION_WORDS = {
    SessionState.AWAITING_PAYMENT: (
        "It opens as soon as this is paid, and the balance is yours to spend or take back."
    ),
    SessionState.ACTIVE: "Open: requests are paid from its balance.",
    SessionState.PAUSED: "Paused: the balance is low. A top-up resumes it.",
    SessionState.EXPIRED: "Over. Nothing was left of it.",
}
STILL_RUNS = "Over. What still runs comes to its end first; what is left then goes back too."
NEVER_OPENED = "Its deposit was not paid in time, so it never opened."
LEFT = {True: "Over. What was left has gone back.", False: "Over. What was left is owed back."}
_CALL = re.compile(r"(?:GET|POST) /api/")


def sats(amount_msat: int) -> str:
    """Return an amount in sats, with what is left of a sat behind the point."""
    whole, rest = divmod(abs(amount_msat), MSAT_PER_SAT)
    sign = "−" if amount_msat < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest:03d}" if rest else "")


def usdc(amount_microusdc: int) -> str:
    """Return an amount in USDC, with its six places."""
    whole, rest = divmod(abs(amount_microusdc), MICROUSD_PER_USD)
    return f"{'−' if amount_microusdc < 0 else ''}{whole:,}.{rest:06d}"


def in_asset(amount: int, asset: Asset) -> str:
    """Return an amount of the books as it is told in its own asset."""
    return sats(amount) if asset is Asset.MSAT else usdc(amount)


def number(count: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{count:,}"


def usd(amount_microusd: int) -> str:
    """Return dollars, with as many places as they need and at least two."""
    whole, rest = divmod(amount_microusd, MICROUSD_PER_USD)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{places}"


def moment(at: datetime) -> str:
    """Return a moment, in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}, {at:%H:%M} UTC"


def clock(at: datetime) -> str:
    """Return the time of the day, in UTC."""
    return f"{at.astimezone(UTC):%H:%M} UTC"


def iso(at: datetime) -> str:
    """Return a moment as machines read it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in its largest unit."""
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def reason(name: str) -> str:
    """Return why something is owed."""
    return REASONS.get(name, name)


def for_people(said: str) -> str:
    """Return what is said without the sentences that name a call: a page has buttons for those."""
    return " ".join(part for part in re.split(r"(?<=[.!?])\s+", said) if not _CALL.search(part))


def plain(name: str) -> str:
    """Return a name of the code as words."""
    return name.replace("_", " ")


FILTERS = {
    "sats": sats,
    "in_asset": in_asset,
    "number": number,
    "usd": usd,
    "moment": moment,
    "clock": clock,
    "iso": iso,
    "ago": ago,
    "reason": reason,
    "plain": plain,
    "for_people": for_people,
}
