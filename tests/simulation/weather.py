"""What goes wrong, how often, and how often it did. In calm weather nothing goes wrong.

Each season makes some faults frequent and others rare, so that they meet in many mixtures.
"""

from collections import Counter
from collections.abc import Mapping
from random import Random

from tests.simulation.schedule import still_alive

# Of a thousand occasions, in an ordinary season.
RATES = {
    "crash": 6,
    "freeze": 4,
    "database: away before": 20,
    "database: cut in the middle": 20,
    "database: cut after commit": 30,
    "database: serialization failure": 20,
    "database: no answer to a read": 12,
    "database: another goes first": 150,
    "tasks: away before": 20,
    "tasks: cut after commit": 20,
    "tasks: lost": 0.5,
    "rail: slow": 200,
    "rail: refused": 30,
    "rail: no answer to create": 40,
    "rail: no answer to look-up": 40,
    "rail: gives an expired invoice up": 300,
    "rail: payment pending, settles": 150,
    "rail: payment pending, fails": 60,
    "rail: payment without an answer, settled": 60,
    "rail: payment without an answer, settles later": 200,
    "rail: payment without an answer, fails later": 50,
    "rail: payment without an answer, never sent": 80,
    "rail: unsent": 100,
    "rail: no route": 60,
    "rail: says failed, and it settles": 400,
    "rail: says absent, and it settles": 500,
    "facilitator: slow": 150,
    "facilitator: away": 80,
    "facilitator: declines what it would have settled": 60,
    "facilitator: settles, and no answer": 80,
    "facilitator: says failed, and it settled": 50,
    "facilitator: declines, and it settled": 40,
    "facilitator: names another amount": 40,
    "chain: no answer": 60,
    "chain: reorganised": 40,
    "push: lost": 150,
    "push: twice": 150,
    "push: channel down": 2,
    "agent: slow": 150,
    "agent: broke, again later": 150,
    "agent: broke for good": 80,
    "agent: broke after it was paid": 80,
    "agent: declines at work": 100,
    "agent: usage above the ceiling": 100,
    "agent: no usage": 60,
    "oracle: a source lies": 150,
    "oracle: a source is silent": 150,
    "oracle: all silent": 60,
    "destination: slow": 150,
    "destination: away": 150,
    "destination: refuses": 100,
    "destination: the invoice it gave before": 60,
    "destination: wrong amount": 30,
    "destination: expired": 30,
    "destination: an invoice of ours": 20,
    "store: away": 40,
    "store: put, and no answer": 40,
    "press: away": 40,
    "clock: jumps": 4,
}
DAYS_PASS = "time: days pass"
# Where people have accounts, and are told of things.
WITH_PEOPLE = {
    "chain: reorganised deeper than it is read": 30,
    "receiver: away": 150,
    "receiver: breaks": 150,
    "receiver: hangs": 250,
    "receiver: its answer is lost": 80,
    "receiver: wants no more": 30,
} | RATES
# And where others lend machines: in a week a worker is new no more.
WITH_LENDERS = WITH_PEOPLE | {
    "painter: away": 100,
    "painter: breaks": 100,
    DAYS_PASS: 3,  # in which nobody comes; but not soon after
}
SEASON_STEPS = 500


class Weather:
    """Decides about faults, and counts them."""

    def __init__(self, dice: Random, of: Mapping[str, float] = RATES) -> None:
        self._dice, self._of = dice, of
        self.calm = False
        self.counts: Counter[str] = Counter()
        self._rates: dict[str, float] = {}
        self.turn()

    def turn(self) -> None:
        """Begin another season."""
        self._rates = {
            name: rate / 1000 * self._dice.choice((0, 0.5, 1, 1, 2, 3))
            for name, rate in self._of.items()
        }

    def strikes(self, fault: str) -> bool:
        """Say whether this fault happens now. Raises Died for whoever sees no weather any more."""
        still_alive()
        if self.calm or self._dice.random() >= self._rates.get(fault, 0):
            return False
        self.counts[fault] += 1
        return True

    def pick(self, *faults: str) -> str | None:
        """Return which one of these faults happens now, if any."""
        return next((fault for fault in faults if self.strikes(fault)), None)
