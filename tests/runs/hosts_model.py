"""A model of what a town costs and what is full in it first, fitted to one run and told of others.

It is a straight line: each side spends so much in a second in which nobody buys, and so much on
each thing that is bought. What is full first bounds how many are bought in a second.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

# A process of ours has one thread, and so one processor at most. Those of each host that sells:
OF_A_SELLER = ("server", "worker")
ALONE = ("balancer", "client", "store")
SELLERS = (*OF_A_SELLER, "painter", "beside")  # sides that each host that sells has
# What is spent in quiet seconds by those who ask, again and again, for what there is to do.
ASKED = ("leader", *SELLERS)
CPU = "CPU of "  # what a side's processor seconds are called, before its name

Spent = Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """`idle`: what is spent in a second in which nobody buys, with so many hosts that sell. `each`:
    what is spent on one of each kind, idle time apart. CPU is in seconds of a processor.
    """

    sellers: int
    idle: Spent
    each: Mapping[str, Spent]

    @classmethod
    def fitted(
        cls, sellers: int, idle: Spent, runs: Mapping[str, tuple[int, float, Spent]]
    ) -> Self:
        """Fit it to runs: of each kind how many were bought, in how many seconds, for how much."""
        each = {
            kind: {name: (spent[name] - idle.get(name, 0.0) * took_s) / count for name in spent}
            for kind, (count, took_s, spent) in runs.items()
        }
        return cls(sellers, dict(idle), each)

    def cost(self, mix: Mapping[str, float]) -> dict[str, float]:
        """Return what one costs, of a mix of which each kind has a share; idle time apart."""
        whole = sum(mix.values())
        names = {name for kind in mix for name in self.each[kind]}
        return {
            name: sum(share * self.each[kind].get(name, 0.0) for kind, share in mix.items()) / whole
            for name in sorted(names)
        }

    def busy(self, sellers: int) -> dict[str, float]:
        """Return what is spent in a second in which nobody buys, with so many hosts that sell."""
        times = sellers / self.sellers
        return {
            name: spent * (times if _is_asked(name) else 1.0) for name, spent in self.idle.items()
        }

    def with_idle(self, mix: Mapping[str, float], sellers: int, rate: float) -> dict[str, float]:
        """Return what one costs where so many are bought in a second: its share of the idle time,
        too."""
        cost, idle = self.cost(mix), self.busy(sellers)
        return {name: spent + idle.get(name, 0.0) / rate for name, spent in cost.items()}

    def fullest(
        self, mix: Mapping[str, float], sellers: int, processors: float
    ) -> tuple[float, str]:
        """Return how many can be bought in a second, and what is full then, where all that sells,
        and all that it stands on, and who buys share so many processors."""
        cost, idle = self.cost(mix), self.busy(sellers)
        bounds = [
            (_rate(processors, sum(_cpu(idle).values()), sum(_cpu(cost).values())), "the machine")
        ]
        for side in (*OF_A_SELLER, *ALONE):
            places = sellers if side in OF_A_SELLER else 1
            spent = cost.get(CPU + side, 0.0), idle.get(CPU + side, 0.0)
            bounds.append((_rate(places, spent[1], spent[0]), side))
        return min(bounds)

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def _is_asked(name: str) -> bool:
    return not name.startswith(CPU) or name.removeprefix(CPU) in ASKED


def _cpu(spent: Spent) -> dict[str, float]:
    return {name: value for name, value in spent.items() if name.startswith(CPU)}


def _rate(places: float, idle: float, each: float) -> float:
    return max(0.0, places - idle) / each if each > 0 else float("inf")
