"""The commands for the books: ledger, reconcile, payouts.

They print plain lines, or JSON, and their exit code says whether all is well.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from app import advance
from app.advance import Applied, Shell
from app.commands.terminal import database, fail, read_settings, run
from app.main import assemble
from app.operator.books import Review
from app.plant import Built, books_of, sending_of
from app.ports import Destinations
from app.promises.sending import Unpayable, where
from app.settings import Settings
from app.telemetry import logs
from db import ledger as books
from db import payouts as payout_rows
from db import public_ids, standing, switches
from db.engine import Database
from db.ledger import Leg
from db.payouts import PayoutRow
from db.standing import UnpaidPayout
from payments.lnurl import BadDestination
from statemachine.entries import Kind
from statemachine.payout import PayoutState
from statemachine.public_id import concealed, public_id

app = typer.Typer()
payouts_app = typer.Typer(help="Payouts that are not paid, and what can be done about them.")
app.add_typer(payouts_app, name="payouts")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
PayoutId = Annotated[str, typer.Argument(metavar="ID", help="as `boltwork payouts` shows it")]


@contextlib.asynccontextmanager
async def _opened(settings: Settings, url: str) -> AsyncIterator[Built]:
    """Open what was built for one command: no loop runs and no promise is kept here."""
    built = assemble(settings, url)
    try:
        await built.db.open()
        await built.outbox.open()
        yield built
    finally:
        for part in (built.rail, built.agent, built.oracle, built.destinations, built.outbox):
            await part.close()
        if built.usdc is not None:
            await built.usdc.facilitator.close()
            await built.usdc.ledger.close()
        await built.db.close()


def at_the_books(work: Any) -> Any:
    """Run `work(built)` on the database of the settings, beside a running server if there is."""
    settings = read_settings()
    logs.configure("critical")

    async def at_the_books(url: str) -> Any:
        async with _opened(settings, url) as built:
            return await work(built)

    with database(settings, shared=True) as url:
        return run(at_the_books(url))


# ------------------------------------------------------------------ ledger


@app.command()
def ledger(
    job: Annotated[
        str | None, typer.Argument(help="show the entries of this job, by its public id")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every account that holds something, with totals, or the entries of one job.

    Amounts are msat, or millionths of a USDC where it says so.
    """
    if job is None:
        _show_accounts(at_the_books(lambda built: books.trial_balance(built.db)), as_json)
        return
    name = job

    async def entries(built: Built) -> list[Leg]:
        job_id = await public_ids.owner_id(built.db, name)
        if job_id is None:
            return []
        owed = await payout_rows.of_owner(built.db, job_id)
        names = [f"{kind}:{row.id}" for row in owed for kind in ("refund", "sending")]
        return await books.entries_of(built.db, [f"job:{job_id}", *names])

    rows = at_the_books(entries)
    if not rows:
        fail(f"the books know nothing of a job {job}: nothing was paid for it, or it is not there.")
    _show_entries(rows, as_json)


def _show_accounts(lines_: list[books.Balance], as_json: bool) -> None:
    held = [line for line in lines_ if line.kept or line.recomputed]
    if as_json:
        shown = [
            {
                "account": concealed(x.account),
                "kind": x.kind.value,
                f"balance{x.asset.title()}": x.kept,
            }
            for x in held
        ]
        print(json.dumps({"accounts": shown}))
        return
    width = max([len(line.account) for line in held], default=0)
    for line in held:
        account = concealed(line.account)
        print(f"{line.kind:9}  {account:{width}}  {line.kept:>18,} {line.asset}")
    for asset in dict.fromkeys(line.asset for line in held):
        for kind in Kind:
            total = sum(x.kept for x in held if (x.asset, x.kind) == (asset, kind))
            print(f"{kind:9}  {'all together':{width}}  {total:>18,} {asset}")
    if not held:
        print("The books are empty.")


def _show_entries(rows: list[Leg], as_json: bool) -> None:
    entries: dict[str, dict[str, Any]] = {}
    assets = {concealed(row.key): row.asset for row in rows}
    for row in rows:
        key = concealed(row.key)
        fresh = {"key": key, "at": row.at.isoformat(), "postings": []}
        leg = {"account": concealed(row.account), f"amount{row.asset.title()}": row.amount}
        entries.setdefault(key, fresh)["postings"].append(leg)
    if as_json:
        print(json.dumps({"entries": list(entries.values())}))
        return
    for key, entry in entries.items():
        print(f"{entry['at']}  {key}")
        for posting in entry["postings"]:
            account, amount = posting.values()
            print(f"    {amount:>+18,} {assets[key]}  {account}")


# --------------------------------------------------------------- reconcile


@app.command()
def reconcile(
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="compare with what the rail holds now, from now on; say why"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the invariants of the books, and hold the rail's own balance against them.

    Exit code 0: all is right. 1: something is wrong, and named. 2: not all could be checked.
    """

    async def review(built: Built) -> Review:
        reviewed = books_of(built)
        if accept is not None:
            await reviewed.accept(accept)
        return await reviewed.review()

    found: Review = at_the_books(review)
    if as_json:
        findings = [
            {
                "invariant": each.invariant,
                "who": concealed(each.who),
                "what": concealed(each.what),
            }
            for each in found.findings
        ]
        rail = {"compared": found.rail.is_done, "said": found.rail.said}
        told: dict[str, Any] = {"findings": findings, "rail": rail}
        if found.usdc is not None:
            told["usdc"] = {"compared": found.usdc.is_done, "said": found.usdc.said}
        print(json.dumps(told))
    else:
        for finding in found.findings:
            print(finding.line)
        for each in found.compared:
            print(each.said)
        count = len(found.findings)
        print(f"{count} wrong." if count else "The books are right: invariants 1 to 8 hold.")
    is_done = all(each.is_done for each in found.compared)
    raise typer.Exit(1 if found.findings else 0 if is_done else 2)


# ----------------------------------------------------------------- payouts


@payouts_app.callback(invoke_without_command=True)
def payouts(context: typer.Context, as_json: AsJson = False) -> None:
    """Show payouts that are owed, in flight, or stuck: those need a person."""
    if context.invoked_subcommand is not None:
        return

    async def look(built: Built) -> tuple[list[UnpaidPayout], bool]:
        rows = await standing.unpaid_payouts(built.db, built.clock())
        return rows, not await switches.is_on(built.db, switches.Name.PAYING_OUT)

    rows, held = at_the_books(look)
    if as_json:
        print(json.dumps({"payouts": [_payout(row) for row in rows], "standStill": held}))
        return
    if held:
        print("Payouts stand still until `boltwork paying-out on`.")
    for row in rows:
        to = f"to {row.refund_to}" if row.refund_to else "no destination was named yet"
        print(f"{row.standing:9}  {concealed(row.id)}  {row.amount} {row.asset} ({row.reason})")
        print(
            f"           {to}; {row.attempts} sent, {row.failures} failed;"
            f" since {row.created_at:%Y-%m-%d %H:%M}"
        )
        if row.note:
            print(f"           {row.note}")
    if not rows:
        print("Every payout is paid.")


def _payout(row: UnpaidPayout) -> dict[str, Any]:
    return {
        "id": concealed(row.id),
        "job": public_id(row.job_id) if row.job_id else None,
        "session": public_id(row.session_id) if row.session_id else None,
        "batch": public_id(row.batch_id) if row.batch_id else None,
        "standing": row.standing,
        "state": row.state,
        "reason": row.reason,
        f"amount{row.asset.title()}": row.amount,
        "attempts": row.attempts,
        "failures": row.failures,
        "refundTo": row.refund_to,
        "note": row.note,
        "createdAt": row.created_at.isoformat(),
        "updatedAt": row.updated_at.isoformat(),
    }


@payouts_app.command()
def retry(payout_id: PayoutId) -> None:
    """Try a payout again at the destination that it has."""

    async def again(built: Built) -> None:
        row = await _owed(built.db, payout_id)
        if row.refund_to is None:
            fail(f"no destination was named yet: boltwork payouts redirect {payout_id} …")
        await _redirect(built.shell, built.destinations, row, row.refund_to)

    at_the_books(again)
    print("It is tried again.")


@payouts_app.command()
def redirect(
    payout_id: PayoutId,
    destination: Annotated[
        str, typer.Argument(help="a Lightning address or an LNURL; in USDC an address")
    ],
) -> None:
    """Send a payout somewhere else. One that is in flight must first come back."""

    async def elsewhere(built: Built) -> None:
        await _redirect(
            built.shell, built.destinations, await _owed(built.db, payout_id), destination
        )

    at_the_books(elsewhere)
    print(f"It goes to {destination}.")


@payouts_app.command()
def paid(
    payout_id: PayoutId,
    payment_hash: Annotated[str, typer.Argument(metavar="HASH", help="of the payment, as it was")],
) -> None:
    """Write down that a payout was paid before a restore; the rail is asked whether that is so.

    Repeated, it says the same.
    """

    async def written(built: Built) -> None:
        told = await sending_of(built).record(
            await _found(built.db, payout_id), payment_hash.strip().lower()
        )
        if isinstance(told, Unpayable):
            fail(told.sentence)

    at_the_books(written)
    print("It is paid.")


async def _found(db: Database, payout_id: str) -> PayoutRow:
    found = await public_ids.payout_id(db, payout_id)
    row = await payout_rows.get(db, found) if found else None
    if row is None:
        fail(f"there is no payout {payout_id}")
    if row.state is PayoutState.IN_FLIGHT:
        fail("it is in flight: the rail is asked what became of it, and it is never sent twice")
    return row


async def _owed(db: Database, payout_id: str) -> PayoutRow:
    row = await _found(db, payout_id)
    if row.state is PayoutState.PAID:
        fail("it is paid")
    return row


async def _redirect(
    shell: Shell, destinations: Destinations, row: PayoutRow, refund_to: str
) -> None:
    destination = where(destinations, row, refund_to)
    if isinstance(destination, BadDestination):
        fail(destination.sentence)
    told = await shell.do(advance.payouts.redirect, row.id, destination)
    if not isinstance(told, Applied):
        fail("it was sent at this moment, and is not sent twice")
