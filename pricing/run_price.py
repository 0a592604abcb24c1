"""What one run of a tool costs, in whole micro-USD: a closed list that a client can compute.

Each price is known before anything is made, and has a maximum. Of tokens the maximum is what is
paid; what was not used goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pricing.money import MicroUsd, ceil_div, usd_number
from pricing.quote import token_ceiling, token_cost, with_overheads
from pricing.rates import RateCard, Usage

MEGAPIXEL: Final = 1_000_000
BYTES_A_CHARACTER: Final = 4  # at most, in UTF-8


@dataclass(frozen=True, slots=True)
class PerRun:
    """The same for every run."""

    microusd: MicroUsd

    @property
    def least_microusd(self) -> MicroUsd:
        """What a run costs at least."""
        return self.microusd

    @property
    def most_microusd(self) -> MicroUsd:
        """What a run costs at most."""
        return self.microusd

    def of(self, inputs: Mapping[str, Any]) -> MicroUsd:
        """Return what a run with these inputs costs."""
        return self.microusd

    def to_json(self) -> dict[str, Any]:
        """Return it as a client reads it."""
        return {"type": "per_run", "usd": usd_number(self.microusd)}


@dataclass(frozen=True, slots=True)
class PerMegapixelStep:
    """By the million pixels of the result and the passes over them, within two bounds."""

    microusd: MicroUsd
    least_microusd: MicroUsd
    most_microusd: MicroUsd

    def of(self, inputs: Mapping[str, Any]) -> MicroUsd:
        """Return what a run with these inputs costs."""
        work = inputs["width"] * inputs["height"] * max(1, inputs.get("steps", 1))
        microusd = ceil_div(work * self.microusd, MEGAPIXEL)
        return MicroUsd(min(self.most_microusd, max(self.least_microusd, microusd)))

    def to_json(self) -> dict[str, Any]:
        """Return it as a client reads it."""
        return {
            "type": "per_megapixel_step",
            "usd": usd_number(self.microusd),
            "leastUsd": usd_number(self.least_microusd),
            "mostUsd": usd_number(self.most_microusd),
        }


@dataclass(frozen=True, slots=True)
class Tokens:
    """By the tokens that a model reads and writes, with the house's own costs and margin."""

    model: str
    input_microusd_per_mtok: int
    output_microusd_per_mtok: int
    infra_microusd: int
    margin_pct: int
    most_characters: int  # of a text
    most_tokens: int  # that may be written

    @property
    def least_microusd(self) -> MicroUsd:
        """What a run is priced at that has nothing to read, and writes one token."""
        return self._charge(token_ceiling(""), 1)

    @property
    def most_microusd(self) -> MicroUsd:
        """What a run costs at most."""
        longest = token_ceiling("") + self.most_characters * BYTES_A_CHARACTER
        return self._charge(longest, self.most_tokens)

    def of(self, inputs: Mapping[str, Any]) -> MicroUsd:
        """Return the maximum for these inputs: no text of this size can have more tokens."""
        return self._charge(token_ceiling(inputs["prompt"]), inputs["max_tokens"])

    def used(self, usage: Usage) -> MicroUsd:
        """Return what this usage costs."""
        return self._charge(usage.input_tokens, usage.output_tokens)

    def _charge(self, read: int, written: int) -> MicroUsd:
        rates = self.input_microusd_per_mtok, self.output_microusd_per_mtok
        cost = token_cost(read, written, *rates)
        return MicroUsd(max(1, with_overheads(cost, self.infra_microusd, self.margin_pct)))

    def to_json(self) -> dict[str, Any]:
        """Return it as a client reads it."""
        return {
            "type": "tokens",
            "model": self.model,
            "inputUsdPerMillionTokens": usd_number(self.input_microusd_per_mtok),
            "outputUsdPerMillionTokens": usd_number(self.output_microusd_per_mtok),
            "infraUsd": usd_number(self.infra_microusd),
            "marginPct": self.margin_pct,
            "mostUsd": usd_number(self.most_microusd),
        }


def token_price(
    card: RateCard, model: str, day: date, most_characters: int, most_tokens: int
) -> Tokens:
    """Return what a model's tokens cost on a day, by the house's rates."""
    rate = card.rate(model, day)
    return Tokens(
        model,
        rate.input_microusd_per_mtok,
        rate.output_microusd_per_mtok,
        card.infra_microusd,
        card.margin_pct,
        most_characters,
        most_tokens,
    )


RunPrice = PerRun | PerMegapixelStep | Tokens
