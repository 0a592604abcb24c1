"""Servers of buyers who want to be told: they answer, refuse, or say nothing."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from payments.public_http import Answer, Away, Refused
from tests.simulation.weather import Weather


class SimulatedReceivers:
    """Implements Receivers, and keeps what came."""

    def __init__(self, weather: Weather, gate: Callable[[str], Awaitable[None]]) -> None:
        self._weather, self._gate = weather, gate
        self.came: dict[str, list[bytes]] = defaultdict(list)  # by the id of the notice

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer | Refused | Away:
        """See Receivers."""
        await self._gate("receiver: before")
        if self._weather.strikes("receiver: away"):
            return Away("nobody answers")
        self.came[headers["webhook-id"]].append(body)
        await self._gate("receiver: after")
        if self._weather.strikes("receiver: breaks"):
            return Answer(500, b"broken")
        if self._weather.strikes("receiver: wants no more"):
            return Answer(410, b"gone")
        if self._weather.strikes("receiver: its answer is lost"):
            return Away("it broke off its answer")
        return Answer(204, b"")

    async def close(self) -> None:
        """See Receivers."""
