"""What is around a server that may die: its rail and the buyer's wallet on the other side, which
live on, and an auditor who reads the rows and trusts no code of ours.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from payments.bolt11 import decode
from payments.rail import Settled
from payments.stub import StubRail
from payments.usdc.stub_facilitator import FILE
from pricing.money import sats_to_msat
from tests.runs.crash_chain import wrong_in_usdc
from tests.runs.crash_server import MovableClock
from tests.world.fault_proxy import FaultProxy
from tests.world.lnbits_server import Account, LnbitsServer

PAYMENTS = "/api/v1/payments"


class Side(Protocol):
    """One rail, with the buyer's wallet. All amounts that pass are counted here, apart from us."""

    paid_msat: int  # what the buyer has paid to invoices of ours
    knows_our_clock: bool  # or lives by the real time, however far ours is ahead
    chain: Path | None  # the file of the chain behind the second rail, where there is one

    def environment(self) -> dict[str, str]:
        """Return what tells a server of this rail."""
        ...

    async def pay(self, bolt11: str) -> str:
        """Have the buyer pay, late by our clock or not; return the preimage."""
        ...

    async def make_invoice(self, amount_sats: int, expiry_s: int) -> str:
        """Have the buyer's wallet make an invoice."""
        ...

    async def send(self, bolt11: str) -> None:
        """Have the rail pay for us, and the books hear nothing of it."""
        ...

    async def trouble(self, call: str) -> None:
        """Have the next "create" or "pay" of ours be turned away by the rail."""
        ...

    async def received_msat(self) -> int:
        """Return all that the buyer was ever sent."""
        ...

    async def held_msat(self) -> int:
        """Return what the rail holds for us."""
        ...

    async def is_gathered(self) -> bool:
        """Say whether all that the rail holds for us lies in one wallet."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class StubSide:
    """The stub rail's file, opened by the buyer."""

    knows_our_clock = True

    def __init__(self, folder: Path, clock: MovableClock) -> None:
        self.folder = folder
        self._rail = StubRail(folder / "stub.sqlite3", clock)
        self._hashes: list[str] = []
        self.paid_msat = 0
        self.chain: Path | None = folder / FILE

    def environment(self) -> dict[str, str]:
        """See Side."""
        return {}

    async def pay(self, bolt11: str) -> str:
        """See Side."""
        paid = await self._rail.receive(decode(bolt11).payment_hash, late=True)
        assert isinstance(paid, Settled)
        self.paid_msat += paid.amount_msat
        return paid.preimage

    async def make_invoice(self, amount_sats: int, expiry_s: int) -> str:
        """See Side."""
        made = await self._rail.buyer_invoice(sats_to_msat(amount_sats), "refund", expiry_s)
        self._hashes.append(made.payment_hash)
        return made.bolt11

    async def send(self, bolt11: str) -> None:
        """See Side."""
        sent = await self._rail.pay(bolt11, self._rail.least_fee_limit_msat)
        assert isinstance(sent, Settled)

    async def trouble(self, call: str) -> None:
        """See Side."""
        if call == "create":
            await self._rail.script_fault("create_invoice", "5xx")
        else:
            await self._rail.script_fault("pay", "429")

    async def received_msat(self) -> int:
        """See Side."""
        return sum([await self._rail.buyer_received_msat(name) for name in self._hashes])

    async def held_msat(self) -> int:
        """See Side."""
        held_msat = await self._rail.balance_msat()
        assert isinstance(held_msat, int)
        return held_msat

    async def is_gathered(self) -> bool:
        """See Side."""
        return True

    async def close(self) -> None:
        """See Side."""
        await self._rail.close()


class LnbitsSide:
    """A user of our own in the real LNbits, behind a proxy; the buyer's wallet is shared."""

    knows_our_clock = False
    chain: Path | None = None

    def __init__(self, server: LnbitsServer, ours: Account, proxy: FaultProxy) -> None:
        self._server, self._ours, self.proxy = server, ours, proxy
        self._hashes: list[str] = []
        self.paid_msat = 0

    @classmethod
    async def on(cls, server: LnbitsServer) -> "LnbitsSide":
        """Return a side with a user of its own, whose wallets are empty."""
        proxy = FaultProxy(server.url)
        await proxy.listen()
        return cls(server, await server.new_account(), proxy)

    def environment(self) -> dict[str, str]:
        """See Side."""
        return {
            "LNBITS_URL": self.proxy.url,
            "LNBITS_API_KEY": self._ours.first.adminkey,
            "LNBITS_TOKEN": self._ours.token,
        }

    async def pay(self, bolt11: str) -> str:
        """See Side."""
        await self._server.pay(self._server.buyer, bolt11)
        invoice = decode(bolt11)
        self.paid_msat += invoice.amount_msat or 0
        told = await self._server.payment(self._server.buyer, invoice.payment_hash)
        return str(told["preimage"])

    async def make_invoice(self, amount_sats: int, expiry_s: int) -> str:
        """See Side."""
        bolt11 = await self._server.create_invoice(self._server.buyer, amount_sats, expiry_s)
        self._hashes.append(decode(bolt11).payment_hash)
        return bolt11

    async def send(self, bolt11: str) -> None:
        """See Side."""
        await self._server.pay(self._ours.first, bolt11)

    async def trouble(self, call: str) -> None:
        """See Side."""
        if call == "create":
            self.proxy.inject("503", "POST", PAYMENTS, holding=b'"out":false')
        else:
            self.proxy.inject("429", "POST", PAYMENTS, holding=b'"out":true')

    async def received_msat(self) -> int:
        """See Side."""
        told = [await self._server.payment(self._server.buyer, name) for name in self._hashes]
        return sum(int(one["details"]["amount"]) for one in told if one["paid"])

    async def held_msat(self) -> int:
        """See Side."""
        return await self._server.held_msat(self._ours)

    async def is_gathered(self) -> bool:
        """See Side."""
        wallets = await self._server.wallets_of(self._ours)
        return [wallet["balance_msat"] > 0 for wallet in wallets].count(True) == 1

    async def close(self) -> None:
        """See Side."""
        await self.proxy.refuse()


@dataclass
class Books:
    """The rows of one database, read with plain SQL."""

    url: str
    _connection: psycopg.AsyncConnection[dict[str, Any]] | None = field(default=None, repr=False)

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query, or nothing for a statement without any."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self.url, autocommit=True, row_factory=dict_row
            )
        cursor = await self._connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def due(self, *, fetching: bool = False) -> list[dict[str, Any]]:
        """Return the promises that should be kept by now, and are not.

        `fetching`: and those that ask a destination again, after a pause, that was busy.
        """
        return await self.ask(
            "SELECT task_name, status, attempts, worker_id, now() - scheduled_at AS due"
            " FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
            " AND (coalesce(scheduled_at, now()) <= now()"
            f" OR ({fetching} AND task_name = 'FetchInvoice'))"
        )

    async def unasked(self, now: datetime) -> list[dict[str, Any]]:
        """Return the payouts that are on their way, and should have been asked about by now."""
        return await self.ask(
            "SELECT payment_hash FROM payout_attempt WHERE outcome = 'live'"
            f" AND check_at <= '{now.isoformat()}'"
        )


UNCLAIMED = "money that nobody has claimed in the end"
PAY = (
    "SELECT 'worker:' || id AS name FROM worker UNION ALL SELECT 'user:' || account_id FROM worker"
)
# What there must be nothing of, once all is calm.
NOTHING = (
    (
        "entries that do not balance",
        "SELECT entry_id, sum(amount) FROM posting GROUP BY 1 HAVING sum(amount) <> 0",
    ),
    (
        "balances that are not what their postings add up to",
        "SELECT name, a.asset, balance, s FROM kept_balance a LEFT JOIN (SELECT account, e.asset,"
        " sum(amount) AS s FROM posting JOIN entry e ON e.id = entry_id GROUP BY 1, 2) p"
        " ON account = name AND p.asset = a.asset WHERE abs(balance) <> abs(coalesce(s, 0))",
    ),
    (
        UNCLAIMED,
        "SELECT name, asset, balance FROM account WHERE kind = 'liability' AND balance <> 0"
        " AND NOT (starts_with(name, 'user:') AND balance < 1000)",  # no invoice asks for it
    ),
    (
        "jobs that have not ended",
        "SELECT id, state FROM job WHERE state NOT IN ('complete', 'rejected', 'failed')",
    ),
    (
        "batches that were paid for, and have not ended",
        "SELECT id, state FROM batch WHERE state IN ('queued', 'processing')",
    ),
    (
        "batches that were charged for something else than what they delivered",
        "SELECT b.id, charged_amount, s FROM batch b CROSS JOIN LATERAL (SELECT"
        " coalesce(sum(share_amount), 0) AS s FROM item WHERE batch_id = b.id"
        " AND state = 'completed') i WHERE charged_amount <> CASE asset"
        " WHEN 'msat' THEN ceil(s / 1000.0) * 1000 ELSE s END",  # whole sats
    ),
    (
        "items that were not brought once, if they were delivered",
        "SELECT i.id, i.state, count(l.sha256) FROM item i JOIN batch b ON b.id = i.batch_id"
        " AND b.purged_at IS NULL LEFT JOIN lease l ON l.item_id = i.id"
        " GROUP BY i.id HAVING count(l.sha256) <> (i.state = 'completed')::int",
    ),
    (
        "sessions that have not ended",
        "SELECT id, state, reserved_msat FROM session"
        " WHERE state <> 'expired' OR reserved_msat > 0",
    ),
    (
        "money that is still on its way between wallets",
        "SELECT * FROM wallet_transfer WHERE outcome = 'live'",
    ),
    (
        "calls that are still held",
        "SELECT id, state FROM hold WHERE state = 'held'",
    ),
    (
        "days on which another sum was given away than its calls cost",
        "SELECT d.day, used_msat FROM free_day d LEFT JOIN hold h ON h.day = d.day"
        " GROUP BY d.day, used_msat HAVING used_msat <> coalesce(sum(charge_msat), 0)",
    ),
    (
        "days on which another sum was given for routing than its payouts took",
        "SELECT d.day, routing_msat FROM free_day d LEFT JOIN payout_attempt a"
        " ON a.free_day = d.day AND a.outcome <> 'returned' GROUP BY d.day, routing_msat"
        " HAVING routing_msat <> coalesce(sum(greatest(0, a.free_msat - a.borne_msat"
        " + least(a.borne_msat, a.fee_msat))), 0)",
    ),
    (
        "payouts that are not paid by one settled attempt",
        "SELECT p.id, p.state FROM payout p LEFT JOIN (SELECT payout_id, outcome"
        " FROM payout_attempt UNION ALL SELECT payout_id, outcome FROM usdc_attempt) a"
        " ON a.payout_id = p.id"
        " AND a.outcome <> 'returned' GROUP BY p.id, p.state"
        " HAVING p.state <> 'paid' OR count(*) <> 1 OR bool_or(a.outcome = 'live')",
    ),
)


async def audit(books: Books, side: Side, *, pay_may_rest: bool = False) -> list[str]:
    """Return everything that is wrong once all is calm: no sat lost, none paid twice.

    `pay_may_rest`: workers of the network have not come for theirs.
    """
    found = [(what, await books.ask(query)) for what, query in NOTHING]
    if pay_may_rest:
        pay = {row["name"] for row in await books.ask(PAY)}
        found = [
            (what, [row for row in rows if what != UNCLAIMED or row["name"] not in pay])
            for what, rows in found
        ]
    wrong = [f"{what}: {rows}" for what, rows in found if rows]
    kept = await books.ask("SELECT name, balance FROM kept_balance WHERE asset = 'msat'")
    sums = {row["name"]: int(row["balance"]) for row in kept}
    held, received = await side.held_msat(), await side.received_msat()
    if sums.get("rail:lightning", 0) != held:
        wrong.append(f"the rail holds {held}, the books say {sums.get('rail:lightning', 0)}")
    [owed] = await books.ask(  # change is part of what another one owed
        "SELECT coalesce(sum(amount) FILTER (WHERE reason <> 'change'), 0)::bigint AS n"
        " FROM payout WHERE asset = 'msat'"
    )
    if owed["n"] != received:
        wrong.append(f"owed back {owed['n']}, received by the buyer {received}")
    earned = sum(sums.get(f"revenue:{what}", 0) for what in ("eval", "work", "media"))
    # By authors, and by workers; and what these have forfeited, beside what canaries have cost.
    earned += sums.get("revenue:forfeits", 0) - sums.get("expense:canaries", 0)
    earned += sum(left for name, left in sums.items() if name.startswith(("user:", "worker:")))
    if side.paid_msat - received != earned:
        wrong.append(f"paid {side.paid_msat}, sent back {received}, earned {earned}")
    spent = sum(sums.get(f"expense:{what}", 0) for what in ("free", "failed"))
    given = sums.get("revenue:free", 0), spent
    if given[0] != given[1]:
        wrong.append(f"the house paid itself {given[0]} of {given[1]}")
    [charged] = await books.ask(
        "SELECT ((SELECT coalesce(sum((charge->>'total_msat')::bigint), 0) FROM job) + (SELECT"
        " coalesce(sum(charge_msat), 0) FROM hold WHERE session_id IS NOT NULL))::bigint AS n"
    )
    if charged["n"] != sums.get("revenue:work", 0):
        wrong.append(f"charged {charged['n']}, earned by work {sums.get('revenue:work', 0)}")
    return [*wrong, *await wrong_in_usdc(books.ask, side.chain)]
