"""The background's side, put together: who keeps promises, the loops, the operator's tools.

Each names its own few needs. Only this file and app/main.py know them all.
"""

from datetime import timedelta

from app.loops.booking import Booking
from app.loops.expiry import Expiry
from app.loops.hearing import Hearing
from app.loops.payouts import Payouts
from app.loops.readiness import Outside, Readiness
from app.loops.recovery import Recovery
from app.loops.sweep import Sweep
from app.loops.switchboard import Switchboard
from app.loops.turns import Loops, Pace
from app.loops.unpaid import Unpaid
from app.operator.books import Books
from app.operator.receiving import MOST_SATS, Receiving
from app.parts import Parts
from app.promises.courier import Courier
from app.promises.keeping import Keeper
from app.promises.labour import Labour, Tries
from app.promises.payees import Payees
from app.promises.sending import Sending
from pricing.money import sats_to_msat


def sending_of(parts: Parts) -> Sending:
    """Return what lets payouts go."""
    fee_cap_msat = sats_to_msat(parts.settings.fee_cap_sats)
    return Sending(parts.db, parts.shell, parts.rail, parts.clock, fee_cap_msat)


def keeper_of(
    parts: Parts, kind: type[Keeper] = Keeper, kind_of_labour: type[Labour] = Labour
) -> Keeper:
    """Return what keeps the promises of a process."""
    settings, db, shell, clock = parts.settings, parts.db, parts.shell, parts.clock
    sending, payees = sending_of(parts), Payees(settings.payouts_each)
    tries = Tries(
        settings.agent_tries,
        timedelta(seconds=settings.agent_patience_s),
        settings.free_failures_per_day,
    )
    return kind(
        db,
        parts.outbox,
        shell,
        parts.rail,
        clock,
        labour=kind_of_labour(db, shell, parts.agent, parts.oracle, parts.till, clock, tries),
        courier=Courier(db, sending, parts.destinations, payees, clock),
        payees=payees,
        sending=sending,
        invoice_expiry_s=settings.invoice_expiry_s,
    )


def receiving_of(parts: Parts, most_sats: int = MOST_SATS) -> Receiving:
    """Return what opens and empties the receiving wallets."""
    settings = parts.settings
    return Receiving(
        parts.db,
        parts.shell,
        parts.rail,
        parts.wallets,
        parts.credentials.seal,
        parts.clock,
        parts.new_id,
        invoice_expiry_s=settings.invoice_expiry_s,
        most_invoices=settings.lnbits_wallet_invoices if settings.lnbits_token else None,
        most_sats=most_sats,
    )


def books_of(parts: Parts, receiving: Receiving | None = None) -> Books:
    """Return what reviews the books."""
    wallets = receiving or receiving_of(parts)
    return Books(parts.db, parts.outbox, parts.rail, wallets, parts.clock)


def loops_of(parts: Parts, keeper: Keeper | None = None) -> Loops:
    """Return every loop of a process."""
    settings, db, shell, clock = parts.settings, parts.db, parts.shell, parts.clock
    receiving = receiving_of(parts)
    booking = Booking(db, shell, parts.rail, receiving)
    hearing, unpaid = Hearing(db, parts.rail, booking, clock), Unpaid(db, shell, clock)
    sweep_s, dead_after_s = settings.sweep_s, settings.worker_dead_after_s
    return Loops(
        receiving=receiving,
        booking=booking,
        hearing=hearing,
        unpaid=unpaid,
        sweep=Sweep(db, parts.rail, booking, hearing, unpaid, clock, sweep_s),
        payouts=Payouts(db, keeper or keeper_of(parts), clock, sweep_s),
        expiry=Expiry(db, shell, booking, clock),
        recovery=Recovery(db, parts.outbox, shell, clock, dead_after_s),
        switchboard=Switchboard(db),
        books=books_of(parts, receiving),
        readiness=Readiness(
            db,
            parts.outbox,
            parts.signals,
            Outside(parts.rail, parts.oracle, parts.agent, parts.chat),
            clock,
            health_s=settings.health_s,
            dead_after_s=dead_after_s,
        ),
        pace=Pace(float(sweep_s), float(settings.health_s), float(settings.reconcile_s)),
    )
