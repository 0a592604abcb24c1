"""Who comes into a world, each crowd with what it knows of the others."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.askers import Askers
from tests.simulation.buyers import Buyers
from tests.simulation.casters import Casters, CastSigners
from tests.simulation.holders import Holders
from tests.simulation.lenders import Lenders
from tests.simulation.node import Ours
from tests.simulation.patrons import People
from tests.simulation.payers import Crowd
from tests.simulation.shoppers import Shoppers
from tests.simulation.signers import Signers
from tests.simulation.wishes import Wishes

if TYPE_CHECKING:
    from tests.simulation.world import World


def gathered(
    world: "World", wishes: Wishes, on_paid: Callable[[Ours], None], *, people: bool
) -> tuple[Crowd[Any], ...]:
    """Return those who buy jobs, sessions and batches; and, where they are wanted, people with
    accounts, all who cast their spells, and those who lend machines.
    """
    parts = (world.dice, world.weather, world.clock, world.node, world.wallets)
    holders = Holders(*parts)
    holders.gate = world.gate
    crowds: list[Crowd[Any]] = [Buyers(*parts), holders, Shoppers(*parts), Signers(*parts)]
    if people:
        patrons = People(*parts)
        patrons.chain = world.chain
        lenders = Lenders(*parts)
        lenders.said = world.makers.said
        crowds += [patrons, Askers(*parts), Casters(*parts), CastSigners(*parts), lenders]
        for crowd in crowds:
            crowd.slugs = patrons.published
    for crowd in crowds:
        crowd.wishes, crowd.on_paid, crowd.is_told = wishes, on_paid, people
    return tuple(crowds)
