"""What Prometheus reads each time that it asks: prices, their sources, connections, loops.

No call is made for it, and nothing is kept: it is what this process knows already.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.loops.readiness import Readiness
from app.loops.switchboard import Switchboard
from app.ports import Clock, Prices
from db.engine import Database
from payments.rail import Rail
from pricing.money import usd_number


@dataclass(frozen=True, eq=False)
class Gauges(Collector):
    """The desk that Prometheus reads."""

    db: Database
    readiness: Readiness
    switchboard: Switchboard
    rail: Rail
    oracle: Prices
    clock: Clock

    def registry(self) -> CollectorRegistry:
        """Return what can be read now."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from self._prices()
        yield from self._connections()
        yield from self._beats()
        switches = GaugeMetricFamily(
            "boltwork_switch_on", "1 while the operator has not switched it off", labels=["switch"]
        )
        for name, on in self.switchboard.seen.items():
            switches.add_metric([name.value], int(on))
        yield switches
        push = "boltwork_rail_push_up", "1 while the rail tells of payments by itself"
        yield GaugeMetricFamily(*push, value=int(self.rail.push_is_up))

    def _beats(self) -> Iterator[Metric]:
        readiness = self.readiness
        well = GaugeMetricFamily(
            "boltwork_part_well", "1 while nothing is known to be wrong with it", labels=["part"]
        )
        for part in readiness.parts:
            well.add_metric([part], int(readiness.trouble(part) is None))
        turned = GaugeMetricFamily(
            "boltwork_loop_turned_seconds", "How long ago a loop finished a turn", labels=["loop"]
        )
        for name, beat in readiness.beats.items():
            turned.add_metric([name], beat.age_s)
        yield from (well, turned)
        heard = "boltwork_listener_heard_seconds", "How long ago Postgres answered the listener"
        yield GaugeMetricFamily(*heard, value=readiness.listener_age_s)
        took = "boltwork_worker_took_seconds", "How long ago a worker here got to the promises"
        yield GaugeMetricFamily(*took, value=readiness.worker_age_s if readiness.works else 0)
        oldest = "boltwork_promise_oldest_seconds", "How long the promise due longest has waited"
        yield GaugeMetricFamily(*oldest, value=readiness.pulse.waited_s if readiness.pulse else 0)

    def _prices(self) -> Iterator[Metric]:
        status, now = self.oracle.status(), self.clock()
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
        for pool, counts in self.db.pools().items():
            for family, count in zip((most, opened, used), counts, strict=True):
                family.add_metric([pool], count)
        given_up = CounterMetricFamily(
            "boltwork_database_connections_given_up",
            "Connections closed for being silent or of no more use",
            value=self.db.given_up,
        )
        yield from (most, opened, used, given_up)
