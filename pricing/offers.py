"""What an operator sells of others' pictures and films: a name, a price, and the maker's own name.

Prices are whole micro-USD: of one picture, or of each second of a film.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pricing.money import MicroUsd, seconds_up, usd_to_microusd

FORM: Final = "name=price or name=price/s, or name=price@name-at-the-maker"
_ITEM: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]{0,63})"
    r"=(?P<usd>[0-9]{1,4}(?:\.[0-9]{1,6})?)(?P<film>/s)?"
    r"(?:@(?P<theirs>[!-+\--~]{1,200}))?",
)


@dataclass(frozen=True, slots=True)
class Offer:
    """One model that is sold."""

    name: str  # in the catalogue
    price_microusd: MicroUsd  # of a picture, or of a second of a film
    is_film: bool
    theirs: str  # as the maker calls it

    def of(self, duration_ms: int) -> MicroUsd:
        """Return the price of one piece: a picture, or each second of a film that has begun."""
        return MicroUsd(self.price_microusd * (seconds_up(duration_ms) if self.is_film else 1))


def parse_offers(text: str) -> tuple[Offer, ...]:
    """Read `name=price[/s][@name-at-the-maker]` items, in dollars, parted by commas.

    `flux-dev=0.02,wan=0.05/s@wan-2.6`: a picture, and a second of a film. Raises ValueError.
    """
    offers = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        read = _ITEM.fullmatch(item)
        if read is None:
            raise ValueError(f"can't be read: write {FORM}")
        price_microusd = usd_to_microusd(Decimal(read["usd"]))  # of six digits: whole
        offers.append(
            Offer(read["name"], price_microusd, bool(read["film"]), read["theirs"] or read["name"])
        )
    if len({offer.name for offer in offers}) < len(offers):
        raise ValueError("names a model twice")
    return tuple(offers)
