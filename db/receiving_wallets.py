"""The rail's wallets, one after the other, and money moved from a retired one to the next."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.receiving_tables import ReceivingWallet, WalletTransfer
from db.rows import Reads
from statemachine.transfer import TransferFacts
from statemachine.wallet import WalletFacts, WalletState


@dataclass(frozen=True, slots=True)
class OpenedWallet:
    """A wallet that was opened. The first has no key here: it is in the settings."""

    number: int
    identity: str
    sealed: str | None = field(repr=False)
    wanted_at: datetime
    opened_at: datetime
    retired_at: datetime | None
    closed_at: datetime | None
    left_msat: int | None  # when it is closed
    deleted_at: datetime | None

    @property
    def state(self) -> WalletState:
        """Where it stands."""
        return state_of(self)

    @property
    def since(self) -> datetime:
        """Since when it stands there."""
        since: datetime = getattr(self, _MOMENTS[self.state])
        return since


# A wallet is in the last of these states, in their order, whose moment has come.
_MOMENTS = {
    WalletState.WANTED: "wanted_at",
    WalletState.IN_USE: "opened_at",
    WalletState.RETIRED: "retired_at",
    WalletState.CLOSED: "closed_at",
    WalletState.DELETED: "deleted_at",
}


def state_of(row: OpenedWallet | ReceivingWallet) -> WalletState:
    """Return where a wallet stands: its state is written as the moment since when it is in it."""
    return [state for state in WalletState if getattr(row, _MOMENTS[state]) is not None][-1]


_OPENED = """
SELECT number, identity, sealed, wanted_at, opened_at, retired_at, closed_at, left_msat, deleted_at
  FROM receiving_wallet
 WHERE rail = %(rail)s AND identity IS NOT NULL ORDER BY number
"""


async def opened(db: Database, rail: str) -> list[OpenedWallet]:
    """Return the wallets of a rail, the oldest first."""
    return [OpenedWallet(**row) for row in await db.read_all(_OPENED, rail=rail)]


async def insert(
    tx: Tx, rail: str, facts: WalletFacts, now: datetime, identity: str | None = None
) -> bool:
    """Write a wallet as it comes to be. False: there is one of this number."""
    made = await tx.count(
        "INSERT INTO receiving_wallet (rail, number, identity, wanted_at, opened_at)"
        " VALUES (%(rail)s, %(number)s, %(identity)s, %(now)s, %(opened_at)s)"
        " ON CONFLICT DO NOTHING",
        rail=rail,
        number=facts.number,
        identity=identity,
        now=now,
        opened_at=now if facts.state is WalletState.IN_USE else None,
    )
    return made == 1


async def lock(tx: Tx, rail: str) -> list[ReceivingWallet]:
    """Return the rows of all wallets of a rail, the oldest first, locked."""
    found = await tx.all(
        "SELECT * FROM receiving_wallet WHERE rail = %(rail)s ORDER BY number FOR UPDATE",
        rail=rail,
    )
    return [ReceivingWallet.model_validate(row) for row in found]


async def move(tx: Tx, row: ReceivingWallet, after: WalletFacts, now: datetime) -> None:
    """Write the state after an event, by its moment, with what is known of the wallet now."""
    await tx.execute(
        "UPDATE receiving_wallet SET identity = %(identity)s, sealed = %(sealed)s,"
        f" left_msat = %(left_msat)s, {_MOMENTS[after.state]} = %(now)s"
        " WHERE rail = %(rail)s AND number = %(number)s",
        identity=row.identity,
        sealed=row.sealed,
        left_msat=after.left_msat,
        now=now,
        rail=row.rail,
        number=row.number,
    )


_AWAITED = """
SELECT EXISTS (SELECT FROM wallet_transfer
                WHERE outcome = 'live' AND %(identity)s IN (from_wallet, to_wallet))
    OR EXISTS (SELECT FROM payout_attempt WHERE outcome = 'live' AND called_by = %(identity)s)
    OR EXISTS (SELECT FROM invoice WHERE wallet = %(identity)s AND state = 'open') AS is_awaited
"""


async def is_awaited(tx: Tx, identity: str) -> bool:
    """Say whether a transfer, a payout or an invoice of a wallet has not come to its end."""
    row = await tx.one(_AWAITED, identity=identity)
    return bool(row and row["is_awaited"])


async def watch_no_more(tx: Tx, identity: str) -> None:
    """Have nobody ask the rail about the invoices of a wallet any more."""
    for table in ("invoice", "lapsed_invoice"):
        await tx.execute(
            f"UPDATE {table} SET check_at = NULL"
            " WHERE wallet = %(identity)s AND check_at IS NOT NULL",
            identity=identity,
        )


async def invoices_made(db: Database, identity: str, most: int) -> int:
    """Return how many invoices were made on a wallet, counted up to `most`."""
    row = await db.read_one(
        "SELECT count(*) AS n FROM"
        " (SELECT FROM invoice WHERE wallet = %(identity)s UNION ALL"
        "  SELECT FROM lapsed_invoice WHERE wallet = %(identity)s LIMIT %(most)s) AS made",
        identity=identity,
        most=most,
    )
    return int(row["n"]) if row else 0


_SEALED = """
SELECT rail, number, identity, sealed FROM receiving_wallet WHERE sealed IS NOT NULL
 ORDER BY rail, number
"""


class Sealed(NamedTuple):
    """The closed key of a wallet."""

    rail: str
    number: int
    identity: str
    sealed: str


async def sealed_keys(reads: Reads) -> list[Sealed]:
    """Return the closed keys of the wallets of all rails."""
    return await reads.rows(Sealed, _SEALED)


async def take_sealed(tx: Tx) -> list[Sealed]:
    """Return the same. Until this transaction ends nobody adds one."""
    await tx.execute("LOCK TABLE receiving_wallet IN SHARE ROW EXCLUSIVE MODE")
    return await sealed_keys(tx)


async def reseal(tx: Tx, rail: str, number: int, sealed: str) -> None:
    """Write a key as it was closed anew."""
    await tx.execute(
        "UPDATE receiving_wallet SET sealed = %(sealed)s"
        " WHERE rail = %(rail)s AND number = %(number)s",
        rail=rail,
        number=number,
        sealed=sealed,
    )


_BEGIN = """
INSERT INTO wallet_transfer (payment_hash, bolt11, rail, from_wallet, to_wallet, amount_msat,
                             outcome, expires_at, began_at)
VALUES (%(payment_hash)s, %(bolt11)s, %(rail)s, %(from_wallet)s, %(to_wallet)s, %(amount_msat)s,
        %(outcome)s, %(expires_at)s, %(began_at)s) ON CONFLICT DO NOTHING
"""


async def begin_transfer(tx: Tx, transfer: WalletTransfer) -> bool:
    """Write that a wallet is about to be asked to pay. False: it has one on its way."""
    return await tx.count(_BEGIN, **dict(transfer)) == 1


async def live_transfers(db: Database, rail: str) -> list[WalletTransfer]:
    """Return transfers of which nobody knows yet what became of them."""
    rows = await db.read_all(
        "SELECT * FROM wallet_transfer WHERE outcome = 'live' AND rail = %(rail)s"
        " ORDER BY began_at, payment_hash",
        rail=rail,
    )
    return [WalletTransfer.model_validate(row) for row in rows]


async def lock_transfer(tx: Tx, payment_hash: str) -> WalletTransfer | None:
    """Return a transfer's row, locked."""
    row = await tx.one(
        "SELECT * FROM wallet_transfer WHERE payment_hash = %(h)s FOR UPDATE", h=payment_hash
    )
    return WalletTransfer.model_validate(row) if row else None


async def move_transfer(tx: Tx, after: TransferFacts, now: datetime) -> None:
    """Write what became of a transfer."""
    await tx.execute(
        "UPDATE wallet_transfer SET outcome = %(outcome)s, fee_msat = %(fee_msat)s,"
        " ended_at = %(now)s WHERE payment_hash = %(payment_hash)s",
        payment_hash=after.payment_hash,
        outcome=after.state,
        fee_msat=after.fee_msat,
        now=now,
    )
