"""USDC without a chain: balances and used nonces in a SQLite file, as a contract keeps them.

Each method is one transaction, and it is synchronous. Signatures, windows, nonces and balances are
checked for real.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from payments.stub_file import StubFile
from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.network import Network
from payments.usdc.outcome import (
    DUST_MICROUSDC,
    Block,
    Gone,
    Moved,
    Received,
    Transfer,
    Unused,
    Use,
)
from pricing.money import MicroUsdc

# What an address has that was never seen: everybody can try it out.
FAUCET: Final = MicroUsdc(1_000_000_000)
LEAST_LEFT_S: Final = 6

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS balances (
        network TEXT NOT NULL, holder TEXT NOT NULL,
        microusdc INTEGER NOT NULL CHECK (microusdc >= 0), PRIMARY KEY (network, holder))""",
    """CREATE TABLE IF NOT EXISTS used (
        network TEXT NOT NULL, payer TEXT NOT NULL, nonce TEXT NOT NULL, txid TEXT NOT NULL,
        payee TEXT NOT NULL, microusdc INTEGER NOT NULL, PRIMARY KEY (network, payer, nonce))""",
    # A transfer is a block of its own.
    """CREATE TABLE IF NOT EXISTS moved (
        number INTEGER PRIMARY KEY AUTOINCREMENT, network TEXT NOT NULL, txid TEXT NOT NULL,
        at_s INTEGER NOT NULL, payer TEXT NOT NULL, payee TEXT NOT NULL,
        microusdc INTEGER NOT NULL, nonce TEXT)""",
)
_FIRST: Final = "0x" + "0" * 64


class StubChain(StubFile):
    """The file of the chain."""

    def __init__(
        self, path: str | Path, clock: Callable[[], datetime], lock_timeout_s: float = 2.5
    ) -> None:
        super().__init__(path, lock_timeout_s, _SCHEMA)
        self._clock = clock

    def now_s(self) -> int:
        """Return the time of the newest block."""
        return int(self._clock().timestamp())

    def balance(self, network: Network, holder: Address) -> MicroUsdc:
        """Return what an address holds."""
        with self._tx() as tx:
            return _balance(tx, network, holder)

    def use_of(self, network: Network, order: Authorization) -> Use:
        """Return what the nonce of an order was used for."""
        with self._tx() as tx:
            row = tx.execute(
                "SELECT txid, payee, microusdc FROM used WHERE (network, payer, nonce) = (?, ?, ?)",
                (network.caip2, order.payer, order.nonce),
            ).fetchone()
        return Unused(self.now_s()) if row is None else Moved(row[0], Address(row[1]), row[2])

    def flaw(self, network: Network, order: Authorization, signature: str) -> str | None:
        """Return why an order would not be settled now, in x402's words; None when it would."""
        with self._tx() as tx:
            return self._flaw(tx, network, order, signature)

    def settle(self, network: Network, order: Authorization, signature: str) -> tuple[str, str]:
        """Move the money. Returns the transaction, or "" and why not."""
        with self._tx() as tx:
            flaw = self._flaw(tx, network, order, signature)
            if flaw is not None:
                return "", flaw
            named = f"{network.caip2}:{order.payer}:{order.nonce}"
            txid = "0x" + hashlib.sha256(named.encode()).hexdigest()
            amount = order.amount_microusdc
            tx.execute(
                "INSERT INTO used VALUES (?, ?, ?, ?, ?, ?)",
                (network.caip2, order.payer, order.nonce, txid, order.payee, amount),
            )
            _move(tx, network, order.payer, order.payee, amount)
            self._log(tx, network, txid, order.payer, order.payee, amount, order.nonce)
            return txid, ""

    def send(self, network: Network, payer: Address, payee: Address, amount: MicroUsdc) -> str:
        """Move money as a wallet does that signs no order; return the transaction.

        ValueError where the payer has not so much.
        """
        with self._tx() as tx:
            if _balance(tx, network, payer) < amount:
                raise ValueError("the payer has not so much")
            txid = "0x" + secrets.token_hex(32)
            _move(tx, network, payer, payee, amount)
            self._log(tx, network, txid, payer, payee, amount, None)
            return txid

    def received(self, network: Network, payee: Address, after: Block | None) -> Received | Gone:
        """Return what came to an address after a block."""
        with self._tx() as tx:
            if after is not None and not _is_there(tx, after):
                return Gone()
            last = tx.execute("SELECT * FROM moved ORDER BY number DESC LIMIT 1").fetchone()
            upto = Block(0, _FIRST, self.now_s()) if last is None else _block(last)
            if after is None or upto.number == after.number:
                return Received(after or upto, (), is_all=True)
            rows = tx.execute(
                "SELECT * FROM moved WHERE network = ? AND payee = ? AND number > ?"
                " AND microusdc >= ? ORDER BY number",
                (network.caip2, payee, after.number, DUST_MICROUSDC),
            ).fetchall()
            return Received(upto, tuple(_transfer(row) for row in rows), is_all=True)

    def is_there(self, block: Block) -> bool:
        """Say whether a block is still there."""
        with self._tx() as tx:
            return _is_there(tx, block)

    def _log(
        self,
        tx: sqlite3.Connection,
        network: Network,
        txid: str,
        payer: Address,
        payee: Address,
        amount_microusdc: int,
        nonce: str | None,
    ) -> None:
        tx.execute(
            "INSERT INTO moved (network, txid, at_s, payer, payee, microusdc, nonce)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (network.caip2, txid, self.now_s(), payer, payee, amount_microusdc, nonce),
        )

    def take_back(self, network: Network, order: Authorization) -> None:
        """Undo a transfer, as a reorganisation of the chain does: as if it had never been."""
        with self._tx() as tx:
            gone = tx.execute(
                "DELETE FROM used WHERE (network, payer, nonce) = (?, ?, ?)",
                (network.caip2, order.payer, order.nonce),
            )
            tx.execute(
                "DELETE FROM moved WHERE (network, payer, nonce) = (?, ?, ?)",
                (network.caip2, order.payer, order.nonce),
            )
            if gone.rowcount:
                _move(tx, network, order.payee, order.payer, order.amount_microusdc)

    def _flaw(
        self, tx: sqlite3.Connection, network: Network, order: Authorization, signature: str
    ) -> str | None:
        now_s = self.now_s()
        used = tx.execute(
            "SELECT 1 FROM used WHERE (network, payer, nonce) = (?, ?, ?)",
            (network.caip2, order.payer, order.nonce),
        ).fetchone()
        checks = (
            (
                order.valid_before_s >= now_s + LEAST_LEFT_S,
                "invalid_exact_evm_payload_authorization_valid_before",
            ),
            (
                order.valid_after_s <= now_s,
                "invalid_exact_evm_payload_authorization_valid_after",
            ),
            (
                order.is_signed_by_payer(network, signature),
                "invalid_exact_evm_payload_signature",
            ),
            (used is None, "invalid_exact_evm_nonce_already_used"),
            (
                _balance(tx, network, order.payer) >= order.amount_microusdc,
                "invalid_exact_evm_insufficient_balance",
            ),
        )
        return next((flaw for holds, flaw in checks if not holds), None)


def _is_there(tx: sqlite3.Connection, block: Block) -> bool:
    if block.number == 0:
        return block.hash == _FIRST
    row = tx.execute("SELECT txid FROM moved WHERE number = ?", (block.number,)).fetchone()
    return row is not None and row["txid"] == block.hash


def _block(row: sqlite3.Row) -> Block:
    return Block(row["number"], row["txid"], row["at_s"])


def _transfer(row: sqlite3.Row) -> Transfer:
    amount, payer = MicroUsdc(row["microusdc"]), Address(row["payer"])
    return Transfer(row["txid"], 1, _block(row), payer, amount, row["nonce"])


def _balance(tx: sqlite3.Connection, network: Network, holder: Address) -> MicroUsdc:
    row = tx.execute(
        "SELECT microusdc FROM balances WHERE (network, holder) = (?, ?)", (network.caip2, holder)
    ).fetchone()
    return FAUCET if row is None else MicroUsdc(row[0])


def _move(
    tx: sqlite3.Connection, network: Network, payer: Address, payee: Address, amount_microusdc: int
) -> None:
    for holder, change_microusdc in ((payer, -amount_microusdc), (payee, amount_microusdc)):
        after_microusdc = _balance(tx, network, holder) + change_microusdc
        tx.execute(
            "INSERT INTO balances VALUES (?, ?, ?)"
            " ON CONFLICT (network, holder) DO UPDATE SET microusdc = excluded.microusdc",
            (network.caip2, holder, after_microusdc),
        )
