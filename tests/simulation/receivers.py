"""Servers of buyers who want to be told: they answer, refuse, hang, or say nothing."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from app.trade.webhooks import Webhooks
from db.webhooks import NewWebhook
from payments.public_http import Answer, Away, Refused
from statemachine.notice import Topic
from tests.simulation.weather import Weather

HOSTS = ("a", "b", "c")
Statuses = dict[int, set[int | None]]  # by the number of a try; None: there was no answer


class SimulatedReceivers:
    """Implements Receivers, and keeps what came and what was truly answered."""

    def __init__(self, weather: Weather, gate: Callable[[str], Awaitable[None]]) -> None:
        self._weather, self._gate = weather, gate
        self.came: dict[str, list[bytes]] = defaultdict(list)  # by the id of the notice
        self.answered: dict[str, Statuses] = defaultdict(lambda: defaultdict(set))

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer | Refused | Away:
        """See Receivers."""
        await self._gate("webhook post: before")
        notice_id, number = headers["webhook-id"], int(headers["X-Webhook-Attempt"])
        said = self._said(notice_id, body)
        self.answered[notice_id][number].add(said.status if isinstance(said, Answer) else None)
        while self._weather.strikes("receiver: hangs"):
            await self._gate("webhook post: hangs")
        await self._gate("webhook post: after")
        return said

    def _said(self, notice_id: str, body: bytes) -> Answer | Away:
        if self._weather.strikes("receiver: away"):
            return Away("nobody answers")
        self.came[notice_id].append(body)
        if self._weather.strikes("receiver: breaks"):
            return Answer(500, b"broken")
        if self._weather.strikes("receiver: wants no more"):
            return Answer(410, b"gone")
        if self._weather.strikes("receiver: its answer is lost"):
            return Away("it broke off its answer")
        return Answer(204, b"")

    async def close(self) -> None:
        """See Receivers."""


def wanted(dice: Random, desk: Webhooks, topic: Topic) -> NewWebhook | None:
    """Return where somebody wants to be told, if he does: several are told by one server."""
    if dice.random() < 0.6:
        return None
    return desk.ask(f"https://{dice.choice(HOSTS)}.hooks.example.org/told", None, topic)
