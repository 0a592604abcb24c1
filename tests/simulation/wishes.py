"""What the holders of sessions truly asked for: what the auditor knows and our rows must not."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wish:
    """One request, as its sender meant it."""

    session_id: str | None
    most_msat: int | None  # of this one, whoever limited it
    links: tuple[str, ...]  # of the credentials whose budgets it spends


@dataclass(frozen=True)
class Order(Wish):
    """One batch, as its buyer meant it; no session: an invoice pays for it."""

    prices_microusd: tuple[int, ...] = ()  # of its items, in their order
    in_usdc: bool = False
    account_id: str | None = None  # that pays, in what it has enough of
    spell: str | None = None  # whose cast it is; the prices are those of its steps


@dataclass
class Wishes:
    """Everything that anybody asked of a session, or of a batch."""

    orders: dict[str, Order] = field(default_factory=dict)  # by the tag in its items' words
    requests: dict[str, Wish] = field(default_factory=dict)  # by the request's own words
    limits: dict[str, int] = field(default_factory=dict)  # msat, by a credential's link
    # What keys may spend, in msat and in millionths of a USDC, by their names.
    keys: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)  # sessions that somebody wanted closed
    # What a call was said to have cost, by the name of its hold.
    costs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
