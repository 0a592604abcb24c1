"""The node behind the stub rail: keys, invoices and payments in a SQLite file.

Each method is one transaction, and it is synchronous.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import bolt11 as lightning

from payments.bolt11 import BadInvoice, plain
from payments.rail import Absent, Failed, Opened, Outcome, Pending, Settled, Unknown, Unsent
from payments.stub_file import Scripted, StubFile
from pricing.money import Msat

NETWORK: Final = "bcrt"
MEMO_BYTES: Final = 639  # the most that a BOLT11 description holds

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, private_key TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS invoices (
        payment_hash TEXT PRIMARY KEY, node TEXT NOT NULL, key TEXT UNIQUE,
        bolt11 TEXT NOT NULL UNIQUE, preimage TEXT NOT NULL, amount_msat INTEGER NOT NULL,
        expires_at TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS receipts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, payment_hash TEXT NOT NULL UNIQUE,
        amount_msat INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS payments (
        payment_hash TEXT PRIMARY KEY, amount_msat INTEGER NOT NULL, fee_msat INTEGER NOT NULL,
        settled INTEGER NOT NULL, settles_at TEXT)""",
)


class StubNode(StubFile):
    """The file of the node."""

    def __init__(
        self,
        path: str | Path,
        clock: Callable[[], datetime],
        routing_fee_msat: Msat,
        lock_timeout_s: float,
    ) -> None:
        super().__init__(path, lock_timeout_s, _SCHEMA)
        self._clock = clock
        self._routing_fee_msat = routing_fee_msat
        with self._tx() as tx:
            for node in ("ours", "buyer"):
                tx.execute(
                    "INSERT OR IGNORE INTO nodes VALUES (?, ?)", (node, secrets.token_hex(32))
                )

    def make_invoice(
        self, node: str, key: str | None, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened:
        """Sign and keep an invoice of one of the two nodes; the same key gives the same one."""
        by_key = "SELECT * FROM invoices WHERE key = ?"
        if not (rows := self._read(by_key, key)):
            [(private_key,)] = self._read("SELECT private_key FROM nodes WHERE name = ?", node)
            made, preimage = _sign(private_key, amount_msat, memo, expiry_s, self._clock())
            row = (made.payment_hash, node, key, made.bolt11, preimage, amount_msat)
            with self._tx() as tx:
                # Another process may have made one for this key since: then that one is given.
                tx.execute(
                    "INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (key) DO NOTHING",
                    (*row, made.expires_at.isoformat()),
                )
            if key is None:
                return made
            rows = self._read(by_key, key)
        [row_] = rows
        if row_["amount_msat"] != amount_msat:
            raise ValueError(f"the key {key} names an invoice of another amount")
        expires_at = datetime.fromisoformat(row_["expires_at"])
        return Opened(row_["bolt11"], row_["payment_hash"], amount_msat, expires_at)

    def invoice(self, payment_hash: str) -> Outcome:
        """Say what became of an invoice of ours."""
        rows = self._read(
            "SELECT r.amount_msat, preimage FROM invoices LEFT JOIN receipts r USING (payment_hash)"
            " WHERE payment_hash = ? AND node = 'ours'",
            payment_hash,
        )
        if not rows:
            return Absent("the node knows no such invoice")
        [(received_msat, preimage)] = rows
        if received_msat is None:
            return Pending()
        return Settled(payment_hash, Msat(received_msat), preimage)

    def receive(self, payment_hash: str, amount_msat: Msat | None, late: bool) -> Settled | Failed:
        """Take in the buyer's payment of an invoice of ours; a second time is a replay."""
        query = "SELECT * FROM invoices WHERE payment_hash = ? AND node = 'ours'"
        with self._tx() as tx:
            invoice = tx.execute(query, (payment_hash,)).fetchone()
            if invoice is None:
                return Failed("no route: the node knows no such invoice")
            query = "SELECT amount_msat FROM receipts WHERE payment_hash = ?"
            if before := tx.execute(query, (payment_hash,)).fetchone():
                return Settled(payment_hash, Msat(before[0]), invoice["preimage"])
            if not late and datetime.fromisoformat(invoice["expires_at"]) <= self._clock():
                return Failed("the invoice has expired")
            paid_msat = invoice["amount_msat"] if amount_msat is None else amount_msat
            if paid_msat < invoice["amount_msat"]:
                return Failed("that is less than the invoice asks for")
            tx.execute(
                "INSERT INTO receipts (payment_hash, amount_msat) VALUES (?, ?)",
                (payment_hash, paid_msat),
            )
        return Settled(payment_hash, Msat(paid_msat), invoice["preimage"])

    def pay(self, bolt11: str, fee_limit_msat: Msat, fault: Scripted) -> Outcome:
        """Pay an invoice of the buyer's node, once, as the scripted fault lets it."""
        try:
            text = plain(bolt11)
        except BadInvoice as bad:
            return Failed(str(bad))
        with self._tx() as tx:
            query = "SELECT * FROM invoices WHERE bolt11 = ? AND node = 'buyer'"
            invoice = tx.execute(query, (text,)).fetchone()
            if invoice is None:
                return Failed("no route to the payee")
            payment_hash, amount_msat = invoice["payment_hash"], invoice["amount_msat"]
            query = "SELECT 1 FROM payments WHERE payment_hash = ?"
            if tx.execute(query, (payment_hash,)).fetchone() is None:
                if fault.name in {"429", "failed"}:
                    kind = Failed if fault.name == "failed" else Unsent
                    return kind(f"scripted {fault.name}: nothing was sent")
                now, fee_msat = self._clock(), self._routing_fee_msat
                if datetime.fromisoformat(invoice["expires_at"]) <= now:
                    return Failed("the invoice has expired")
                if fee_msat > fee_limit_msat:
                    return Failed("no route within the fee limit")
                if amount_msat + fee_msat > self._sum_msat(tx, also_unsettled=True):
                    return Unsent("insufficient balance")
                hangs = fault.name in {"pending", "settle_later"}
                settles_at = (now + timedelta(seconds=fault.delay_s)).isoformat()
                tx.execute(
                    "INSERT INTO payments VALUES (?, ?, ?, ?, ?)",
                    (
                        payment_hash,
                        amount_msat,
                        fee_msat,
                        not hangs,
                        settles_at if fault.name == "settle_later" else None,
                    ),
                )
        if fault.name == "settle_later":
            return Unknown("scripted settle_later: the answer was lost")
        return self.payment(payment_hash)

    def payment(self, payment_hash: str) -> Outcome:
        """Say what became of a payment of ours."""
        with self._tx() as tx:
            self._settle_due(tx)
            row = tx.execute(
                "SELECT p.*, preimage FROM payments p JOIN invoices USING (payment_hash)"
                " WHERE payment_hash = ?",
                (payment_hash,),
            ).fetchone()
        if row is None:
            return Absent("the node knows no such payment")
        if not row["settled"]:
            return Pending()
        return Settled(
            payment_hash, Msat(row["amount_msat"]), row["preimage"], Msat(row["fee_msat"])
        )

    def balance_msat(self) -> Msat:
        """Return what was received, minus what was paid."""
        with self._tx() as tx:
            self._settle_due(tx)
            return self._sum_msat(tx, also_unsettled=False)

    def _settle_due(self, tx: sqlite3.Connection) -> None:
        # Written down when it is first seen: a clock that jumps back unsettles nothing.
        for row in tx.execute(
            "SELECT payment_hash, settles_at FROM payments WHERE NOT settled AND settles_at > ''"
        ).fetchall():
            if datetime.fromisoformat(row["settles_at"]) <= self._clock():
                tx.execute(
                    "UPDATE payments SET settled = 1 WHERE payment_hash = ?",
                    (row["payment_hash"],),
                )

    def _sum_msat(self, tx: sqlite3.Connection, *, also_unsettled: bool) -> Msat:
        [sum_msat] = tx.execute(
            "SELECT (SELECT coalesce(sum(amount_msat), 0) FROM receipts) - (SELECT"
            " coalesce(sum(amount_msat + fee_msat), 0) FROM payments WHERE settled OR ?)",
            (also_unsettled,),
        ).fetchone()
        return Msat(sum_msat)

    def last_receipt(self) -> int:
        """Return the number of the newest payment that came in."""
        [(seq,)] = self._read("SELECT coalesce(max(seq), 0) FROM receipts")
        return int(seq)

    def receipts_after(self, seq: int) -> list[tuple[int, Settled]]:
        """Return payments that came in after that number."""
        rows = self._read(
            "SELECT seq, payment_hash, r.amount_msat, preimage FROM receipts r"
            " JOIN invoices USING (payment_hash) WHERE seq > ? ORDER BY seq",
            seq,
        )
        return [(seq, Settled(name, Msat(paid), preimage)) for seq, name, paid, preimage in rows]

    def clear(self) -> None:
        """Forget every fault, and settle what hung."""
        self.clear_faults()
        with self._tx() as tx:
            tx.execute("UPDATE payments SET settled = 1 WHERE settles_at IS NULL")


def _sign(
    private_key: str, amount_msat: Msat, memo: str, expiry_s: int, now: datetime
) -> tuple[Opened, str]:
    """Return an invoice and its preimage."""
    preimage = secrets.token_bytes(32)
    payment_hash = hashlib.sha256(preimage).hexdigest()
    features: dict[lightning.Feature | lightning.FeatureExtra, lightning.FeatureState] = {
        lightning.Feature.var_onion_optin: lightning.FeatureState.required,
        lightning.Feature.payment_secret: lightning.FeatureState.required,
    }
    tags = lightning.Tags()
    for char, value in (
        ("p", payment_hash),
        ("s", secrets.token_hex(32)),
        ("d", memo.encode()[:MEMO_BYTES].decode(errors="ignore")),
        ("x", expiry_s),
        ("c", 18),
        ("9", lightning.Features.from_feature_list(features)),
    ):
        tags.add(lightning.TagChar(char), value)
    made_at_s = int(now.timestamp())
    text = lightning.encode(
        lightning.Bolt11(NETWORK, made_at_s, tags, lightning.MilliSatoshi(amount_msat)),
        private_key,
    )
    expires_at = datetime.fromtimestamp(made_at_s + expiry_s, now.tzinfo)
    return Opened(text, payment_hash, amount_msat, expires_at), preimage.hex()
