"""What is sold by the call, and what one of it costs: one list, made of the catalogue and the till.

Whatever tells strangers a price is made of it: the contract, the manifests, and what models read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from app.house import House
from app.http.fields import MOST_CHARACTERS
from app.trade.catalogue import Kind, Listed, Offering, Surface
from app.trade.tiers import TIERED
from pricing.money import MicroUsd, msat_to_sats, usd_number, usd_text
from statemachine.batch import MOST_ITEMS

Node = dict[str, Any]


class Sells(StrEnum):
    """What is sold by an operation: the contract says it of each that has a price."""

    ASK = "ask"  # an agent's answer
    BATCHES = "batches"
    IMAGES = "images"
    FILMS = "films"
    TIERS = "tiers"  # a picture, for credits
    TOOLS = "tools"
    SPELLS = "spells"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is sold, and what one of it costs at least and at most."""

    id: str
    description: str
    costing: Node  # as a client computes its price
    least_microusd: MicroUsd
    most_microusd: MicroUsd

    def to_json(self) -> Node:
        """Return it as it is told everywhere."""
        return {"id": self.id, "description": self.description, "price": self.costing}


@dataclass(frozen=True, slots=True)
class PriceList:
    """All lines, by what they are sold as. Of spells, which others write, there is none: their
    marketplace lists them."""

    lines: dict[Sells, list[Line]]

    def of(self, sells: str) -> list[Node]:
        """Return the lines of an operation."""
        return [line.to_json() for line in self.lines[Sells(sells)]]

    def price(self, sells: str) -> Node:
        """Return between what the price of a call is, where that is known without what is asked."""
        price: Node = {"mode": "dynamic", "currency": "USD"}
        lines, most_items = self.lines[Sells(sells)], 1
        if not lines or sells == Sells.ASK:
            return price
        if sells == Sells.BATCHES:
            most_items = MOST_ITEMS
        least = min(line.least_microusd for line in lines)
        most = max(line.most_microusd for line in lines) * most_items
        if least == most:
            return {**price, "mode": "fixed", "amount": usd_text(least)}
        return price | {"min": usd_text(least), "max": usd_text(most)}


def price_list(house: House) -> PriceList:
    """Return what is sold here now."""
    listed = house.catalogue.listed
    found = {
        Sells.ASK: [_agent(house)],
        Sells.BATCHES: [
            _line(each, Surface.BULK)
            for kind in (Kind.IMAGE, Kind.VIDEO)
            for each in listed(Surface.BULK, kind)
        ],
        Sells.IMAGES: _each(listed(Surface.GENERATIONS, Kind.IMAGE), Surface.GENERATIONS),
        Sells.FILMS: _each(listed(Surface.GENERATIONS, Kind.VIDEO), Surface.GENERATIONS),
        Sells.TIERS: list(_tiers(house)),
        Sells.TOOLS: _each(
            (each for each in house.catalogue.tools() if each.is_open), Surface.TOOLS
        ),
        Sells.SPELLS: [],
    }
    return PriceList(found)


def _each(listed: Iterator[Listed], surface: Surface) -> list[Line]:
    return [_line(each, surface) for each in listed]


def _line(listed: Listed, surface: Surface) -> Line:
    offering = listed.offering
    costing = offering.costing()
    least, most = _bounds(offering, surface)
    return Line(offering.id, listed.description, costing, least, most)


def _bounds(offering: Offering, surface: Surface) -> tuple[MicroUsd, MicroUsd]:
    """Return what one costs at least and at most."""
    if offering.price is not None:
        return offering.price.least_microusd, offering.price.most_microusd
    duration = offering.inputs[surface]["properties"].get("duration", {})
    costs = [offering.price_microusd({"duration": each}) for each in duration.get("enum", [0])]
    return min(costs), max(costs)


def _agent(house: House) -> Line:
    price = house.till.tokens(MOST_CHARACTERS)
    description = "An answer, and before it a check whether the request can be done at all."
    return Line("agent", description, price.to_json(), price.least_microusd, price.most_microusd)


def _tiers(house: House) -> Iterator[Line]:
    """Yield each tier of each model that is open: in sats for credits, in dollars for USDC."""
    for model, tiered in TIERED.items():
        listed = house.catalogue.tiered(model)
        for tier in tiered.tiers.values() if listed.is_open else ():
            cost = MicroUsd(listed.offering.item_microusd * tier.credits)
            costing = {
                "type": "per_image",
                "usd": usd_number(cost),
                "credits": tier.credits,
                "sats": msat_to_sats(tier.price_msat(house.settings.credit_sats)),
            }
            yield Line(f"{model}/{tier.name}", listed.description, costing, cost, cost)


_UNITS: Final = {
    "per_image": "an image",
    "per_film": "a film",
    "per_second": "a second of film",
    "per_run": "a run",
}


def in_words(costing: Node) -> str:
    """Return a price as people and models read it."""
    match costing["type"]:
        case "per_megapixel_step":
            least, most = (usd_in(costing[name]) for name in ("leastUsd", "mostUsd"))
            return f"${least} to ${most} a run, by its size and steps"
        case "tokens":
            read = usd_in(costing["inputUsdPerMillionTokens"])
            written = usd_in(costing["outputUsdPerMillionTokens"])
            added = usd_in(costing["infraUsd"])
            return (
                f"${read} for a million tokens read and ${written} for a million written, with"
                f" ${added} a call and {costing['marginPct']} % on top"
            )
        case "per_image" if "credits" in costing:
            how = "credit" if costing["credits"] == 1 else "credits"
            return f"{costing['credits']} {how} ({costing['sats']} sats) an image"
        case kind:
            return f"${usd_in(costing['usd'])} {_UNITS[kind]}"


def usd_in(dollars: float) -> str:
    """Return what JSON has as a number of dollars, of millionths at least, as text."""
    return f"{dollars:.6f}".rstrip("0").rstrip(".")
