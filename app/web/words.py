"""Amounts, moments and states as a person reads them."""

import re
from datetime import UTC, datetime

from pricing.money import sats_text, split_usd
from statemachine.entries import Asset
from statemachine.owner import Reason, named
from statemachine.session import SessionState

SESSION_HEADS = {
    SessionState.AWAITING_PAYMENT: "Pay the deposit",
    SessionState.ACTIVE: "Balance",
    SessionState.PAUSED: "Low balance",
    SessionState.EXPIRED: "Session closed",
}
SESSION_WORDS = {
    SessionState.AWAITING_PAYMENT: (
        "The session opens once this is paid. You can spend the balance, or take it back."
    ),
    SessionState.ACTIVE: "Requests are paid from this balance.",
    SessionState.PAUSED: "Paused: top up to make more requests.",
    SessionState.EXPIRED: "Nothing was left on its balance.",
}
STILL_RUNS = "Requests under way are finished first; the rest of the balance is refunded then."
NEVER_OPENED = "The deposit wasn’t paid in time, so this session never opened."
LEFT = {
    True: "The rest of its balance has been refunded.",
    False: "The rest of its balance is waiting to be refunded.",
}
MODELS = {"smollm2-135m-instruct": "SmolLM2-135M, a very small model on this server,"}
_FIELD = re.compile(r"The field '[^']{1,40}'")
_CALL = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /api/")


def sats(amount_msat: int) -> str:
    """Return an amount in sats, with what is left of a sat behind the point."""
    return sats_text(amount_msat).replace("-", "−")


def usdc(amount_microusdc: int) -> str:
    """Return an amount in USDC, with its six places."""
    whole, rest = split_usd(abs(amount_microusdc))
    return f"{'−' if amount_microusdc < 0 else ''}{whole:,}.{rest:06d}"


def in_asset(amount: int, asset: Asset) -> str:
    """Return an amount of the books in the unit of its asset."""
    return sats(amount) if asset is Asset.MSAT else usdc(amount)


def with_unit(amount: int, asset: Asset) -> str:
    """Return an amount with the unit of its asset behind it."""
    return f"{in_asset(amount, asset)} {'sats' if asset is Asset.MSAT else 'USDC'}"


def number(count: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{count:,}"


def usd(amount_microusd: int) -> str:
    """Return dollars, with as many places as they need and at least two."""
    whole, rest = split_usd(amount_microusd)
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


def lasting(milliseconds: int) -> str:
    """Return how long something took, in its two largest units."""
    if milliseconds < 9_950:
        return f"{max(1, round(milliseconds / 100)) / 10:.1f} s"
    seconds = round(milliseconds / 1_000)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def time_until(seconds: int) -> str:
    """Return when something is possible again, in words."""
    if seconds <= 60:
        return "in a minute"
    if seconds <= 90 * 60:
        return f"in {-(-seconds // 60)} minutes"
    if seconds < 86_400:
        return f"in {-(-seconds // 3_600)} hours"
    return "tomorrow"


def reason(name: str) -> str:
    """Return why something is owed."""
    return Reason(name).sentence


def what(name: str) -> str:
    """Return what of its owner's an invoice or a payout is."""
    return named(name).what


def for_people(said: str) -> str:
    """Return what is said without the sentences that name a call, and without a field's name in
    the API: a page has buttons and labels for those."""
    said = _FIELD.sub("This", said)
    return " ".join(part for part in re.split(r"(?<=[.!?])\s+", said) if not _CALL.search(part))


def model(name: str) -> str:
    """Return which model that is, where its name alone misleads."""
    return MODELS.get(name, name)


def plain(name: str) -> str:
    """Return a name of the code as words."""
    return name.replace("_", " ")


FILTERS = {
    "sats": sats,
    "in_asset": in_asset,
    "usdc": usdc,
    "with_unit": with_unit,
    "number": number,
    "usd": usd,
    "moment": moment,
    "clock": clock,
    "iso": iso,
    "ago": ago,
    "lasting": lasting,
    "reason": reason,
    "what": what,
    "plain": plain,
    "model": model,
    "for_people": for_people,
}
