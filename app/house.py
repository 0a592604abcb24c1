"""The desks and what stands beside them, as the doors see them: put together in app/main.py.

Only doors import it. They read rows by themselves; whatever writes is a desk's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from app.artifacts.keeping import Artifacts
from app.http.batch_status import BatchShapes
from app.http.caller import Callers
from app.http.job_status import Shapes
from app.http.paywall import Paywall
from app.http.session_rights import Doorkeeper
from app.http.throttle import Throttle
from app.http.usdc_door import UsdcDoor
from app.http.visitors import Visitors
from app.keys.credentials import Credentials
from app.loops.booking import Booking
from app.loops.gauges import Gauges
from app.loops.health import Health
from app.operator.overseeing import Overseeing
from app.ports import Clock, Playground
from app.settings import Settings
from app.till import Till
from app.trade.accounts import Accounts
from app.trade.asks import Asks
from app.trade.availability import Availability
from app.trade.batches import Batches
from app.trade.catalogue import Catalogue
from app.trade.chats import Chats
from app.trade.connecting import Connecting
from app.trade.demos import Demos
from app.trade.histories import Histories
from app.trade.holds import Holds
from app.trade.keys import Keys
from app.trade.lenders import Lenders
from app.trade.lending import Lending
from app.trade.lightning_logins import LightningLogins
from app.trade.logins import Logins
from app.trade.network import Network
from app.trade.orders import Orders
from app.trade.proofs import Proofs
from app.trade.receipts import Receipts
from app.trade.refunds import Refunds
from app.trade.runtimes import Runtimes
from app.trade.sessions import Sessions
from app.trade.spells import Spells
from app.trade.stock_workers import StockWorkers
from app.trade.wallet_logins import WalletLogins
from app.trade.webhooks import Webhooks
from app.watch.remembered import Remembered
from app.watch.streams import Streams
from app.watch.waiting import Waiting
from db.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a door is given."""

    # the desks
    accounts: Accounts
    histories: Histories
    lenders: Lenders
    lending: Lending
    network: Network
    orders: Orders
    asks: Asks
    batches: Batches
    catalogue: Catalogue
    availability: Availability
    runtimes: Runtimes
    artifacts: Artifacts
    sessions: Sessions
    spells: Spells
    holds: Holds
    chats: Chats
    demos: Demos
    refunds: Refunds
    receipts: Receipts
    webhooks: Webhooks
    till: Till
    # who asks, how often, and how they are answered
    throttle: Throttle
    callers: Callers
    logins: Logins
    keys: Keys
    connecting: Connecting
    wallet_logins: WalletLogins
    proofs: Proofs
    lightning_logins: LightningLogins
    visitors: Visitors
    doorkeeper: Doorkeeper
    paywall: Paywall
    usdc: UsdcDoor | None  # where something is sold for USDC
    shapes: Shapes
    batch_shapes: BatchShapes
    # who waits, and what they wait for
    waiting: Waiting
    streams: Streams
    remembered: Remembered
    booking: Booking
    # what is looked at, and shown
    db: Database
    overseeing: Overseeing
    health: Health
    gauges: Gauges
    credentials: Credentials
    settings: Settings
    clock: Clock
    new_id: Callable[[], str]
    stub: Playground | None  # the stub rail's own doors, when there is one to play with

    @property
    def stock_workers(self) -> StockWorkers:
        """Return the second door of those who lend machines: another network's dialect."""
        return StockWorkers(self.lending, self.artifacts.store, self.credentials.seal)

    @property
    def settling(self) -> list[asyncio.Task[None]]:
        """Return the orders in USDC whose buyers were answered, or have gone, before the end of it.

        They are waited for at the end, as long as the facilitator may take.
        """
        return [*self.usdc.sales.unfinished] if self.usdc is not None else []


def house_of(request: Request) -> House:
    """Return the house that a request came to."""
    house: House = request.app.state.house
    return house
