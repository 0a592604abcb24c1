"""The parts that `app.main` has put together, as the rest of `app` sees them: Protocols only."""

from collections.abc import Callable
from dataclasses import dataclass

from app.advance import Shell
from app.agents.agent import Agent
from app.agents.chat import Chat
from app.keys.credentials import Credentials
from app.ports import Clock, Destinations, Playground, Prices
from app.settings import Settings
from app.till import Till
from db.engine import Database
from db.promises import Outbox
from db.signals import Signals
from payments.rail import Rail, Wallets


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a handler, a keeper or a loop works with."""

    settings: Settings
    db: Database
    outbox: Outbox
    signals: Signals
    shell: Shell
    rail: Rail
    agent: Agent
    chat: Chat
    oracle: Prices
    destinations: Destinations
    till: Till
    credentials: Credentials
    clock: Clock
    new_id: Callable[[], str]  # 128 bits of chance, hex: whoever knows a job's id may read it
    wallets: Wallets | None  # the rail's own doors to open one after the other, where it can
    stub: Playground | None  # the stub rail's own doors, when there is one to play with
