"""What Prometheus reads of the parts each time that it asks: prices, their sources, connections.

Nothing is asked of anybody for it, and nothing is kept: it is what the parts know by themselves.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.parts import Parts
from pricing.money import usd_number


def gauges_of(parts: Parts) -> CollectorRegistry:
    """Return what can be read of these parts now."""
    registry = CollectorRegistry()
    registry.register(_Gauges(parts))
    return registry


class _Gauges(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from self._prices()
        yield from self._connections()
        push = "boltwork_rail_push_up", "1 while the rail tells of payments by itself"
        yield GaugeMetricFamily(*push, value=int(self._parts.rail.push_is_up))

    def _prices(self) -> Iterator[Metric]:
        status, now = self._parts.oracle.status(), self._parts.clock()
        price = GaugeMetricFamily("boltwork_btc_price_usd", "The last price agreed on")
        age = GaugeMetricFamily("boltwork_btc_price_age_seconds", "How old that price is")
        if status.price is not None:
            price.add_metric([], usd_number(status.price.microusd_per_btc))
            age.add_metric([], (now - status.price.at).total_seconds())
        values = GaugeMetricFamily(
            "boltwork_price_source_usd", "What a source last said", labels=["source"]
        )
        ages = GaugeMetricFamily(
            "boltwork_price_source_age_seconds", "How long ago that was", labels=["source"]
        )
        failures = CounterMetricFamily(
            "boltwork_price_source_failures", "How often a source gave no price", labels=["source"]
        )
        for source in status.sources:
            failures.add_metric([source.name], source.failures)
            if source.answered_at is not None and source.microusd_per_btc is not None:
                values.add_metric([source.name], usd_number(source.microusd_per_btc))
                ages.add_metric([source.name], (now - source.answered_at).total_seconds())
        yield from (price, age, values, ages, failures)

    def _connections(self) -> Iterator[Metric]:
        most = GaugeMetricFamily(
            "boltwork_database_connections_most", "Connections at most, by pool", labels=["pool"]
        )
        opened = GaugeMetricFamily(
            "boltwork_database_connections_open", "Connections that are open", labels=["pool"]
        )
        used = GaugeMetricFamily(
            "boltwork_database_connections_used", "Of these, used just now", labels=["pool"]
        )
        for pool, counts in self._parts.db.pools().items():
            for family, count in zip((most, opened, used), counts, strict=True):
                family.add_metric([pool], count)
        yield from (most, opened, used)
