"""The background's side, put together: who keeps promises, the loops, the operator's tools.

Each names its own few needs. All of what was built is known here, to app/main.py, and to a command
that builds it; what they build is told no more than it names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.advance import Shell
from app.agents.agent import Agent
from app.agents.chat import Chat
from app.artifacts.keeping import Artifacts
from app.http.notice_shapes import NoticeShapes
from app.keys.credentials import Credentials
from app.loops.authorizations import Authorizations
from app.loops.booking import Booking
from app.loops.canaries import Canaries as Judging
from app.loops.deposits import Deposits
from app.loops.expiry import Expiry
from app.loops.health import Health
from app.loops.hearing import Hearing
from app.loops.lanes import Lanes
from app.loops.making import Making
from app.loops.months import Months
from app.loops.payouts import Payouts
from app.loops.readiness import Outside, Readiness
from app.loops.recovery import Recovery
from app.loops.sweep import Sweep
from app.loops.switchboard import Switchboard
from app.loops.turns import Loops, Pace
from app.loops.unpaid import Unpaid
from app.operator.books import Books
from app.operator.fleet import Fleet
from app.operator.overseeing import Overseeing
from app.operator.receiving import MOST_SATS, Receiving
from app.operator.usdc_books import UsdcBooks
from app.ports import (
    Clock,
    Destinations,
    Executor,
    Playground,
    Prices,
    Receivers,
    UsdcRail,
)
from app.promises.courier import Courier
from app.promises.keeping import Keeper
from app.promises.labour import Labour, Tries
from app.promises.leases import Leases
from app.promises.notices import SAID_BYTES, TIMEOUT_S, Notices
from app.promises.payees import Payees
from app.promises.sending import Sending
from app.promises.settling import Settling
from app.promises.usdc_sending import UsdcSending
from app.settings import Environment, Settings
from app.till import Till
from app.trade.availability import Availability
from app.trade.batches import Batches
from app.trade.canaries import Canaries
from app.trade.catalogue import NETWORK, Catalogue
from app.trade.crowd import Crowd
from app.trade.gathering import Fetch, Gathering
from app.trade.invoicing import Invoicing
from app.trade.lenders import Lenders
from app.trade.lending import Lending
from app.trade.makers import Makers
from app.trade.refunds import Refunds
from app.trade.webhooks import Webhooks
from app.watch.streams import Streams
from db.engine import Database
from db.promises import Outbox
from db.replica import Replica
from db.signals import Signals
from payments.public_http import PublicHttp
from payments.rail import Rail, Wallets
from pricing.money import sats_to_msat


@dataclass(frozen=True, slots=True)
class Built:
    """All that was put together for a process, as Protocols: nobody below sees all of it."""

    settings: Settings
    db: Database
    replica: Replica  # asked by what may be slow, and decides nothing
    outbox: Outbox
    signals: Signals
    shell: Shell
    rail: Rail
    agent: Agent
    chat: Chat
    oracle: Prices
    destinations: Destinations
    receivers: Receivers
    till: Till
    artifacts: Artifacts
    catalogue: Catalogue
    fetch: Fetch  # of pictures that runs are made from
    credentials: Credentials
    clock: Clock
    new_id: Callable[[], str]  # a random UUID, hex: whoever knows a job's id may read it
    wallets: Wallets | None  # the rail's own doors to open one after the other, where it can
    stub: Playground | None  # the stub rail's own doors, when there is one to play with
    executors: Sequence[Executor] = ()  # who makes the items of batches in this process
    usdc: UsdcRail | None = None  # the second rail, where there is one

    async def close(self) -> None:
        """Let go of all connections, the database's last."""
        for part in (self.rail, self.chat, self.agent, self.oracle, self.destinations):
            await part.close()
        await self.receivers.close()
        await self.fetch.close()
        if self.usdc is not None:
            await self.usdc.facilitator.close()
            await self.usdc.ledger.close()
        await self.artifacts.recoder.close()
        for executor in self.executors:
            await executor.close()
        await self.outbox.close()
        await self.replica.close()
        await self.db.close()


def sending_of(built: Built) -> Sending:
    """Return what lets payouts go."""
    fee_cap_msat = sats_to_msat(built.settings.fee_cap_sats)
    return Sending(built.db, built.shell, built.rail, built.clock, fee_cap_msat)


def settling_of(built: Built) -> Settling | None:
    """Return what settles buyers' orders in USDC, where there is a rail for them."""
    if built.usdc is None:
        return None
    return Settling(built.db, built.shell, built.usdc, built.clock)


def keeper_of(
    built: Built, kind: type[Keeper] = Keeper, kind_of_labour: type[Labour] = Labour
) -> Keeper:
    """Return what keeps the promises of a process."""
    settings, db, shell, clock = built.settings, built.db, built.shell, built.clock
    sending, payees = sending_of(built), Payees(settings.payouts_each)
    tries = Tries(
        settings.agent_tries,
        timedelta(seconds=settings.agent_patience_s),
        settings.free_failures_per_day,
    )
    return kind(
        db,
        built.outbox,
        shell,
        built.rail,
        clock,
        labour=kind_of_labour(db, shell, built.agent, built.oracle, built.till, clock, tries),
        courier=Courier(db, sending, built.destinations, payees, clock),
        payees=payees,
        sending=sending,
        usdc=UsdcSending(db, shell, built.usdc, clock),
        notices=Notices(
            db, shell, built.receivers, NoticeShapes(db), built.credentials.seal, clock
        ),
        invoice_expiry_s=settings.invoice_expiry_s,
    )


def make_receivers(settings: Settings) -> Receivers:
    """Return what sends notices to strangers' servers; in development, to this machine as well."""
    return PublicHttp(
        allow_loopback=settings.env is not Environment.PRODUCTION,
        timeout_s=TIMEOUT_S,
        most_bytes=SAID_BYTES,
        accept="*/*",
        at_once=settings.notices_at_once,
        resolvers=settings.notices_at_once,
    )


def webhooks_of(built: Built) -> Webhooks:
    """Return the desk of webhooks; in development, servers on this machine may be told too."""
    allow_loopback = built.settings.env is not Environment.PRODUCTION
    seal = built.credentials.seal
    return Webhooks(built.db, built.shell, seal, built.new_id, allow_loopback)


def receiving_of(built: Built, most_sats: int = MOST_SATS) -> Receiving:
    """Return what opens and empties the receiving wallets."""
    settings = built.settings
    return Receiving(
        built.db,
        built.shell,
        built.rail,
        built.wallets,
        built.credentials.seal,
        built.clock,
        built.new_id,
        invoice_expiry_s=settings.invoice_expiry_s,
        most_invoices=settings.lnbits_wallet_invoices if settings.lnbits_token else None,
        most_sats=most_sats,
    )


def books_of(built: Built, receiving: Receiving | None = None) -> Books:
    """Return what reviews the books."""
    wallets = receiving or receiving_of(built)
    usdc = UsdcBooks(built.db, built.usdc, built.clock)
    return Books(built.db, built.replica, built.outbox, built.rail, wallets, usdc, built.clock)


def overseeing_of(built: Built, books: Books) -> Overseeing:
    """Return the desk of the operator's page."""
    return Overseeing(
        built.db,
        built.replica,
        built.outbox,
        books,
        built.rail,
        built.agent,
        built.chat,
        built.oracle,
        built.clock,
        built.settings.routing_free_sats_per_day,
        Fleet(built.db, built.shell, built.clock),
    )


def making_of(built: Built) -> list[Making]:
    """Return the executors of a process at work, each in the lanes of what it makes here."""
    shell, leases = built.shell, Leases(built.shell, built.artifacts)
    return [
        Making(
            executor,
            built.catalogue.lanes_of_maker(executor.name),
            leases,
            built.signals,
            built.new_id,
            beat_s=shell.terms.lease_s / 3,
            costs=built.settings.costs,
        )
        for executor in built.executors
    ]


def lending_of(built: Built) -> Lending:
    """Return the desk of what lent machines make."""
    return Lending(
        built.db,
        built.shell,
        Leases(built.shell, built.artifacts),
        built.catalogue,
        built.signals,
        built.till,
        built.clock,
        built.new_id,
        built.settings.workers,
        canaries_of(built),
        Crowd(built.shell, built.db.slow_s),
    )


def canaries_of(built: Built) -> Canaries:
    """Return the desk of what the house orders of workers, to see what they make of it."""
    db, shell, till, catalogue = built.db, built.shell, built.till, built.catalogue

    def dice(sides: int) -> int:
        return int(built.new_id(), 16) % sides

    return Canaries(db, shell, till, catalogue, built.clock, built.new_id, dice)


def judging_of(built: Built) -> Judging:
    """Return what compares that with what this process makes itself."""
    desk, clock = canaries_of(built), built.clock
    makers = {
        model: executor
        for executor in built.executors
        for model in built.catalogue.made_by(executor.name)
        if desk.is_known(model)
    }
    return Judging(built.db, built.shell, makers, built.artifacts.recoder, clock)


def lenders_of(built: Built) -> Lenders:
    """Return the desk of those who lend machines."""
    network = built.usdc.network if built.usdc is not None else None
    is_open = built.settings.workers
    return Lenders(built.db, built.shell, built.clock, built.new_id, is_open, network)


def batches_of(built: Built, invoicing: Invoicing, availability: Availability) -> Batches:
    """Return the desk of batches."""
    return Batches(
        built.db,
        built.shell,
        invoicing,
        built.till,
        built.new_id,
        Makers(built.catalogue, availability),
        Gathering(built.artifacts, built.fetch),
    )


def refunds_of(built: Built, keeper: Keeper) -> Refunds:
    """Return the desk that gives back what is owed."""
    db, shell, outbox, signals = built.db, built.shell, built.outbox, built.signals
    return Refunds(db, shell, outbox, signals, keeper, built.destinations, sending_of(built))


def unpaid_of(built: Built) -> Unpaid:
    """Return what forgets what nobody needs any more."""
    kept = timedelta(seconds=built.settings.artifacts_kept_s)
    asked_kept = timedelta(seconds=built.settings.asked_kept_s)
    return Unpaid(built.db, built.shell, built.clock, kept, asked_kept)


def health_of(built: Built, loops: Loops) -> Health:
    """Return the desk that says how each part stands."""
    parts = built.rail, built.agent, built.chat, built.usdc
    return Health(loops.readiness, loops.switchboard, loops.books, *parts)


def loops_of(built: Built, keeper: Keeper | None = None) -> Loops:
    """Return every loop of a process."""
    settings, db, shell, clock = built.settings, built.db, built.shell, built.clock
    receiving, settling = receiving_of(built), settling_of(built)
    unmade = timedelta(seconds=settings.unmade_s)
    booking = Booking(db, shell, built.rail, receiving)
    hearing, unpaid = Hearing(db, built.rail, booking, clock), unpaid_of(built)
    sweep_s, dead_after_s = settings.sweep_s, settings.worker_dead_after_s
    deposits = None if built.usdc is None else Deposits(db, shell, built.usdc)
    outside = Outside(
        built.rail,
        built.oracle,
        built.agent,
        built.chat,
        built.usdc,
        built.executors,
        None if deposits is None else deposits.healthy,
    )
    return Loops(
        receiving=receiving,
        booking=booking,
        hearing=hearing,
        unpaid=unpaid,
        sweep=Sweep(db, built.rail, booking, hearing, unpaid, clock, sweep_s),
        payouts=Payouts(db, keeper or keeper_of(built), clock, sweep_s),
        expiry=Expiry(db, shell, booking, clock),
        recovery=Recovery(db, built.outbox, shell, clock, dead_after_s),
        switchboard=Switchboard(db),
        lanes=Lanes(db, shell, clock, built.catalogue.lanes_of_maker(NETWORK), unmade),
        months=Months(db, clock, settings.history_months),
        canaries=judging_of(built),
        authorizations=None if settling is None else Authorizations(settling),
        deposits=deposits,
        artifacts=built.artifacts,
        books=books_of(built, receiving),
        readiness=Readiness(
            db,
            built.outbox,
            built.signals,
            outside,
            clock,
            health_s=settings.health_s,
            dead_after_s=dead_after_s,
        ),
        pace=Pace(float(sweep_s), float(settings.health_s), float(settings.reconcile_s)),
    )


def streams_of(built: Built) -> Streams:
    """Return who streams changes to whoever watches."""
    settings = built.settings
    beat_s, most, each = settings.stream_beat_s, settings.streams_most, settings.streams_each
    return Streams(built.db, built.signals, beat_s, most, each)
