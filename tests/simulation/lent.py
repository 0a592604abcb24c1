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
OFTEN = 4  # as often as a crowd of buyers come those who lend, and once more
# In every other world a few lend, who come oftener, and there is more to make: each of them makes
# so much that it becomes one that is new no more.
FEW = (
    ("honest", "slow", "lying"),
    ("honest", "dying", "greedy"),
    ("honest", "colluding", "colluding"),
)
FEW_OFTEN, FEW_SIZES = 12, (8, 21, 34)


def world_of_lenders(
    seed: int,
    url: str,
    make: Make | None = None,
    faults: Mapping[str, float] | None = None,
    characters: Sequence[str] = (),
) -> World:
    """Return such a world, on a database that was prepared for one; of lenders of these kinds, or
    else of all, or of a few.
    """
    few = () if characters or seed % 2 else FEW[seed // 2 % len(FEW)]
    world = World(seed, url, make, people=True, faults=WITH_LENDERS if faults is None else faults)
    world.crowds = tuple(each for each in world.crowds if type(each) in CROWDS)
    for crowd in world.crowds:
        if isinstance(crowd, Lenders):
            world.more = (crowd,) * (FEW_OFTEN if few else OFTEN)
            crowd.characters, crowd.most = characters or few or ALL, len(few) or crowd.most
        else:
            crowd.most = MOST_BUYERS
        if isinstance(crowd, Shoppers):
            crowd.sizes = FEW_SIZES if few else SIZES
    world.makers_share, world.has_canaries = MAKERS_SHARE, True
    world.auditor.model.network.has_canaries = True
    return world
