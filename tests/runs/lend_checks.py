"""What must be so when lent machines have made what was bought: every msat is where it belongs.

Rows are read with plain SQL, and what is due to whom is worked out here again, by no code of ours.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import httpx2

from tests.runs.crash_server import ForkedServer
from tests.runs.crash_world import Books, LnbitsSide
from tests.runs.lend_buyers import CREDIT_MSAT, Account
from tests.runs.lend_machines import Machine

ITEMS = 50  # of a worker's last ones, that are made good
# What a machine has brought to buyers, what of its pay was held, and what is left to the house.
BROUGHT = """
SELECT i.batch_id, i.share_amount AS charge, e.amount AS pay, e.held_amount AS held
  FROM earning e JOIN item i ON i.id = e.item_id JOIN batch b ON b.id = i.batch_id
 WHERE e.worker_id = '{}' AND b.funding = 'account' ORDER BY e.created_at DESC
"""
AMENDS = "SELECT batch_id, amount FROM amends WHERE state = 'made'"
CANARIES = """
SELECT coalesce(sum(forfeited_msat), 0)::bigint AS lost,
       coalesce(sum(added_msat), 0)::bigint AS added,
       count(*) FILTER (WHERE state = 'passed') AS passed,
       count(*) FILTER (WHERE state = 'failed') AS failed
  FROM canary WHERE worker_id = '{}'
"""
EARNED = "SELECT coalesce(sum(amount), 0)::bigint AS n FROM earning WHERE worker_id = '{}'"
HAS = "SELECT coalesce(sum(balance), 0)::bigint AS n FROM kept_balance WHERE name = '{}'"
SUMS = """
SELECT a.kind, sum(k.balance)::bigint AS n FROM account a JOIN kept_balance k USING (name, asset)
 WHERE asset = 'msat' GROUP BY 1
"""
UNBALANCED = "SELECT entry_id FROM posting GROUP BY 1 HAVING sum(amount) <> 0"
UNENDED = "SELECT id, state FROM batch WHERE state IN ('queued', 'processing')"


class Town(Protocol):
    """The server, those who buy, those who lend, and the rail between them."""

    server: ForkedServer
    books: Books
    side: LnbitsSide
    http: httpx2.AsyncClient
    buyers: list[Account]
    liar: Machine

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All that are lent."""
        ...

    async def count(self, query: str) -> int:
        """Return what a query counts."""
        ...

    async def worker_id(self, machine: Machine) -> str:
        """Return the worker that a machine is."""
        ...


async def wrong_with_liar(at: Town) -> list[str]:
    """Return what the liar has that it should not have: it is found out, and keeps nothing."""
    me = await at.liar.asks(at.http, "GET")
    earnings = me["earnings"]["msat"]
    wrong = [] if me["state"] == "banned" else [f"the liar is {me['state']}"]
    if earnings["forfeited"] != earnings["earned"] or not earnings["earned"]:
        wrong.append(f"the liar keeps some of {earnings}")
    code, said = await at.liar.withdraw()
    if code != 1 or "0 sats are free" not in said:
        wrong.append(f"the liar asks for its pay: {code}, {said}")
    found_out = "banned" in at.liar.said  # or it had been told to end before
    if at.liar.codes != [1 if found_out else 0]:
        wrong.append(f"the liar ended with {at.liar.codes}: {at.liar.said[-300:]}")
    return wrong


async def wrong_with_honest(at: Town, *machines: Machine) -> list[str]:
    """Return who was taken for a liar, or did not end well."""
    wrong = []
    for machine in machines:
        [row] = await at.books.ask(CANARIES.format(await at.worker_id(machine)))
        if row["failed"]:
            wrong.append(f"{machine.name} has failed {row['failed']} canaries")
        if any(machine.codes):
            wrong.append(f"{machine.name} ended with {machine.codes}: {machine.said[-300:]}")
    return wrong


async def due_to_buyers(at: Town) -> dict[str, int]:
    """Return what is due back by batch for junk of the liar, in msat: what was held, and the
    house's own part, in whole sats."""
    junk = await at.books.ask(BROUGHT.format(await at.worker_id(at.liar)))
    assert len(junk) <= ITEMS, f"the liar was found out after {len(junk)} pictures"
    due = {}
    for row in junk:
        left_msat = row["held"] + row["charge"] - row["pay"]
        due[str(row["batch_id"])] = left_msat // 1_000 * 1_000
    return due


async def wrong_with_amends(at: Town) -> list[str]:
    """Return what is wrong with what buyers of junk have back: all that they have paid for it."""
    due, wrong = await due_to_buyers(at), []
    rows = await at.books.ask(AMENDS)
    made = {str(row["batch_id"]): int(row["amount"]) for row in rows}
    if made != due or len(rows) != len(made):
        wrong.append(f"amends are {made}, and {due} are due")
    wrong += [f"{name} has {has} msat back" for name, has in made.items() if has != CREDIT_MSAT]
    [sums] = await at.books.ask(CANARIES.format(await at.worker_id(at.liar)))
    left = int(sums["lost"]) + int(sums["added"]) - sum(due.values())
    rests = await at.count(HAS.format("revenue:forfeits"))
    if rests != left:
        wrong.append(f"{rests} msat are left of what was forfeited, not {left} of {sums}")
    return wrong


async def wrong_with_buyers(at: Town) -> list[str]:
    """Return who has neither a picture nor the credits for it; amends for junk come on top."""
    wrong, amends = [], await at.books.ask(AMENDS)
    for buyer in at.buyers:
        batches = {job.replace("-", "") for job in buyer.jobs}
        if len(batches) != len(buyer.ended):
            wrong.append(f"{buyer.name} has bought {len(batches)}, and {len(buyer.ended)} ended")
        back_msat = sum(int(row["amount"]) for row in amends if row["batch_id"] in batches)
        due_msat = buyer.paid_msat - buyer.delivered * CREDIT_MSAT + back_msat
        has_msat = await at.count(HAS.format(f"user:{await buyer.account_id()}"))
        told_msat = 1_000 * await buyer.balance_sats()
        if not has_msat == told_msat == due_msat:
            has = f"{has_msat} in the books, is told {told_msat}"
            wrong.append(f"{buyer.name} has {has}, and should have {due_msat} msat")
    return wrong


async def wrong_with_books(
    at: Town, earned: Mapping[str, int], withdrawn_msat: int, machines: Sequence[Machine]
) -> list[str]:
    """Return what does not agree: rows, sums, the rail, and the product's own review."""
    wrong = [f"{row} does not balance" for row in await at.books.ask(UNBALANCED)]
    wrong += [f"{row} has not ended" for row in await at.books.ask(UNENDED)]
    for machine in machines:
        rows_msat = await at.count(EARNED.format(await at.worker_id(machine)))
        if rows_msat != earned[machine.name]:
            wrong.append(f"{machine.name} earned {earned[machine.name]}, its rows say {rows_msat}")
    held_msat, paid_msat = await at.side.held_msat(), at.side.paid_msat
    if held_msat != paid_msat - withdrawn_msat:
        wrong.append(f"the rail holds {held_msat} of {paid_msat} - {withdrawn_msat}")
    kinds = {row["kind"]: int(row["n"]) for row in await at.books.ask(SUMS)}
    owns = kinds["liability"] + kinds.get("income", 0) - kinds.get("expense", 0)
    if not held_msat == kinds["asset"] == owns:
        wrong.append(f"the rail holds {held_msat}, the books {kinds}")
    code, said = await at.server.command("reconcile")
    return wrong if code == 0 else [*wrong, f"reconcile: {said}"]
