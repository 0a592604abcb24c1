"""Tells the log of the bitcoin price: when a source falls silent and why, when it is back, and when
no price can be named. Each is told once, when it changes.
"""

import structlog

from app.ports import Prices
from pricing.money import BtcPrice
from pricing.oracle import OracleStatus, PriceUnavailable

log = structlog.get_logger("boltwork.price")


class LoggedPrices:
    """An oracle whose changes are logged."""

    def __init__(self, oracle: Prices) -> None:
        self._oracle = oracle
        self._silent: dict[str, str] = {}  # source → why
        self._trouble = ""  # why there is no price, or no live one

    async def price(self) -> BtcPrice | PriceUnavailable:
        """See Prices."""
        price = await self._oracle.price()
        self._tell_of_sources()
        trouble = price.reason if isinstance(price, PriceUnavailable) else price.note
        if trouble != self._trouble:
            if isinstance(price, PriceUnavailable):
                log.error("price_unknown", reason=trouble)
            elif trouble:
                log.warning("price_not_live", reason=trouble)
            else:
                log.info("price_known", sources=len(price.sources))
            self._trouble = trouble
        return price

    async def healthy(self) -> PriceUnavailable | None:
        """See Prices."""
        price = await self.price()
        return price if isinstance(price, PriceUnavailable) else None

    def status(self) -> OracleStatus:
        """See Prices."""
        return self._oracle.status()

    async def close(self) -> None:
        """See Prices."""
        await self._oracle.close()

    def _tell_of_sources(self) -> None:
        for source in self._oracle.status().sources:
            before = self._silent.get(source.name, "")
            if source.error and not before:
                log.warning("price_source_silent", source=source.name, reason=source.error)
            elif before and not source.error:
                log.info("price_source_back", source=source.name)
            self._silent[source.name] = source.error
