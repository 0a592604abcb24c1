"""A post office for the tests: webhooks, their notices, and the time that passes between tries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from app import advance
from app.advance import Act, Shell, Terms
from app.keys import webhook_secrets
from app.promises.notices import SAID_BYTES, Notices
from app.trade.webhooks import Webhooks
from db import webhook_log
from db.engine import Database
from db.promises import Outbox, TryAgain
from db.webhook_log import Logged
from db.webhooks import NewWebhook, ToSend
from payments.public_http import PublicHttp
from payments.seal import Seal
from statemachine.notice import Topic
from statemachine.owner import Owner, OwnerKind
from statemachine.promises import Notify, Promise
from tests.simulation.database import living_in, prepare
from tests.world.clock import Clock

_MOVE = "UPDATE world.clock SET at = %(at)s"
SECRET = "a-secret-of-the-buyers"


@dataclass
class Plain:
    """Bodies that tell how often they were made."""

    made: int = 0
    breaks: bool = False

    async def payload_of(self, notice: ToSend) -> dict[str, Any]:
        """See Bodies."""
        self.made += 1
        if self.breaks:
            raise KeyError("something that is there no more")
        return {"event": notice.event, "made": self.made, "noticeId": notice.id}


@dataclass
class PostOffice:
    """The shell and the sender of notices over a real Postgres, and a clock that a test moves."""

    db: Database
    shell: Shell
    clock: Clock
    http: PublicHttp
    bodies: Plain = field(default_factory=Plain)
    seal: Seal = field(default_factory=lambda: Seal(("the operator's secret",)))
    number: int = 0

    @property
    def sender(self) -> Notices:
        """Return what keeps the promise."""
        return Notices(self.db, self.shell, self.http, self.bodies, self.seal, self.clock)

    @property
    def desk(self) -> Webhooks:
        """Return the desk of webhooks."""
        return Webhooks(self.db, self.shell, self.seal, self._new_id, allow_loopback=True)

    def _new_id(self) -> str:
        self.number += 1
        return f"{self.number:032x}"

    async def told(self, url: str, receiver: str, what: str = "complete") -> tuple[str, str]:
        """Have a new job's webhook hear of an event; return (webhook, job)."""
        webhook_id, job_id = self._new_id(), self._new_id()
        sealed = webhook_secrets.closed(self.seal, webhook_id, SECRET)
        webhook = NewWebhook(
            webhook_id, Topic.JOB, url, receiver, sealed, False, None, None, {"of": "mine"}
        )
        owner = Owner(OwnerKind.JOB, job_id)

        async def happen(act: Act) -> None:
            await advance.notices.register(act, owner, webhook)
            await advance.notices.tell(act, owner, what)

        await self.shell.do(happen)
        return webhook_id, job_id

    async def again(self, job_id: str, what: str) -> None:
        """Have a job's webhook hear of another event."""
        await self.shell.do(advance.notices.tell, Owner(OwnerKind.JOB, job_id), what)

    async def serve(self, receiver: str) -> float | None:
        """Send what is due; return how long the next waits, in seconds, where none was."""
        try:
            await self.sender.serve(receiver)
        except TryAgain as again:
            return again.after_s
        return None

    async def keep(self, promise: Promise, tries: int) -> None:
        """Keep a promise, as a worker does."""
        assert isinstance(promise, Notify)
        await self.sender.serve(promise.receiver)

    async def move_to(self, moment: datetime) -> None:
        """Let time pass until then, for Postgres too where it lives by the world's clock."""
        self.clock.now = moment
        await self.db.run("move", lambda tx: tx.execute(_MOVE, at=moment))

    async def log(self, webhook_id: str) -> list[Logged]:
        """Return what a webhook was told, the newest first."""
        return await webhook_log.of_webhook(self.db, webhook_id, 100)


@asynccontextmanager
async def office_in(db: Database, clock: Clock, at_once: int) -> AsyncIterator[PostOffice]:
    """Open a post office that may send to this machine, and waits a second for an answer."""
    outbox = Outbox(db)
    await outbox.open()
    http = PublicHttp(
        allow_loopback=True, timeout_s=1, most_bytes=SAID_BYTES, at_once=at_once, resolvers=at_once
    )
    yield PostOffice(db, Shell(db, outbox, Terms(), clock), clock, http)
    await http.close()
    await outbox.close()


@asynccontextmanager
async def world_of(database_url: str, at_once: int) -> AsyncIterator[PostOffice]:
    """Open one whose time, and that of Postgres, passes when a test says so."""
    prepare(database_url)
    db, clock = Database(living_in(database_url)), Clock()
    await db.open()
    async with office_in(db, clock, at_once) as office:
        await office.move_to(clock())
        yield office
    await db.close()


@pytest.fixture
async def post_office(db: Database) -> AsyncIterator[PostOffice]:
    """A post office in an empty database."""
    async with office_in(db, Clock(), 20) as office:
        yield office
