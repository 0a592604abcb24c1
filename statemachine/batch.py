"""A batch: items at a price that is known before it is paid, and charged only for what it delivers.

What was paid for it rests on it. Each delivered item moves its share to us; what is left at the
end is owed back, at once and as one. In bitcoin that is whole sats, as no wallet asks for less: the
charge is rounded up to one, once, when the last item has ended.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from pricing.money import whole_sats_up
from statemachine import entries
from statemachine.decision import Decision, InvoiceWanted, Owed
from statemachine.entries import Account, Asset
from statemachine.machine import Machine
from statemachine.owner import Purpose, Reason

MOST_ITEMS = 500
LEAST_REFUND_MICROUSDC = 10_000  # less than a cent is not sent, where its payer has a balance


class BatchState(StrEnum):
    """Where a batch stands."""

    AWAITING_PAYMENT = auto()  # its invoice is open, or its authorization has not settled
    QUEUED = auto()  # paid for, and nobody has begun
    PROCESSING = auto()  # its items are being made
    COMPLETED = auto()  # final: all items have ended, and one at least was delivered
    FAILED = auto()  # final: none was delivered, and all of it is owed back
    CANCELLED = auto()  # final: not paid in time, or given up before all was made


class Funding(StrEnum):
    """How a batch is paid for."""

    INVOICE = auto()
    SESSION = auto()  # from a prepaid balance
    ACCOUNT = auto()  # from a person's balance, in either asset
    X402 = auto()  # in USDC, by an authorization that has settled
    HOUSE = auto()  # by the house, which orders it to see what a worker makes of it


class BatchEvent(StrEnum):
    """What can happen to a batch."""

    PAID = auto()
    LAPSED = auto()
    CANCELLED = auto()
    BEGUN = auto()
    ITEM_DELIVERED = auto()
    ITEM_LOST = auto()
    COMPLETED = auto()
    FELL_THROUGH = auto()
    EMPTIED = auto()


BATCH = Machine(
    "batch",
    BatchState,
    BatchEvent,
    [
        (BatchEvent.PAID, BatchState.AWAITING_PAYMENT, BatchState.QUEUED),
        (BatchEvent.LAPSED, BatchState.AWAITING_PAYMENT, BatchState.CANCELLED),
        (BatchEvent.CANCELLED, BatchState.AWAITING_PAYMENT, BatchState.CANCELLED),
        (BatchEvent.CANCELLED, BatchState.QUEUED, BatchState.CANCELLED),
        # What somebody holds runs to its end.
        (BatchEvent.CANCELLED, BatchState.PROCESSING, BatchState.PROCESSING),
        (BatchEvent.BEGUN, BatchState.QUEUED, BatchState.PROCESSING),
        (BatchEvent.ITEM_DELIVERED, BatchState.PROCESSING, BatchState.PROCESSING),
        (BatchEvent.ITEM_LOST, BatchState.PROCESSING, BatchState.PROCESSING),
        # Told by nobody: what the end of the last item comes to.
        (BatchEvent.COMPLETED, BatchState.PROCESSING, BatchState.COMPLETED),
        (BatchEvent.FELL_THROUGH, BatchState.PROCESSING, BatchState.FAILED),
        (BatchEvent.EMPTIED, BatchState.PROCESSING, BatchState.CANCELLED),
    ],
)


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What the law needs to know of a batch. Amounts are in the smallest unit of its asset."""

    id: str
    state: BatchState
    funding: Funding
    price_amount: int
    items: int  # how many there are; these have ended:
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    charged_amount: int = 0  # the shares of those that were delivered
    called_off: bool = False  # the buyer wants no more of it than is being made
    session_id: str | None = None  # whose balance pays, where one does
    asset: Asset = Asset.MSAT
    account_id: str | None = None  # whose it is, whoever pays
    paid_by: str | None = None  # the authorization that pays, where one does

    @property
    def open(self) -> int:
        """How many items have not ended."""
        return self.items - self.delivered - self.failed - self.cancelled

    @property
    def rest_amount(self) -> int:
        """What was paid for it, and was not charged."""
        return self.price_amount - self.charged_amount

    @property
    def back_to(self) -> Account | None:
        """Where its rest goes at its end; None: it is owed to whoever paid, as a payout."""
        return self.balance_for(self.rest_amount)

    def balance_for(self, amount: int) -> Account | None:
        """Return the balance on which so much goes back; None: it is owed to whoever paid."""
        if self.funding is Funding.HOUSE:
            return entries.EXPENSE_CANARIES
        is_little = self.funding is Funding.X402 and amount < LEAST_REFUND_MICROUSDC
        if self.session_id is not None:
            return entries.of_session(self.session_id)
        if self.account_id is not None and (self.funding is Funding.ACCOUNT or is_little):
            return entries.of_user(self.account_id)
        return None


@dataclass(frozen=True, slots=True)
class Paid:
    """Its invoice settled, or its authorization."""

    kind = BatchEvent.PAID


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Its invoice was not paid in time, or its authorization has failed."""

    kind = BatchEvent.LAPSED


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The buyer wants it no more: so many items were cancelled, as nobody held them."""

    items: int
    kind = BatchEvent.CANCELLED


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody has claimed its first item."""

    kind = BatchEvent.BEGUN


@dataclass(frozen=True, slots=True)
class ItemDelivered:
    """One of its items was delivered: its share is charged, or what of it was used."""

    share_amount: int
    kind = BatchEvent.ITEM_DELIVERED


@dataclass(frozen=True, slots=True)
class ItemLost:
    """One of its items has ended without a result; `called_off`: as the buyer wanted it no more.

    `with_it`: so many others were cancelled at once, as they were to be made from it.
    """

    called_off: bool = False
    with_it: int = 0
    kind = BatchEvent.ITEM_LOST


Event = Paid | Lapsed | Cancelled | Begun | ItemDelivered | ItemLost


def invoice_id(batch_id: str) -> str:
    """Return the name of a batch's invoice."""
    return f"{batch_id}:{Purpose.BATCH}"


def begin(
    batch_id: str, price_msat: int, items: int, account_id: str | None = None
) -> Decision[BatchFacts]:
    """Return how a batch comes to be that an invoice pays for: unpaid, with that invoice."""
    facts = BatchFacts(
        batch_id,
        BatchState.AWAITING_PAYMENT,
        Funding.INVOICE,
        price_msat,
        _counted(items),
        account_id=account_id,
    )
    return Decision(facts, wanted=(InvoiceWanted(invoice_id(batch_id), Purpose.BATCH, price_msat),))


def begin_reserved(
    batch_id: str, session_id: str, price_msat: int, items: int, account_id: str | None = None
) -> Decision[BatchFacts]:
    """Return how a batch comes to be that a session pays for: its price is set aside."""
    facts = BatchFacts(
        batch_id,
        BatchState.QUEUED,
        Funding.SESSION,
        price_msat,
        _counted(items),
        session_id=session_id,
        account_id=account_id,
    )
    return _reserved(facts, entries.of_session(session_id))


def begin_from_account(
    batch_id: str, account_id: str, asset: Asset, amount: int, items: int
) -> Decision[BatchFacts]:
    """Return how a batch comes to be that an account pays for: its price is set aside."""
    facts = BatchFacts(
        batch_id,
        BatchState.QUEUED,
        Funding.ACCOUNT,
        amount,
        _counted(items),
        asset=asset,
        account_id=account_id,
    )
    return _reserved(facts, entries.of_user(account_id))


def begin_for_house(batch_id: str, price_msat: int) -> Decision[BatchFacts]:
    """Return how a batch of one comes to be that the house orders, and that a worker has begun: who
    does not bring it is followed by nobody.
    """
    facts = BatchFacts(
        batch_id, BatchState.PROCESSING, Funding.HOUSE, price_msat, items=1, called_off=True
    )
    return _reserved(facts, entries.EXPENSE_CANARIES)


def begin_claimed(
    batch_id: str,
    authorization: str,
    price_microusdc: int,
    items: int,
    account_id: str | None = None,
) -> Decision[BatchFacts]:
    """Return how a batch comes to be that an order in USDC is claimed for: it awaits its end."""
    facts = BatchFacts(
        batch_id,
        BatchState.AWAITING_PAYMENT,
        Funding.X402,
        price_microusdc,
        _counted(items),
        asset=Asset.MICROUSDC,
        account_id=account_id,
        paid_by=authorization,
    )
    return Decision(facts)


def _reserved(facts: BatchFacts, source: Account) -> Decision[BatchFacts]:
    entry = entries.batch_reserved(facts.id, source, facts.asset, facts.price_amount)
    return Decision(facts, (entry,))


def _counted(items: int) -> int:
    if not 1 <= items <= MOST_ITEMS:
        raise ValueError(f"a batch has 1 to {MOST_ITEMS} items, not {items}")
    return items


def awaits(state: BatchState) -> Paid | None:
    """Return the event that a settled invoice is to a batch, None if it is unawaited."""
    return Paid() if BATCH.allows(state, BatchEvent.PAID) else None


def decide(facts: BatchFacts, event: Event) -> Decision[BatchFacts]:
    """Return what the event means in facts and money. Raises IllegalTransition."""
    after = replace(facts, state=BATCH.step(facts.state, event.kind))
    match event:
        case Cancelled(items):
            after = replace(after, called_off=True, cancelled=facts.cancelled + items)
            if facts.state is BatchState.AWAITING_PAYMENT:
                return Decision(after, dropped=(invoice_id(after.id),))
            return _ended(after) if BATCH.final(after.state) else _over_if_last(after)
        case Lapsed():
            return Decision(replace(after, cancelled=facts.items))
        case ItemDelivered(share_amount):
            charged_amount = facts.charged_amount + share_amount
            if charged_amount > facts.price_amount:
                raise ValueError(f"batch {facts.id} would be charged more than its price")
            after = replace(after, delivered=facts.delivered + 1, charged_amount=charged_amount)
            return _over_if_last(after)
        case ItemLost(called_off, with_it):
            after = replace(after, cancelled=facts.cancelled + with_it)
            if called_off:
                return _over_if_last(replace(after, cancelled=after.cancelled + 1))
            return _over_if_last(replace(after, failed=facts.failed + 1))
        case _:
            return Decision(after)


def _over_if_last(after: BatchFacts) -> Decision[BatchFacts]:
    if after.open:
        return Decision(after)
    if after.called_off and after.delivered < after.items:
        end = BatchEvent.EMPTIED
    else:
        end = BatchEvent.COMPLETED if after.delivered else BatchEvent.FELL_THROUGH
    return _ended(replace(after, state=BATCH.step(after.state, end)))


def _ended(after: BatchFacts) -> Decision[BatchFacts]:
    """Return what is charged in the end, and where the rest goes."""
    charged = after.charged_amount
    if after.asset is Asset.MSAT:
        charged = min(after.price_amount, whole_sats_up(charged))
    decision = _given_back(replace(after, charged_amount=charged))
    if charged == after.charged_amount:
        return decision
    rounding = entries.batch_rounded(after.id, charged - after.charged_amount)
    return replace(decision, entries=(rounding, *decision.entries))


def _given_back(after: BatchFacts) -> Decision[BatchFacts]:
    """Return where the rest goes: to the balance that paid, or it is owed to whoever did."""
    if not after.rest_amount:
        return Decision(after)
    if after.back_to is not None:
        back = entries.batch_given_back(after.id, after.back_to, after.asset, after.rest_amount)
        return Decision(after, (back,))
    owed = Owed(f"{after.id}:undelivered", Reason.UNDELIVERED, after.rest_amount, after.asset)
    entry = entries.owed_back(entries.of_batch(after.id), owed.amount, owed.id, owed.asset)
    return Decision(after, (entry,), owed=(owed,))
