"""What a batch costs: each item in micro-USD, and their sum in msat, once, at a locked price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pricing.money import BtcPrice, MicroUsd, Msat, shares_of


@dataclass(frozen=True, slots=True)
class BatchQuote:
    """A price that is known before it is paid. It is never exceeded."""

    items_microusd: tuple[MicroUsd, ...]
    price: BtcPrice
    total_msat: Msat  # a whole number of sats
    expires_at: datetime

    @property
    def total_microusd(self) -> MicroUsd:
        """What all items cost."""
        return MicroUsd(sum(self.items_microusd))

    @property
    def shares_msat(self) -> list[int]:
        """What each item is charged when it is delivered: whole msat that add up to the total."""
        return shares_of(self.total_msat, self.items_microusd)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as they are kept with the batch."""
        return {
            "total_microusd": self.total_microusd,
            "total_msat": self.total_msat,
            "microusd_per_btc": self.price.microusd_per_btc,
            "price_at": self.price.at.isoformat(),
            "price_sources": list(self.price.sources),
            "price_note": self.price.note,
        }


def price_in(kept: Mapping[str, Any]) -> BtcPrice:
    """Return the bitcoin price of a quote, as it is kept with its batch."""
    return BtcPrice(
        MicroUsd(kept["microusd_per_btc"]),
        datetime.fromisoformat(kept["price_at"]),
        tuple(kept["price_sources"]),
        kept["price_note"],
    )


def make_batch_quote(
    items_microusd: Sequence[MicroUsd],
    price: BtcPrice,
    now: datetime,
    lasts_s: int,
    total_msat: Msat | None = None,
) -> BatchQuote:
    """Return what these items cost together. ValueError where one of them costs nothing.

    `total_msat`: what they cost in sats, where that is fixed and not what the dollars are worth.
    """
    if not items_microusd or min(items_microusd) <= 0:
        raise ValueError("every item of a batch has a price")
    if total_msat is None:
        total_msat = price.to_msat(sum(items_microusd))
    until = now + timedelta(seconds=lasts_s)
    return BatchQuote(tuple(items_microusd), price, total_msat, until)
