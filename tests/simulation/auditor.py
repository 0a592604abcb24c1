"""The auditor: hears of every change, checks what it touched, and now and then recounts it all.

Reads Postgres over a connection of its own, and believes only the node and the wallets.
"""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from app.operator.books import Review
from db.audit import audit
from db.engine import Database
from tests.simulation.database import PATIENCE_S
from tests.simulation.ledger import named
from tests.simulation.model import Model, hold
from tests.simulation.node import OWN_MSAT, Node
from tests.simulation.payers import Payer
from tests.simulation.rows import BATCH_FINAL, FINAL, Owner, Row

_NEWS = "SELECT n, name, was, is_now FROM world.witnessed WHERE n > %s ORDER BY n"
_TABLES = {
    "job": ("id",),
    "invoice": ("id",),
    "payout": ("id",),
    "payout_attempt": ("payment_hash",),
    "session": ("id",),
    "hold": ("id",),
    "allowance": ("link",),
    "free_day": ("day",),
    "lapsed_invoice": ("payment_hash",),
    "batch": ("id",),
    "item": ("id",),
    "lease": ("item_id", "number"),
    "artifact": ("id",),
    "usdc_authorization": ("id",),
    "usdc_attempt": ("payout_id", "number"),
    "user_account": ("id",),
    "identity": ("kind", "name"),
    "api_key": ("id",),
    "usdc_deposit": ("id",),
    "spell_cast": ("id",),
    "worker": ("id",),
    "earning": ("item_id",),
    "canary": ("item_id",),
    "amends": ("id",),
    "webhook": ("id",),
    "notice": ("id",),
    "notice_try": ("notice_id", "number"),
}


class Auditor:
    """Counts what everybody paid, got back, and must still get."""

    def __init__(self, model: Model, node: Node) -> None:
        self.model, self._node = model, node
        self._database: Database
        self._connection: psycopg.AsyncConnection[Any]
        self._last = 0
        self.recounts = 0

    async def open(self, url: str) -> None:
        """Connect."""
        self._database = Database(url, pool_size=1, patience_s=PATIENCE_S)
        await self._database.open()
        self._connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, row_factory=dict_row, prepare_threshold=0
        )
        # Nobody analyzes what was witnessed: without this, each look reads all of it again.
        await self._connection.execute("SET enable_seqscan = off")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()
        await self._database.close()

    async def set_clock(self, now: datetime, beating: list[int]) -> None:
        """Tell the task engine's SQL what time it is, and whose hearts have beaten until now."""
        await self._connection.execute(
            "WITH clock AS (UPDATE world.clock SET at = %(now)s) UPDATE procrastinate_workers"
            " SET last_heartbeat = %(now)s WHERE id = ANY(%(beating)s)",
            {"now": now, "beating": beating},
        )

    async def lose_promise(self) -> str:
        """Delete a promise that only Recovered can bring back; return its name."""
        query = (
            "SELECT id, lock FROM procrastinate_jobs WHERE status = 'todo'"
            " AND task_name IN ('Judge', 'Work', 'Notify') ORDER BY id LIMIT 1"
        )
        row = await (await self._connection.execute(query)).fetchone()
        if row is None:
            return "nothing"
        self.model.lost.add(row["lock"])
        self.model.ever_lost.add(row["lock"])
        await self._connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (row["id"],))
        return str(row["lock"])

    async def look(self) -> bool:
        """Take in what has changed, and check it. Return whether anything had."""
        rows = await (await self._connection.execute(_NEWS, (self._last,))).fetchall()
        if not rows:
            return False
        for row in rows:
            self.model.witness(row["name"], row["was"], row["is_now"])
        self._last = rows[-1]["n"]
        self.model.check()
        return True

    async def recount(self) -> None:
        """Recompute everything from the tables, and compare it with what was witnessed."""
        self.recounts += 1
        await self.look()
        model, execute = self.model, self._connection.execute
        sums = await execute(
            "SELECT account, asset, sum(amount)::bigint AS total FROM posting"
            " JOIN entry ON entry.id = entry_id GROUP BY account, asset"
        )
        total, posted = 0, model.ledger.posted
        for row in await sums.fetchall():
            total += row["total"]
            name = named(row["account"], row["asset"])
            hold(posted[name] == row["total"], 1, f"{name} was changed")
        hold(total == 0, 1, f"the trial balance is off by {total}")
        accounts = await execute("SELECT name, asset, kind, balance FROM kept_balance")
        for row in await accounts.fetchall():
            sign = 1 if row["kind"] in ("asset", "expense") else -1
            name = named(row["name"], row["asset"])
            recomputed = sign * posted[name]
            hold(row["balance"] == recomputed, 1, f"{name} does not add up")
        witnessed = self._witnessed()
        for table, keys in _TABLES.items():
            cursor = await execute(f"SELECT to_jsonb(t) AS row FROM {table} t".encode())
            found = [row["row"] for row in await cursor.fetchall()]
            rows = {tuple(row[key] for key in keys): row for row in found}
            hold(rows == witnessed[table], 1, f"the table {table} changed behind our back")
        await execute("TRUNCATE world.witnessed")
        for finding in await audit(self._database):
            known = finding.who in self.model.lost
            hold(known, finding.invariant, f"db.audit finds {finding.line}")
        self._compare_balance()
        model.usdc.compare(model.owners())
        model.market.recount()
        model.told.recount()

    def reviewed(self, review: Review, began: datetime, *, is_last: bool) -> None:
        """Check what the product's own review has found, which began then: only what the world
        took away, or not given back yet.
        """
        model = self.model
        for finding in review.findings:
            known = finding.who in model.ever_lost
            known |= finding.who == "rail x402" and model.usdc.is_short(began)
            hold(known, finding.invariant, f"the books' own review finds {finding.line}")
        hold(review.rail.is_done or not is_last, 3, review.rail.said)

    def _witnessed(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        prepaid, market = self.model.prepaid, self.model.market
        rows: dict[str, list[Row]] = {name: [] for name in _TABLES}
        for owner in self.model.owners():
            if owner.what in rows:
                rows[owner.what].append(owner.row)
            rows["invoice"] += owner.invoices.values()
            rows["payout"] += owner.payouts.values()
            rows["payout_attempt"] += owner.attempts.values()
        rows["hold"] += prepaid.free_holds.values()
        rows["free_day"] += prepaid.free_days.values()
        rows["lapsed_invoice"] += self.model.purged.kept.values()
        for purse in prepaid.purses.values():
            rows["hold"] += purse.holds.values()
            rows["allowance"] += purse.allowances.values()
        for lot in market.lots.values():
            rows["item"] += lot.items.values()
            rows["lease"] += lot.leases.values()
            rows["usdc_attempt"] += lot.usdc_attempts.values()
        for deal in self.model.deals.values():
            rows["usdc_attempt"] += deal.usdc_attempts.values()
        for patron in self.model.people.patrons.values():
            rows["usdc_attempt"] += patron.usdc_attempts.values()
        people = self.model.people
        told = self.model.told
        rows["webhook"] += told.webhooks.values()
        rows["notice"] += told.notices.values()
        rows["notice_try"] += told.tries.values()
        rows["user_account"] += people.accounts.values()
        rows["identity"] += people.names.values()
        rows["api_key"] += people.keys.values()
        rows["usdc_deposit"] += people.deposits.values()
        rows["spell_cast"] += market.casts.rows.values()
        rows |= self.model.network.recount()
        rows["canary"] += self.model.canaries.rows.values()
        rows["amends"] += self.model.canaries.amends.values()
        rows["artifact"] += market.files.values()
        rows["usdc_authorization"] += self.model.usdc.rows.values()
        return {
            table: {tuple(row[key] for key in _TABLES[table]): row for row in found}
            for table, found in rows.items()
        }

    def _compare_balance(self) -> None:
        unbooked_in = sum(
            invoice.received_msat or 0
            for invoice in self._node.invoices.values()
            if not self.model.ledger.credited[invoice.payment_hash]
        )
        booked = {
            attempt["payment_hash"]
            for owner in self.model.owners()
            for attempt in owner.attempts.values()
            if attempt["outcome"] == "settled"
        }
        unbooked_out = sum(
            sent.to.amount_msat + sent.fee_msat
            for payment_hash, sent in self._node.sent.items()
            if sent.settled and payment_hash not in booked
        )
        books = self.model.ledger.kept["rail:lightning"]
        hold(
            self._node.balance_msat == OWN_MSAT + books + unbooked_in - unbooked_out,
            3,
            f"the node holds {self._node.balance_msat}, the books say {books} beside the operator's"
            f" own, with {unbooked_in} coming in and {unbooked_out} going out",
        )

    def settle(self, payers: list[Payer]) -> dict[str, int]:
        """Check, in calm weather, that all has ended; return where every sat went."""
        model = self.model
        sums = dict.fromkeys(("paid", "earned", "refunded", "claimable"), 0)
        sums |= dict.fromkeys(("microUSDC paid", "microUSDC earned", "microUSDC refunded"), 0)
        sums["microUSDC claimable"] = 0
        paid: dict[str, int] = {}
        for invoice in self._node.invoices.values():
            owner_id = invoice.key.partition(":")[0]
            paid[owner_id] = paid.get(owner_id, 0) + (invoice.received_msat or 0)
        shown = {payer.owner_id: payer for payer in payers if payer.owner_id}
        self._settle_deals(paid, shown, sums)
        for purse in model.prepaid.purses.values():
            over = purse.row["state"] == "expired" and not purse.reserved_msat
            hold(over, 7, f"session {purse.row['id']} is still going on")
            self._settle(purse, purse.earned_msat, paid, shown, sums)
        for lot in model.market.lots.values():
            over = lot.row["state"] in BATCH_FINAL
            hold(over, 7, f"batch {lot.row['id']} is still going on")
            if lot.row["funding"] in ("account", "house"):
                continue  # what it cost is its account's, or ours
            if lot.asset != "msat":
                model.usdc.settle(lot, sums)
            elif not lot.row["session_id"]:
                self._settle(lot, lot.earned_msat - lot.sent_back, paid, shown, sums)
        self._settle_people(paid, shown, sums)
        model.network.settle(sums)
        model.canaries.settle()
        for owner_id, owner in model.purged.owners.items():
            received = paid.get(owner_id, 0)
            hold(not received, 7, f"{owner.what} {owner_id} was purged, and {received} were paid")
        model.told.settle()
        hold(not model.is_unpaid(), 7, "what nobody paid for lies there for ever")
        held = [name for name, row in model.prepaid.free_holds.items() if row["state"] == "held"]
        hold(not held, 7, f"{held} are held for ever")
        left = {name for name, count in model.staged.items() if count and name not in model.lost}
        hold(not left, 8, f"promises are left over: {sorted(left)[:5]}")
        return sums

    def _settle_deals(
        self, paid: dict[str, int], shown: dict[str, Payer], sums: dict[str, int]
    ) -> None:
        model = self.model
        for deal in model.deals.values():
            hold(deal.row["state"] in FINAL, 7, f"job {deal.row['id']} is still going on")
            if deal.asset != "msat":
                model.usdc.settle(deal, sums)
            elif not deal.row["session_id"]:
                self._settle(deal, deal.earned_msat, paid, shown, sums)

    def _settle_people(
        self, paid: dict[str, int], shown: dict[str, Payer], sums: dict[str, int]
    ) -> None:
        model = self.model
        for patron in model.people.patrons.values():
            at_rest = patron.balance("msat")
            earned = patron.earned_msat - patron.shares["msat"]
            self._settle(patron, earned + at_rest, paid, shown, sums)
            sums["earned"] -= at_rest
            sums["claimable"] += at_rest
            model.people.settle(patron, model.usdc.moved(patron), sums)

    def _settle(
        self,
        owner: Owner,
        earned: int,
        paid: dict[str, int],
        shown: dict[str, Payer],
        sums: dict[str, int],
    ) -> None:
        owner_id, claimable = owner.row["id"], owner.claimable_msat
        refunded = sum(
            self._node.wallets.by_hash[attempt["payment_hash"]].received_msat
            for attempt in owner.attempts.values()
        )
        in_flight = [p for p in owner.payouts.values() if p["state"] == "in_flight"]
        hold(not in_flight, 7, f"a payout of {owner.what} {owner_id} is in flight for ever")
        received = paid.get(owner_id, 0)
        ways = [a for a in owner.attempts.values() if a["outcome"] == "settled"]
        routing = sum(owner.routing_msat(attempt) for attempt in ways)
        hold(
            received == earned + refunded + routing + claimable,
            7,
            f"for {owner.what} {owner_id} {received} msat were paid, and {earned} are earned,"
            f" {refunded} refunded, {routing} went into routing, {claimable} claimable",
        )
        payer = shown.get(owner_id)
        if payer is not None:
            seen = sum(payer.owed) * 1_000
            hold(seen == claimable, 7, f"{payer.name} sees {seen} owed, and it is {claimable}")
        sums["paid"] += received
        sums["earned"] += earned
        sums["refunded"] += refunded + routing
        sums["claimable"] += claimable
