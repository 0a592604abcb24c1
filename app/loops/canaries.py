"""What workers have made of canaries is compared with what the house makes of them; and whoever had
junk of a worker that failed one has back what that has forfeited.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock, Executor, Made, NotNow, Recoded, Recoder, Unfit
from app.promises.leases import wish
from db import amends, canaries
from db.canaries import Brought
from db.engine import Database
from statemachine import canary as law
from statemachine.item import ItemState

MOST: Final = 20
PAUSE_S: Final = 2.0
GIVEN_UP: Final = timedelta(days=1)  # what the house could not make by then is compared no more

log = structlog.get_logger("boltwork.canaries")


class Canaries:
    """Judges canaries, and makes amends."""

    def __init__(
        self,
        db: Database,
        shell: Shell,
        makers: Mapping[str, Executor],  # by the models that they make always in the same way
        recoder: Recoder,
        clock: Clock,
    ) -> None:
        self._db, self._shell, self._makers = db, shell, makers
        self._recoder, self._clock = recoder, clock

    async def turn(self) -> None:
        """Judge what was brought, and make what amends are due."""
        for brought in await canaries.due(self._db, MOST):
            event = await self._judged(brought)
            if event is not None:
                await self._shell.do(advance.canaries.judge, brought.item_id, event)
        for row in await amends.due(self._db, MOST):
            await self._shell.do(advance.amends.make, row.id, row.batch_id)

    async def _judged(self, brought: Brought) -> law.Event | None:
        """Return what a canary comes to; None: the house can't say just now."""
        maker = self._makers.get(str(brought.asked.get("model")))
        if brought.state is not ItemState.COMPLETED or maker is None:
            return law.Voided()
        try:
            ours = await self._made(maker, brought)
        except Exception as error:
            log.warning("canary_broke", executor=maker.name, error=type(error).__name__)
            ours = NotNow("The house could not make it.")
        if isinstance(ours, NotNow):
            late = self._clock() - brought.created_at >= GIVEN_UP
            return law.Voided() if late else None
        if isinstance(ours, Unfit):
            return law.Voided()
        return law.judged(brought.look, ours.look)

    async def _made(self, maker: Executor, brought: Brought) -> Recoded | Unfit | NotNow:
        """Return what the house makes of the same words with the same seed."""
        away = await maker.healthy()
        if away is not None:
            return NotNow(away.reason)
        made = await maker.make(wish(brought.asked))
        if isinstance(made, Made):
            return await self._recoder.recode(made.data, made.media_type)
        return Unfit(made.reason)
