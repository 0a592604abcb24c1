"""The rail's wallets, one after the other, and money moved from a retired one to the next."""

from dataclasses import dataclass, field
from datetime import datetime

from db.engine import Database, Row, Tx
from db.receiving_tables import WalletTransfer
from statemachine.transfer import TransferFacts


@dataclass(frozen=True, slots=True)
class OpenedWallet:
    """A wallet that was opened. The first has no key here: it is in the settings."""

    number: int
    identity: str
    sealed: str | None = field(repr=False)
    opened_at: datetime
    retired_at: datetime | None
    closed_at: datetime | None
    left_msat: int | None  # when it is closed
    deleted_at: datetime | None


_OPENED = """
SELECT number, identity, sealed, opened_at, retired_at, closed_at, left_msat, deleted_at
  FROM receiving_wallet
 WHERE rail = %(rail)s AND identity IS NOT NULL ORDER BY number
"""


async def opened(db: Database, rail: str) -> list[OpenedWallet]:
    """Return the wallets of a rail, the oldest first."""
    return [OpenedWallet(**row) for row in await db.read_all(_OPENED, rail=rail)]


async def offer_first(tx: Tx, rail: str, now: datetime) -> None:
    """Write down the wallet that the settings name, unless it is there."""
    await tx.execute(
        "INSERT INTO receiving_wallet (rail, number, identity, wanted_at, opened_at)"
        " VALUES (%(rail)s, 1, %(rail)s, %(now)s, %(now)s) ON CONFLICT DO NOTHING",
        rail=rail,
        now=now,
    )


async def want(tx: Tx, rail: str, number: int, now: datetime, lost_before: datetime) -> bool:
    """Say that this caller opens the wallet of this number. False: another one is about to.

    Whoever set out before `lost_before`, and has not opened it, is not waited for.
    """
    made = await tx.execute(
        "INSERT INTO receiving_wallet AS w (rail, number, wanted_at)"
        " VALUES (%(rail)s, %(number)s, %(now)s) ON CONFLICT (rail, number)"
        " DO UPDATE SET wanted_at = %(now)s"
        " WHERE w.identity IS NULL AND w.wanted_at < %(lost_before)s",
        rail=rail,
        number=number,
        now=now,
        lost_before=lost_before,
    )
    return made == 1


async def open_next(
    tx: Tx, rail: str, number: int, identity: str, sealed: str, now: datetime
) -> bool:
    """Write down a wallet that exists now, and retire the one before it. False: there was one."""
    opened_ = await tx.execute(
        "UPDATE receiving_wallet SET identity = %(identity)s, sealed = %(sealed)s,"
        " opened_at = %(now)s"
        " WHERE rail = %(rail)s AND number = %(number)s AND identity IS NULL",
        rail=rail,
        number=number,
        identity=identity,
        sealed=sealed,
        now=now,
    )
    if opened_ == 1:
        await tx.execute(
            "UPDATE receiving_wallet SET retired_at = %(now)s"
            " WHERE rail = %(rail)s AND number < %(number)s AND retired_at IS NULL",
            rail=rail,
            number=number,
            now=now,
        )
    return opened_ == 1


_CLOSE = """
UPDATE receiving_wallet SET closed_at = %(now)s, left_msat = %(left_msat)s
 WHERE rail = %(rail)s AND identity = %(identity)s AND retired_at IS NOT NULL AND closed_at IS NULL
   AND NOT EXISTS (SELECT FROM wallet_transfer
                    WHERE outcome = 'live' AND %(identity)s IN (from_wallet, to_wallet))
   AND NOT EXISTS (SELECT FROM payout_attempt
                    WHERE outcome = 'live' AND called_by = %(identity)s)
   AND NOT EXISTS (SELECT FROM invoice WHERE wallet = %(identity)s AND state = 'open')
"""


async def close(tx: Tx, rail: str, identity: str, left_msat: int, now: datetime) -> bool:
    """Close a retired wallet that nothing can come to or leave any more; False: something may.

    Nobody is asked about its invoices after that.
    """
    closed = await tx.execute(_CLOSE, rail=rail, identity=identity, left_msat=left_msat, now=now)
    if closed == 1:
        for table in ("invoice", "lapsed_invoice"):
            await tx.execute(
                f"UPDATE {table} SET check_at = NULL"
                " WHERE wallet = %(identity)s AND check_at IS NOT NULL",
                identity=identity,
            )
    return closed == 1


async def note_deleted(tx: Tx, rail: str, identity: str, now: datetime) -> None:
    """Write down that a closed wallet is there no more."""
    await tx.execute(
        "UPDATE receiving_wallet SET deleted_at = %(now)s"
        " WHERE rail = %(rail)s AND identity = %(identity)s AND closed_at IS NOT NULL",
        rail=rail,
        identity=identity,
        now=now,
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


async def sealed_keys(db: Database) -> list[Row]:
    """Return the closed keys of the wallets of all rails."""
    return await db.read_all(_SEALED)


async def take_sealed(tx: Tx) -> list[Row]:
    """Return the same. Until this transaction ends nobody adds one."""
    await tx.execute("LOCK TABLE receiving_wallet IN SHARE ROW EXCLUSIVE MODE")
    return await tx.all(_SEALED)


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
    """Write down that a wallet is about to be told to pay. False: it has one on its way."""
    return await tx.execute(_BEGIN, **dict(transfer)) == 1


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
