"""A person's account: a balance that is paid in, spent, and taken out. It has no states.

What rests on it is the holder's, whatever else happens: a deposit that comes late is as good.
"""

from dataclasses import dataclass

from statemachine import entries
from statemachine.decision import Decision, InvoiceWanted, Owed
from statemachine.entries import Asset
from statemachine.owner import Purpose, Reason


@dataclass(frozen=True, slots=True)
class Credited:
    """A deposit's invoice settled: its own entry has brought the amount."""


class Short(Exception):
    """The balance does not cover what shall be taken out."""


def ask_deposit(account_id: str, number: int, amount_msat: int) -> Decision[None]:
    """Return what asking for a deposit means. Nothing is on the balance until it is paid."""
    wanted = InvoiceWanted(deposit_invoice_id(account_id, number), Purpose.CREDIT, amount_msat)
    return Decision(None, wanted=(wanted,))


def deposit_invoice_id(account_id: str, number: int) -> str:
    """Return the name of one of an account's deposits."""
    return f"{account_id}:{Purpose.CREDIT}{number}"


def withdrawal_id(account_id: str, number: int) -> str:
    """Return the name of one of an account's withdrawals."""
    return f"{account_id}:withdrawal{number}"


def withdraw(
    account_id: str, number: int, balance: int, amount: int, asset: Asset = Asset.MSAT
) -> Decision[None]:
    """Return what taking money out means: it is owed at once, and on the balance no more.

    Raises Short where there is not so much.
    """
    if balance < amount:
        raise Short
    owed = Owed(withdrawal_id(account_id, number), Reason.WITHDRAWN, amount, asset)
    entry = entries.owed_back(entries.of_user(account_id), amount, owed.id, asset)
    return Decision(None, (entry,), owed=(owed,))
