"""What a process in a world is built of: the real parts, over what the world simulates."""

from datetime import timedelta
from typing import TYPE_CHECKING

from app.adapters import make_limits
from app.advance import Terms
from app.agents.chat import WorkerChat
from app.artifacts.keeping import Artifacts
from app.keys.credentials import Credentials
from app.plant import Built
from app.settings import Settings
from app.till import Till
from db.replica import Replica
from payments.key_ring import KeyRing
from payments.public_http import PublicHttp
from payments.seal import Seal
from pricing.rates import PUBLISHED, RateCard
from tests.simulation import workbench
from tests.simulation.prepaid import FREE_MSAT_A_DAY, MINIMUM_MSAT
from tests.simulation.process import PatientSignals, Process
from tests.simulation.shelf import Painter, Press

if TYPE_CHECKING:
    from tests.simulation.world import World

INVOICE_S = 3 * 3_600
CANARY_EVERY = 1  # items of a worker: few are delivered in a world
PAY_OVER_MSAT = 60_000  # of what is free of a worker's pay is sent by itself


def born(world: "World", name: str) -> Process:
    """Return a new process of a world."""
    set_to = {"BOLTWORK_DATA": "nowhere", "INVOICE_EXPIRY_S": INVOICE_S, "WORKERS": True}
    given = Settings.model_validate(set_to)
    # What the facilitator says is waited for, however long the machine takes to come to it.
    given = given.model_copy(update={"settle_wait_s": 10**6})
    terms = Terms(
        eval_invoice_s=INVOICE_S,
        session_minimum_msat=MINIMUM_MSAT,
        free_msat_a_day=FREE_MSAT_A_DAY,
        pay_over_msat=PAY_OVER_MSAT,
        canary_every=CANARY_EVERY if world.has_canaries else 0,
        canary_lanes=workbench.catalogue().known,
    )
    card = RateCard(PUBLISHED, 2_000, 20)

    def new_id() -> str:
        return f"{world.dice.getrandbits(128):032x}"

    press = Press(world.weather, world.gate)
    built = Built(
        settings=given,
        db=world.db,
        replica=Replica(world.db, None),
        outbox=world.outbox,
        signals=PatientSignals(world.db, world.gate),
        shell=world.make.shell(world.db, world.outbox, terms, world.clock, new_id),
        rail=world.rail,
        agent=world.agent,
        chat=WorkerChat(world.agent, 1_000),  # holders here hear their answers elsewhere
        oracle=world.oracle,
        destinations=world.destinations,
        receivers=world.receivers,
        till=Till(card, world.oracle, world.agent, world.clock, make_limits(given)),
        artifacts=Artifacts(world.db, world.shelf, press, world.clock, new_id, timedelta(days=1)),
        catalogue=workbench.catalogue(),
        fetch=PublicHttp(),  # nothing is made from pictures here
        credentials=Credentials(world.db, Seal(("simulated",)), KeyRing(), (), world.clock),
        clock=world.clock,
        new_id=new_id,
        wallets=None,
        stub=None,
        usdc=world.usdc,
        executors=[Painter(world.weather, world.gate)],
    )
    return Process(name, built, world.make, world.gate)
