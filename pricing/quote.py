"""Estimate → Quote; usage → Charge; paid - charged → surplus.

A quote is a promise: what is charged never exceeds it, and its bitcoin price is used for the
charge and the refund too. Its size comes from measured input and a token ceiling, nothing else.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pricing.money import BtcPrice, MicroUsd, Msat, ceil_div
from pricing.rates import TOKENS_PER_MTOK, RateCard, Usage

# Byte-level tokenizers never make more tokens than bytes. English is near four bytes a token, but
# emoji, rare letters and control characters do reach one.
BYTES_PER_TOKEN_FLOOR = 1
# What a call adds: our instructions, the tool's schema, and some 350 of the maker's own for tools.
INSTRUCTION_TOKENS = 1_000


def token_ceiling(request: str) -> int:
    """Return how many tokens a call that reads `request` is priced for before it is measured."""
    return INSTRUCTION_TOKENS + ceil_div(len(request.encode()), BYTES_PER_TOKEN_FLOOR)


@dataclass(frozen=True, slots=True)
class Quote:
    """A firm price: its items, unit prices and the locked bitcoin price. Amounts are ceilings."""

    model: str
    input_tokens: int
    max_output_tokens: int
    input_microusd_per_mtok: int
    output_microusd_per_mtok: int
    infra_microusd: int
    margin_pct: int
    cost_microusd: MicroUsd  # tokens alone
    charge_microusd: MicroUsd  # tokens + infra + margin
    price: BtcPrice
    total_msat: Msat
    expires_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, integers only; `from_json` reads them back."""
        fields = {name: getattr(self, name) for name in _PLAIN}
        return fields | {
            "price": {
                "microusd_per_btc": self.price.microusd_per_btc,
                "at": self.price.at.isoformat(),
                "sources": list(self.price.sources),
                "note": self.price.note,
            },
            "expires_at": self.expires_at.isoformat(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Quote":
        """Return the quote that `to_json` wrote."""
        price = stored["price"]
        return cls(
            **{name: stored[name] for name in _PLAIN},
            price=BtcPrice(
                microusd_per_btc=MicroUsd(price["microusd_per_btc"]),
                at=datetime.fromisoformat(price["at"]),
                sources=tuple(price["sources"]),
                note=price["note"],
            ),
            expires_at=datetime.fromisoformat(stored["expires_at"]),
        )


_PLAIN = (
    "model",
    "input_tokens",
    "max_output_tokens",
    "input_microusd_per_mtok",
    "output_microusd_per_mtok",
    "infra_microusd",
    "margin_pct",
    "cost_microusd",
    "charge_microusd",
    "total_msat",
)


@dataclass(frozen=True, slots=True)
class Charge:
    """What the work truly cost, and what of the payment is owed back."""

    usage: Usage
    cost_microusd: MicroUsd  # tokens alone
    charge_microusd: MicroUsd  # tokens + infra + margin, before the ceiling of the quote
    total_msat: Msat  # never above the quote
    surplus_msat: Msat  # paid - charged, never negative


def make_quote(
    card: RateCard,
    model: str,
    input_tokens: int,
    max_output_tokens: int,
    price: BtcPrice,
    now: datetime,
    ttl_s: int,
) -> Quote:
    """Price a call by what it will read and the most it may write. UnknownModel when unpriced."""
    if input_tokens < 0 or max_output_tokens < 0:
        raise ValueError("a call cannot read or write less than nothing")
    rate = card.rate(model, now.date())
    cost = token_cost(
        input_tokens,
        max_output_tokens,
        rate.input_microusd_per_mtok,
        rate.output_microusd_per_mtok,
    )
    charge_microusd = with_overheads(cost, card.infra_microusd, card.margin_pct)
    return Quote(
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        input_microusd_per_mtok=rate.input_microusd_per_mtok,
        output_microusd_per_mtok=rate.output_microusd_per_mtok,
        infra_microusd=card.infra_microusd,
        margin_pct=card.margin_pct,
        cost_microusd=cost,
        charge_microusd=charge_microusd,
        price=price,
        total_msat=price.to_msat(charge_microusd),
        expires_at=now + timedelta(seconds=ttl_s),
    )


def make_charge(quote: Quote, usage: Usage, paid_msat: int) -> Charge:
    """Price what was really used, at the quote's own rates and bitcoin price.

    Never more than the quote nor than was paid: usage above the ceiling is our loss.
    """
    if paid_msat < 0:
        raise ValueError("nobody pays less than nothing")
    cost = token_cost(
        usage.input_tokens,
        usage.output_tokens,
        quote.input_microusd_per_mtok,
        quote.output_microusd_per_mtok,
    )
    charge_microusd = with_overheads(cost, quote.infra_microusd, quote.margin_pct)
    total = min(quote.price.to_msat(charge_microusd), quote.total_msat, paid_msat)
    return Charge(usage, cost, charge_microusd, Msat(total), Msat(paid_msat - total))


def used_msat(quote: Quote, usage: Usage) -> Msat:
    """Return what a call costs whose whole ceiling was set aside."""
    return make_charge(quote, usage, quote.total_msat).total_msat


def token_cost(input_tokens: int, output_tokens: int, paid_in: int, paid_out: int) -> MicroUsd:
    """Return what tokens cost at these prices of a million, rounded up."""
    return MicroUsd(ceil_div(input_tokens * paid_in + output_tokens * paid_out, TOKENS_PER_MTOK))


def with_overheads(cost_microusd: int, infra_microusd: int, margin_pct: int) -> MicroUsd:
    """Return a cost with that of the machine and the margin, rounded up."""
    return MicroUsd(ceil_div((cost_microusd + infra_microusd) * (100 + margin_pct), 100))
