"""What an amount is worth in dollars, beside the sats that are paid: shown, and never booked."""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.house import House
from app.web.words import clock, moment
from pricing.money import MICROUSD_PER_USD, BtcPrice, split_usd

LEAST_MICROUSD = 100  # what is less is shown as less than this
FIXED = {
    "operator": "the operator’s fixed rate",
    "development": "an example rate",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """A bitcoin price as a page uses it."""

    price: BtcPrice
    now: datetime

    def worth(self, amount_msat: int) -> str:
        """Return an amount in dollars: in cents from ten cents on, else in hundredths of one."""
        microusd = self.price.to_microusd(abs(amount_msat))
        if 0 < microusd < LEAST_MICROUSD:
            return "less than $0.0001"
        whole, rest = split_usd(microusd)
        places = 2 if microusd * 10 >= MICROUSD_PER_USD else 4
        shown = f"{rest:06d}"[:places].rstrip("0").ljust(2, "0")
        return f"${whole:,}.{shown}"

    @property
    def origin(self) -> str:
        """Say which rate this is, and of which moment."""
        at = self.price.at.astimezone(UTC)
        when = clock(at) if at.date() == self.now.astimezone(UTC).date() else moment(at)
        fixed = next((FIXED[name] for name in self.price.sources if name in FIXED), None)
        return f"{fixed}, {when}" if fixed else f"rate of {when}"


async def rate_now(house: House) -> Rate | None:
    """Return the rate of this moment; None while there is none."""
    price = await house.till.price_if_any()
    return None if price is None else Rate(price, house.clock())
