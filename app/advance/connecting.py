"""Requests to connect a wallet: each with an account of its own, which is opened by its payment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.advance.act import Act
from app.advance.writing import write_first
from db import connect_requests, people
from db.connect_requests import ConnectRow
from db.invoices import MadeInvoice
from payments import rail
from statemachine import account as account_law
from statemachine import connect as law
from statemachine.connect import ConnectKind, ConnectState
from statemachine.owner import Owner, OwnerKind


@dataclass(frozen=True, slots=True)
class Asked:
    """A new request, the account that its payment opens, and until when it can be paid."""

    id: str
    account_id: str
    until: datetime


async def ask_lightning(act: Act, asked: Asked, number: int, opened: rail.Opened) -> MadeInvoice:
    """Ask for a payment over Lightning, by an invoice that the rail has made; return that.

    It is a deposit of the new account's.
    """
    await connect_requests.insert(act.tx, _row(act, asked, opened.amount_msat))
    await people.insert(act.tx, asked.account_id, act.now)
    wanted = account_law.ask_deposit(asked.account_id, number, opened.amount_msat)
    return await write_first(act, Owner(OwnerKind.ACCOUNT, asked.account_id), wanted, opened)


async def ask_usdc(act: Act, asked: Asked, network: str, amounts: Sequence[int]) -> int | None:
    """Ask for the first of these amounts (in millionths of a USDC) that nobody else is asked for
    on this chain, and return it. None, and nothing is written: each of them is.
    """
    for amount_microusdc in amounts:
        row = _row(act, asked, amount_microusdc, network)
        if await connect_requests.insert(act.tx, row):
            await people.insert(act.tx, asked.account_id, act.now)
            return amount_microusdc
    return None


async def paid(act: Act, row: ConnectRow) -> None:
    """Write that a locked request is paid, in the transaction that books its payment."""
    if row.state is not ConnectState.PAID:  # a deposit of an account that is open already
        after = law.decide(connect_requests.facts_of(row), law.Paid()).facts
        await connect_requests.move(act.tx, after, act.now)


async def lapse(
    act: Act, kind: ConnectKind, network: str | None, before: datetime, most: int
) -> int:
    """Lapse requests whose time had passed by then; return how many."""
    rows = await connect_requests.lock_due(act.tx, kind, network, before, most)
    for row in rows:
        after = law.decide(connect_requests.facts_of(row), law.Lapsed()).facts
        await connect_requests.move(act.tx, after, None)
    return len(rows)


def _row(act: Act, asked: Asked, amount: int, network: str | None = None) -> ConnectRow:
    return ConnectRow(
        asked.id,
        ConnectKind.LIGHTNING if network is None else ConnectKind.USDC,
        ConnectState.OPEN,
        asked.account_id,
        network,
        amount,
        act.now,
        asked.until,
        None,
    )
