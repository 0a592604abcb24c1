"""Whether who makes a model can be asked just now: what can't be made must not be paid for."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.loops.readiness import maker
from app.refusal import Why, unavailable
from app.trade.catalogue import Catalogue

AWAY_S = 30  # when to come back, while a maker is away


@dataclass(frozen=True, slots=True)
class Makers:
    """The makers of the catalogue, as this process saw them last. Nobody is asked here."""

    catalogue: Catalogue
    trouble: Callable[[str], str | None]  # of a part of readiness

    def check(self, models: Collection[str]) -> None:
        """Refuse with 503 a model whose maker is away."""
        for model in sorted(set(models)):
            name = self.catalogue.maker_of(model)
            if name and self.trouble(maker(name)) is not None:
                raise unavailable(
                    Why.NO_AGENT,
                    f"Who makes {model} can't be reached just now, so it can't be bought. Nothing"
                    " was charged.",
                    AWAY_S,
                )
