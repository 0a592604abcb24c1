"""Puts a process together. The only file that names a concrete rail or agent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from app.adapters import (
    make_agent,
    make_card,
    make_catalogue,
    make_chat,
    make_destinations,
    make_executors,
    make_fetch,
    make_limits,
    make_oracle,
    make_recoder,
    make_store,
    make_terms,
    make_unproven,
    make_usdc,
)
from app.advance import Shell, ids_of
from app.agents.agent import Agent
from app.agents.chat import Chat
from app.api import DEV_ROUTES, ROUTES
from app.artifacts.keeping import Artifacts
from app.house import House
from app.http.batch_status import BatchShapes
from app.http.caller import Callers
from app.http.edge import Edge
from app.http.envelopes import HANDLERS
from app.http.job_status import Shapes
from app.http.paywall import Paywall, nothing_in_usdc
from app.http.routes import Table
from app.http.session_rights import Doorkeeper
from app.http.throttle import make_throttle
from app.http.usdc_door import UsdcDoor
from app.http.visitors import Visitors
from app.keys.credentials import Credentials
from app.keys.passwords import Passwords
from app.keys.secret import operator_secrets
from app.loops.gauges import Gauges
from app.loops.turns import Loops, always
from app.mcp import MCP_ROUTES
from app.plant import (
    Built,
    batches_of,
    health_of,
    keeper_of,
    lenders_of,
    lending_of,
    loops_of,
    make_receivers,
    making_of,
    overseeing_of,
    refunds_of,
    settling_of,
    streams_of,
    webhooks_of,
)
from app.ports import (
    Clock,
    Destinations,
    Executor,
    Playground,
    Prices,
    Receivers,
    Recoder,
    Store,
    UsdcRail,
)
from app.promises.keeping import Keeper
from app.settings import Environment, Settings
from app.telemetry.calls import keeping
from app.telemetry.observer import crash_at, observed
from app.telemetry.price_log import LoggedPrices
from app.till import Till
from app.trade.accounts import Accounts
from app.trade.asks import Asks
from app.trade.availability import Availability
from app.trade.chats import Chats
from app.trade.connecting import Connecting
from app.trade.demos import Demos
from app.trade.gathering import Fetch
from app.trade.histories import Histories
from app.trade.holds import Holds
from app.trade.invoicing import Invoicing
from app.trade.keys import Keys
from app.trade.lightning_logins import LightningLogins
from app.trade.logins import Logins
from app.trade.network import Network
from app.trade.orders import Orders
from app.trade.proofs import Proofs
from app.trade.receipts import Receipts
from app.trade.runtimes import Runtimes
from app.trade.selling import Selling
from app.trade.sessions import Sessions
from app.trade.spells import Spells
from app.trade.usdc_sales import UsdcSales
from app.trade.wallet_logins import WalletLogins
from app.watch.remembered import Remembered
from app.watch.waiting import Waiting
from app.web import PAGES
from app.web.browsers import with_pages
from app.web.metrics import metrics
from db.engine import Database, DatabaseAway, Probe, nowhere
from db.promise_lanes import Lane
from db.promises import Outbox, WorkerPace
from db.replica import Replica
from db.signals import Signals
from payments.key_ring import KeyRing
from payments.l402 import L402
from payments.lnbits import LnbitsRail
from payments.mpp import Mpp
from payments.rail import Rail, Unavailable, Wallets
from payments.seal import Seal
from payments.stub import StubRail
from payments.usdc.outcome import Facilitator, Ledger
from statemachine.cell import Cell


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def make_rail(settings: Settings, clock: Clock) -> Rail:
    """Return the rail that the settings name: LNbits, or the stub."""
    if settings.lnbits_url is not None and settings.lnbits_api_key is not None:
        return LnbitsRail(
            settings.lnbits_url,
            settings.lnbits_api_key.get_secret_value(),
            network=settings.lightning_network,
            timeout_s=settings.rail_timeout_s,
            clock=clock,
            token=settings.lnbits_token.get_secret_value() if settings.lnbits_token else "",
        )
    settings.data.mkdir(parents=True, exist_ok=True)
    return StubRail(settings.data / "stub.sqlite3", clock, timeout_s=settings.rail_timeout_s)


async def trouble_with_token(rail: Rail) -> Unavailable | None:
    """Return None when the rail could open a wallet with its token. It opens none."""
    if isinstance(rail, LnbitsRail):
        return await rail.may_open_wallets()
    return Unavailable("this rail has one wallet for ever")


def make_credentials(settings: Settings, db: Database, clock: Clock) -> Credentials:
    """Return what makes and checks credentials, with the challenges of a 402 in their order."""
    ring = KeyRing(Cell(settings.cell).number)
    seal = Seal(operator_secrets(settings))
    return Credentials(db, seal, ring, (L402(ring, clock), Mpp(ring, clock)), clock)


def assemble(
    settings: Settings,
    database_url: str,
    *,
    rail: Rail | None = None,
    agent: Agent | None = None,
    chat: Chat | None = None,
    oracle: Prices | None = None,
    destinations: Destinations | None = None,
    receivers: Receivers | None = None,
    executors: Sequence[Executor] | None = None,
    usdc: UsdcRail | None = None,
    fetch: Fetch | None = None,
    clock: Clock = utc_now,
    passing: Probe | None = None,
) -> Built:
    """Make what a process is built of; what isn't given is made as the settings say."""
    if passing is None:
        passing = crash_at(settings.crash_at) if settings.crash_at else nowhere
    db = Database(database_url, settings.database_pool, passing)
    cell = Cell(settings.cell)
    new_id = ids_of(cell)
    outbox = Outbox(db)
    rail = rail or make_rail(settings, clock)
    production = settings.env is Environment.PRODUCTION
    stub: Playground | None = rail if isinstance(rail, StubRail) and not production else None
    agent = agent or make_agent(settings)
    chat = chat or make_chat(settings, agent)
    executors = make_executors(settings, agent) if executors is None else executors
    oracle = oracle or make_oracle(settings, clock)
    usdc = usdc or make_usdc(settings, clock)
    destinations = destinations or make_destinations(settings, rail.network, clock)
    receivers = receivers or make_receivers(settings)
    priced = observed(LoggedPrices(oracle), Prices, "oracle", passing)
    till = Till(make_card(settings), priced, agent, clock, make_limits(settings))
    catalogue = make_catalogue(settings, executors, agent)
    wallets = rail if isinstance(rail, LnbitsRail) else None
    return Built(
        settings=settings,
        db=db,
        replica=Replica(db, settings.replica_url),
        outbox=outbox,
        signals=Signals(db),
        shell=Shell(db, outbox, make_terms(settings, catalogue), clock, new_id, cell),
        rail=observed(rail, Rail, "rail", passing),
        agent=observed(agent, Agent, "agent", passing),
        chat=observed(chat, Chat, "chat", passing),
        oracle=priced,
        destinations=observed(destinations, Destinations, "lnurl", passing),
        receivers=observed(receivers, Receivers, "webhook", passing),
        till=till,
        artifacts=Artifacts(
            db,
            observed(make_store(settings), Store, "store", passing),
            observed(make_recoder(), Recoder, "press", passing),
            clock,
            new_id,
            timedelta(seconds=settings.artifacts_kept_s),
        ),
        executors=[observed(each, Executor, "executor", passing) for each in executors],
        catalogue=catalogue,
        fetch=fetch or make_fetch(settings),
        credentials=make_credentials(settings, db, clock),
        clock=clock,
        new_id=new_id,
        wallets=wallets and observed(wallets, Wallets, "rail", passing),
        usdc=usdc and observed_usdc(replace(usdc, cell=settings.cell), passing),
        stub=stub,
    )


def observed_usdc(usdc: UsdcRail, passing: Probe) -> UsdcRail:
    """Return the second rail with every call to the outside observed."""
    return replace(
        usdc,
        facilitator=observed(usdc.facilitator, Facilitator, "facilitator", passing),
        ledger=observed(usdc.ledger, Ledger, "chain", passing),
    )


def furnish(built: Built, keeper: Keeper, loops: Loops) -> House:
    """Return the desks of a process, as the doors see them."""
    settings, db, shell, clock = built.settings, built.db, built.shell, built.clock
    till, new_id, signals, credentials = built.till, built.new_id, built.signals, built.credentials
    selling = Selling(db, loops.readiness, clock, settings.free_failures_per_day)
    invoicing = Invoicing(db, keeper, loops.readiness)
    holds = Holds(db, shell, clock, new_id, settings.free_sats_per_day)
    sessions = Sessions(db, shell, invoicing, till, selling, clock, new_id)
    logins, is_stub = Logins(db, shell, Passwords(), clock, new_id), built.stub is not None
    seal, usdc, trouble = credentials.seal, usdc_door_of(built, loops), loops.readiness.trouble
    wallet_logins = WalletLogins(shell, logins, credentials.seal, clock, built.usdc)
    lightning_logins = LightningLogins(db, shell, logins, credentials.seal, clock)
    availability = Availability(db, clock, trouble)
    keys, unproven = Keys(db, shell, clock, new_id), make_unproven(settings)
    callers = Callers(credentials, clock, logins, keys, settings.public_url)
    refunds = refunds_of(built, keeper)
    shapes = Shapes(is_stub, loops.switchboard, refunds.sending.least_msat)
    return House(
        orders=Orders(shell, invoicing, till, selling, new_id),
        asks=Asks(shell, invoicing, till, selling, new_id),
        batches=batches_of(built, invoicing, availability),
        catalogue=built.catalogue,
        availability=availability,
        runtimes=Runtimes(db, built.catalogue),
        artifacts=built.artifacts,
        sessions=sessions,
        spells=Spells(db, shell, built.catalogue, till, new_id),
        holds=holds,
        chats=Chats(db, built.chat, till, holds, clock),
        demos=Demos(built.agent, till, holds, settings.agent_timeout_s),
        refunds=refunds,
        receipts=Receipts(db, credentials.seal, clock),
        webhooks=webhooks_of(built),
        till=till,
        throttle=make_throttle(settings, db, clock),
        callers=callers,
        logins=logins,
        keys=keys,
        connecting=Connecting(db, shell, invoicing, credentials.seal, built.usdc, clock, new_id),
        accounts=Accounts(db, shell, invoicing, refunds.sending, built.usdc, trouble, unproven),
        histories=Histories(db, clock),
        lenders=lenders_of(built),
        lending=lending_of(built),
        network=Network(db, clock, built.catalogue),
        wallet_logins=wallet_logins,
        proofs=Proofs(db, wallet_logins, lightning_logins),
        lightning_logins=lightning_logins,
        visitors=Visitors(callers, sessions.standing, seal, settings.public_url, shell.cell),
        doorkeeper=Doorkeeper(callers, sessions),
        paywall=paywall_of(built, loops, usdc),
        usdc=usdc,
        shapes=shapes,
        batch_shapes=BatchShapes(shapes),
        waiting=Waiting(db, signals, built.rail, loops.booking.nudge),
        streams=streams_of(built),
        remembered=Remembered(),
        booking=loops.booking,
        db=db,
        overseeing=overseeing_of(built, loops.books),
        health=health_of(built, loops),
        gauges=Gauges(db, loops.readiness, loops.switchboard, built.rail, built.oracle, clock),
        credentials=credentials,
        settings=settings,
        clock=clock,
        new_id=new_id,
        stub=built.stub,
    )


def paywall_of(built: Built, loops: Loops, usdc: UsdcDoor | None) -> Paywall:
    """Return what offers everything that is paid by the call, by every way there is."""
    return Paywall(
        built.db,
        built.credentials,
        loops.booking.look_up,
        built.settings.public_url,
        built.stub is not None,
        nothing_in_usdc if usdc is None else usdc.required,
    )


def usdc_door_of(built: Built, loops: Loops) -> UsdcDoor | None:
    """Return where payments in USDC are taken, if there is a rail for them."""
    settling, readiness = settling_of(built), loops.readiness
    if built.usdc is None or settling is None:
        return None
    wait_s = built.settings.settle_wait_s
    sales = UsdcSales(built.db, built.shell, built.signals, settling, wait_s)
    return UsdcDoor(built.usdc, sales, lambda: readiness.trouble("usdc") is None, built.clock)


@contextlib.asynccontextmanager
async def running(built: Built, *, worker: bool = True) -> AsyncIterator[House]:
    """Open what was built, run the loops and, unless told not to, a worker; close all after it."""
    keeper = keeper_of(built)
    settings, loops = built.settings, loops_of(built, keeper)
    house = furnish(built, keeper, loops)
    most = {
        Lane.PROMISES: settings.worker_concurrency,
        Lane.PAYOUTS: settings.payouts_at_once,
        Lane.NOTICES: settings.notices_at_once,
    }
    await built.db.open()
    await built.outbox.open()
    await loops.receiving.refresh()
    unpublished = [house.spells.keep_installed]
    with contextlib.suppress(DatabaseAway):  # then they are published when it can be written to
        await house.spells.install()
        unpublished.clear()
    loops.readiness.works = worker
    tasks = [
        asyncio.create_task(always("listener", built.signals.listen)),
        asyncio.create_task(always("wait queue", built.signals.queue.run)),
        asyncio.create_task(always("loops", loops.run)),
        asyncio.create_task(always("streams", partial(house.streams.run, house.shapes.event))),
        *(asyncio.create_task(always("spells", keep)) for keep in unpublished),
    ]
    if worker:
        keep = keeping(keeper.keep, built.outbox)
        for lane, concurrency in most.items():
            dead_after_s = settings.worker_dead_after_s
            pace = WorkerPace(concurrency, dead_after_s / 5, dead_after_s)
            work = partial(built.outbox.work_always, keep, pace, lane)
            tasks.append(asyncio.create_task(always(f"worker of {lane}", work)))
        for making in making_of(built):
            tasks.append(asyncio.create_task(always(f"maker {making.executor.name}", making.run)))
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        late = *house.holds.unfinished, *house.settling
        await asyncio.gather(*tasks, *late, return_exceptions=True)
        await built.close()


def build(built: Built, *, worker: bool = True) -> Starlette:
    """Return the application of a process. Its lifespan opens and closes what was built."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(built, worker=worker) as house:
            app.state.house = house
            yield

    doors = (*ROUTES, *MCP_ROUTES)
    routes = [*doors, *PAGES, Route("/metrics", metrics), *(DEV_ROUTES if built.stub else ())]
    app = Starlette(
        routes=[Table(routes)],
        lifespan=lifespan,
        middleware=[Middleware(Edge, new_id=built.new_id)],
        exception_handlers=with_pages(HANDLERS),
    )
    # A slash at the end is another address: a redirect would repeat the Host that was claimed.
    app.router.redirect_slashes = False
    return app
