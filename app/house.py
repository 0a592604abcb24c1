"""The desks and what stands beside them, as the doors see them: put together in app/main.py."""

from dataclasses import dataclass, field

from app.loops.readiness import Readiness
from app.loops.turns import Loops
from app.parts import Parts
from app.promises.keeping import Keeper
from app.till import Till
from app.trade.asks import Asks
from app.trade.chats import Chats
from app.trade.demos import Demos
from app.trade.holds import Holds
from app.trade.orders import Orders
from app.trade.refunds import Refunds
from app.trade.sessions import Sessions
from app.watch.remembered import Remembered
from app.watch.streams import Streams
from app.watch.waiting import Waiting


@dataclass(frozen=True, slots=True)
class House:
    """What a door is given."""

    parts: Parts
    keeper: Keeper
    loops: Loops
    orders: Orders
    asks: Asks
    sessions: Sessions
    holds: Holds
    chats: Chats
    demos: Demos
    refunds: Refunds
    till: Till
    waiting: Waiting
    streams: Streams
    remembered: Remembered = field(default_factory=Remembered)

    @property
    def readiness(self) -> Readiness:
        """What this process has seen lately of its parts."""
        return self.loops.readiness
