"""Whether somebody can make a model just now: what can't be made must not be paid for."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.refusal import Refusal, Why, unavailable
from app.trade.availability import Availability
from app.trade.catalogue import NETWORK, Catalogue, Listed

AWAY_S = 30  # when to come back, while a maker is away


@dataclass(frozen=True, slots=True)
class Makers:
    """Who makes what is in the catalogue, as this process saw them last."""

    catalogue: Catalogue
    availability: Availability

    async def check(self, asked: Iterable[tuple[str, str]]) -> None:
        """Refuse with 503 a model that nobody can make now in its lane. Nobody is asked here."""
        for model, lane in sorted(set(asked)):
            listed = self.catalogue.get(model)
            if listed is None or not listed.is_open:
                continue
            if not (await self.availability.in_lanes(listed, [lane]))[lane]:
                raise _away(listed)


def _away(listed: Listed) -> Refusal:
    model = listed.offering.id
    sentence = (
        f"No worker that makes {model} is there just now"
        if listed.made_by == NETWORK
        else f"Who makes {model} can't be reached just now"
    )
    told = f"{sentence}, so it can't be bought. Nothing was charged."
    return unavailable(Why.NO_AGENT, told, AWAY_S)
