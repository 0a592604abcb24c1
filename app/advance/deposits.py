"""USDC that was sent to our address without a signed order: taken in once, and claimed once.

A transfer is known by its transaction and its place in that. One of a signed order that we have is
that order's; and an order whose transfer was taken in as a deposit pays for nothing else.
"""

from datetime import UTC, datetime, timedelta

from app.advance import connecting
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from db import authorizations, chain_blocks, connect_requests, deposits, ledger, people
from db.chain_blocks import Watch
from db.connect_requests import ConnectRow
from db.deposits import DepositRow
from db.people_tables import IdentityKind
from payments.usdc.outcome import Block, Received, Transfer
from statemachine import deposit as law
from statemachine.authorization import AuthorizationState
from statemachine.connect import ConnectState
from statemachine.decision import Decision
from statemachine.deposit import DepositFacts
from statemachine.machine import IllegalTransition

APART = timedelta(minutes=1)  # a block's time may be behind ours
UNKNOWN_SENDER = "Its sender has no account here, and no open request asks for this amount."
LATE = "A request had asked for this amount, and had lapsed when it was sent."
AGAIN = "The request that had asked for this amount was paid before."


async def record(
    act: Act, watch: Watch, own: str | None, before: Block | None, read: Received
) -> Outcome:
    """Take in what was read after a block, and go on from the last one next time: one commit.

    Replayed: another process has read on meanwhile. `own`: an address of ours, whose transfers to
    the other one are no deposits.
    """
    await chain_blocks.lock(act.tx, watch)
    was = (None, None) if before is None else (before.number, before.hash)
    if not await chain_blocks.is_at(act.tx, watch, *was):
        return Replayed()
    upto = read.upto
    if upto != before:
        await chain_blocks.move(act.tx, watch, upto.number, upto.hash, upto.at_s)
    for transfer in read.transfers:
        if transfer.payer != own:
            await _take_in(act, watch, transfer)
    return Applied()


async def go_back(act: Act, watch: Watch, before: Block, number: int) -> Outcome:
    """Go on after this block next time: those after it were taken back.

    What was read there counts as gone, until it is seen again.
    """
    await chain_blocks.lock(act.tx, watch)
    if not await chain_blocks.is_at(act.tx, watch, before.number, before.hash):
        return Replayed()
    await chain_blocks.go_back(act.tx, watch, number)
    await deposits.miss(act.tx, watch, number, act.now)
    return Applied()


async def _take_in(act: Act, watch: Watch, transfer: Transfer) -> None:
    deposit_id = f"{watch.network}:{transfer.txid}:{transfer.place}"
    sent_at = datetime.fromtimestamp(transfer.block.at_s, UTC)
    if await deposits.see_again(act.tx, deposit_id, transfer.block.number, sent_at):
        return
    order_id = None
    if transfer.nonce is not None:
        order_id = f"{watch.network}:{transfer.payer}:{transfer.nonce}"
        if await _is_of_order(act, order_id, transfer):
            return
    await deposits.lock_name(act.tx, transfer.payer)
    account_id, note = await _whose(act, watch, transfer, sent_at)
    decision = law.arrived(deposit_id, transfer.amount_microusdc, account_id)
    row = DepositRow(
        deposit_id,
        watch.network,
        watch.pay_to,
        transfer.txid,
        transfer.block.number,
        sent_at,
        transfer.payer,
        transfer.amount_microusdc,
        order_id,
        decision.facts.state,
        account_id,
        note,
        act.now,
        None,
        None,
    )
    if await deposits.insert(act.tx, row):
        await _write(act, decision)


async def _is_of_order(act: Act, order_id: str, transfer: Transfer) -> bool:
    """Say whether a transfer is of a signed order that we have: that one books it."""
    await deposits.lock_name(act.tx, order_id)
    order = await authorizations.read(act.tx, order_id)
    if order is None or order.state is AuthorizationState.FAILED:
        return False
    return order.amount_microusdc == transfer.amount_microusdc


async def _whose(
    act: Act, watch: Watch, transfer: Transfer, sent_at: datetime
) -> tuple[str | None, str | None]:
    """Return whose a transfer is; or None, and why it is nobody's.

    Who has proven to hold the address comes first: what is his must not open an account for
    another one who was asked for the same amount.
    """
    proven = await people.holder_of(act.tx, IdentityKind.EVM, transfer.payer)
    if proven is not None and await people.keep(act.tx, proven):
        return proven, None
    amount = transfer.amount_microusdc
    request = await connect_requests.lock_open(act.tx, watch.network, amount)
    if request is not None and _in_time(request, sent_at):
        await connecting.paid(act, request)
        return request.account_id, None
    asked = await connect_requests.asked_before(act.tx, watch.network, amount)
    if request is None and asked is not None and asked.created_at - APART <= sent_at:
        return None, AGAIN if asked.state is ConnectState.PAID else LATE
    return None, UNKNOWN_SENDER if request is None or sent_at < request.created_at else LATE


def _in_time(request: ConnectRow, sent_at: datetime) -> bool:
    return request.created_at - APART <= sent_at <= request.expires_at


async def claim(act: Act, address: str, account_id: str) -> None:
    """Give an account all that its holder has sent from an address, before he had proven it."""
    await deposits.lock_name(act.tx, address)
    for row in await deposits.lock_unclaimed(act.tx, address):
        await _claimed(act, row, account_id)


async def give(act: Act, deposit_id: str, account_id: str) -> Outcome:
    """Give an account a deposit that nobody has: an operator says whose it is."""
    row = await deposits.lock(act.tx, deposit_id)
    if row is None or row.gone_at is not None or not await people.keep(act.tx, account_id):
        return Missing()
    try:
        await _claimed(act, row, account_id)
    except IllegalTransition:
        return Replayed()
    return Applied()


async def _claimed(act: Act, row: DepositRow, account_id: str) -> None:
    decision = law.decide(deposits.facts_of(row), law.Claimed(account_id))
    await deposits.move(act.tx, decision.facts, act.now)
    await _write(act, decision)


async def _write(act: Act, decision: Decision[DepositFacts]) -> None:
    await ledger.post(act.tx, decision.entries, act.now)
    if decision.facts.account_id is not None:
        await people.tell(act.tx, decision.facts.account_id)
