"""Worlds of buyers of pictures and of those who lend machines, who make most of them there."""

from collections.abc import Mapping, Sequence

from tests.simulation.lenders import ALL, Lenders
from tests.simulation.process import Make
from tests.simulation.shoppers import Shoppers
from tests.simulation.signers import Signers
from tests.simulation.weather import WITH_LENDERS
from tests.simulation.world import World

CROWDS = (Shoppers, Signers, Lenders)  # who pay in bitcoin, and in USDC
MAKERS_SHARE = 0.02  # the house's own are few
SIZES = (3, 8, 13)  # of what somebody orders: there is much to make for few
MOST_BUYERS = 3


def world_of_lenders(
    seed: int,
    url: str,
    make: Make | None = None,
    faults: Mapping[str, float] | None = None,
    characters: Sequence[str] = ALL,
) -> World:
    """Return such a world, on a database that was prepared for one; of lenders of these kinds."""
    world = World(seed, url, make, people=True, faults=WITH_LENDERS if faults is None else faults)
    world.crowds = tuple(each for each in world.crowds if type(each) in CROWDS)
    for crowd in world.crowds:
        if isinstance(crowd, Lenders):
            world.more, crowd.characters = (crowd,) * 4, characters
        else:
            crowd.most = MOST_BUYERS
        if isinstance(crowd, Shoppers):
            crowd.sizes = SIZES
    world.makers_share, world.has_canaries = MAKERS_SHARE, True
    world.auditor.model.network.has_canaries = True
    return world
