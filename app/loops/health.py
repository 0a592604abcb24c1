"""Whether money moves through every part of this server, as its loops saw it last.

No part is asked because a caller looks.
"""

from dataclasses import dataclass
from typing import Any

from app.agents.agent import Agent
from app.agents.chat import Chat
from app.loops.readiness import Readiness
from app.loops.switchboard import Switchboard
from app.operator.books import Books, Review
from app.ports import UsdcRail
from app.strict_json import moment
from payments.rail import Rail


@dataclass(frozen=True, slots=True)
class Report:
    """How each part stands. `ill`: those without which a job could not be bought now."""

    body: dict[str, Any]
    ill: tuple[str, ...]
    is_leaving: bool  # this process ends soon, however well it is
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Health:
    """The desk that says whether this server is well."""

    readiness: Readiness
    switchboard: Switchboard
    books: Books
    rail: Rail
    agent: Agent
    chat: Chat
    usdc: UsdcRail | None

    def leave(self) -> None:
        """Say from now on that this server is not ready, however well it is: it ends soon."""
        self.readiness.is_leaving = True

    async def report(self) -> Report:
        """Return how each part stands, once each was looked at."""
        readiness = self.readiness
        await readiness.first_look()
        checks = self._checks()
        ill = tuple(name for name, check in checks.items() if check["status"] != "ok")
        body = {
            "status": "unavailable" if ill or readiness.is_leaving else "ok",
            **({"leaving": True} if readiness.is_leaving else {}),
            **checks,
            # Jobs can be bought without anybody who converses: that part makes nothing unready.
            "chat": _said(readiness.trouble("chat"), name=self.chat.name),
            **self._usdc(),
            "switches": {name.value: on for name, on in self.switchboard.seen.items()},
            "books": _books(self.books.latest),
        }
        return Report(body, ill, readiness.is_leaving, readiness.retry_after_s(*checks))

    def _usdc(self) -> dict[str, Any]:
        """Return how the second rail stands, where there is one: the first sells without it."""
        if self.usdc is None:
            return {}
        readiness, name = self.readiness, self.usdc.network.title
        return {
            "usdc": _said(readiness.trouble("usdc"), name=name),
            "deposits": _said(readiness.trouble("deposits"), name=name),
        }

    def _checks(self) -> dict[str, dict[str, Any]]:
        readiness, pulse = self.readiness, self.readiness.pulse
        waiting = {} if pulse is None else {"oldestWaitsS": round(pulse.waited_s, 1)}
        turns = {name: round(beat.age_s, 1) for name, beat in sorted(readiness.beats.items())}
        return {
            "database": _said(readiness.trouble("database")),
            "rail": _said(readiness.trouble("rail"), name=self.rail.name),
            "price": _said(readiness.trouble("price")),
            "agents": _said(readiness.trouble("agents"), name=self.agent.name),
            "promises": _said(readiness.keeper_trouble()) | waiting,
            "listener": _said(readiness.listener_trouble()),
            "loops": _said(readiness.stopped_loops()) | {"turnedS": turns},
        }


def _said(trouble: str | None, **more: Any) -> dict[str, Any]:
    if trouble is not None:
        return {"status": "unavailable", "reason": trouble}
    return {"status": "ok", **more}


def _books(review: Review | None) -> dict[str, Any]:
    """Return what the last review of the books found.

    A finding does not make this server unready: it is for a person to look at, and buyers who are
    sent away meanwhile could neither follow their jobs nor take their refunds.
    """
    if review is None:
        return {"status": "unknown"}
    count = len(review.findings)
    said = {"status": "wrong" if count else "ok", "findings": count}
    return said | {"reviewedAt": moment(review.at)}
