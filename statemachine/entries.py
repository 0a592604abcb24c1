"""The chart of accounts, and the balanced entry that each event posts.

An entry is one event: two or more postings that sum to zero, under a business key of its own, so
that posting it twice is a replay. Debits are positive, credits negative; an account's balance is
told in its natural sign, so a liability that we really owe is a positive number.
"""

from dataclasses import dataclass
from enum import StrEnum, auto


class Kind(StrEnum):
    """What an account is; decides the sign in which its balance is shown."""

    ASSET = auto()
    LIABILITY = auto()
    INCOME = auto()
    EXPENSE = auto()

    @property
    def sign(self) -> int:
        """Return 1 where debits add to the balance, -1 where credits do."""
        return 1 if self in (Kind.ASSET, Kind.EXPENSE) else -1


class Asset(StrEnum):
    """What is counted, by its unit. Amounts of two assets are never added."""

    MSAT = auto()
    MICROUSDC = auto()  # a millionth of a USDC: its smallest unit


@dataclass(frozen=True, slots=True)
class Account:
    """A place where value rests."""

    name: str
    kind: Kind


RAIL = Account("rail:lightning", Kind.ASSET)
RAIL_USDC = Account("rail:x402", Kind.ASSET)
UNCLAIMED = Account("unclaimed", Kind.LIABILITY)  # it came for nobody that we know
REVENUE_EVAL = Account("revenue:eval", Kind.INCOME)
REVENUE_WORK = Account("revenue:work", Kind.INCOME)
REVENUE_MEDIA = Account("revenue:media", Kind.INCOME)
EXPENSE_ROUTING = Account("expense:routing", Kind.EXPENSE)
EXPENSE_FREE = Account("expense:free", Kind.EXPENSE)
EXPENSE_FAILED = Account("expense:failed", Kind.EXPENSE)
EXPENSE_MAKERS = Account("expense:makers", Kind.EXPENSE)
EXPENSE_CANARIES = Account("expense:canaries", Kind.EXPENSE)  # what the house orders to see
REVENUE_FORFEITS = Account("revenue:forfeits", Kind.INCOME)  # of workers, less what buyers have
# What the house itself pays to its models and makers, out of another pocket than its rails.
REVENUE_FREE = Account("revenue:free", Kind.INCOME)


def of_job(job_id: str) -> Account:
    """Paid for this job, not yet earned or owed back."""
    return Account(f"job:{job_id}", Kind.LIABILITY)


def of_batch(batch_id: str) -> Account:
    """Paid for this batch, and neither charged for a delivered item nor owed back."""
    return Account(f"batch:{batch_id}", Kind.LIABILITY)


def of_session(session_id: str) -> Account:
    """Prepaid, and not spent."""
    return Account(f"session:{session_id}", Kind.LIABILITY)


def of_user(account_id: str) -> Account:
    """What a person's account has, in each asset."""
    return Account(f"user:{account_id}", Kind.LIABILITY)


def of_worker(worker_id: str) -> Account:
    """Earned by a new worker, and held back until it is one no more."""
    return Account(f"worker:{worker_id}", Kind.LIABILITY)


def of_hold(hold_id: str) -> Account:
    """Reserved for a call that is answered while it runs."""
    return Account(f"hold:{hold_id}", Kind.LIABILITY)


def of_refund(payout_id: str) -> Account:
    """Owed back, not yet sent."""
    return Account(f"refund:{payout_id}", Kind.LIABILITY)


def of_sending(payout_id: str) -> Account:
    """Handed to the rail, outcome not known."""
    return Account(f"sending:{payout_id}", Kind.LIABILITY)


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of an entry: a debit (positive) or a credit (negative) of an account."""

    account: Account
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One balanced event in one asset. ValueError when it is not balanced, or empty."""

    key: str
    asset: Asset
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        if len(self.postings) < 2 or any(p.amount == 0 for p in self.postings):
            raise ValueError(f"entry {self.key} has an empty leg")
        if sum(p.amount for p in self.postings) != 0:
            raise ValueError(f"entry {self.key} does not balance")
        if len({p.account.name for p in self.postings}) != len(self.postings):
            raise ValueError(f"entry {self.key} names an account twice")


def _entry(key: str, *legs: tuple[Account, int], asset: Asset = Asset.MSAT) -> Entry:
    postings = tuple(Posting(account, amount) for account, amount in legs if amount)
    return Entry(key, asset, postings)


def invoice_settled(payment_hash: str, *credits: tuple[Account, int]) -> Entry:
    """Money came in for an invoice, and is owed to whom the credits name (amounts positive)."""
    total = sum(amount for _, amount in credits)
    return _entry(
        f"invoice:{payment_hash}:settled",
        (RAIL, total),
        *((account, -amount) for account, amount in credits),
    )


def authorization_settled(authorization: str, to: Account, amount_microusdc: int) -> Entry:
    """USDC came in by a payer's signed authorization, and is owed to this account.

    It is named "<network>:<payer>:<nonce>".
    """
    return _entry(
        f"authorization:{authorization}:settled",
        (RAIL_USDC, amount_microusdc),
        (to, -amount_microusdc),
        asset=Asset.MICROUSDC,
    )


def deposit_arrived(deposit_id: str, to: Account, amount_microusdc: int) -> Entry:
    """USDC came in without a signed order, and is owed to this account."""
    return _entry(
        f"deposit:{deposit_id}:arrived",
        (RAIL_USDC, amount_microusdc),
        (to, -amount_microusdc),
        asset=Asset.MICROUSDC,
    )


def deposit_claimed(deposit_id: str, to: Account, amount_microusdc: int) -> Entry:
    """USDC that was nobody's is this account's."""
    return _entry(
        f"deposit:{deposit_id}:claimed",
        (UNCLAIMED, amount_microusdc),
        (to, -amount_microusdc),
        asset=Asset.MICROUSDC,
    )


def eval_earned(job_id: str, amount_msat: int) -> Entry:
    """The evaluation was done: its fee is ours."""
    return _entry(
        f"job:{job_id}:eval_earned", (of_job(job_id), amount_msat), (REVENUE_EVAL, -amount_msat)
    )


def work_charged(job_id: str, charge_msat: int, surplus_msat: int, payout_id: str) -> Entry:
    """The work was done: its charge is ours, the rest is owed back."""
    return _entry(
        f"job:{job_id}:charged",
        (of_job(job_id), charge_msat + surplus_msat),
        (REVENUE_WORK, -charge_msat),
        (of_refund(payout_id), -surplus_msat),
    )


def reserved(job_id: str, session_id: str, amount_msat: int) -> Entry:
    """The ceiling of a request is set aside from its session."""
    return _entry(
        f"job:{job_id}:reserved",
        (of_session(session_id), amount_msat),
        (of_job(job_id), -amount_msat),
    )


def prepaid_ended(
    job_id: str,
    fee: int,
    charge: int,
    back: int,
    back_to: Account,
    asset: Asset = Asset.MSAT,
) -> Entry:
    """A job at a firm price has come to its end: what it cost is ours, the rest is not."""
    return _entry(
        f"job:{job_id}:ended",
        (of_job(job_id), fee + charge + back),
        (REVENUE_EVAL, -fee),
        (REVENUE_WORK, -charge),
        (back_to, -back),
        asset=asset,
    )


def work_failed(job_id: str, cost_msat: int) -> Entry:
    """A job failed, and is given back whole: what its models cost is the house's expense."""
    return _failed(f"job:{job_id}", cost_msat)


def batch_reserved(batch_id: str, source: Account, asset: Asset, amount: int) -> Entry:
    """The price of a batch is set aside from the balance that pays for it."""
    return _entry(
        f"batch:{batch_id}:reserved", (source, amount), (of_batch(batch_id), -amount), asset=asset
    )


def item_delivered(
    batch_id: str,
    item_id: str,
    asset: Asset,
    amount: int,
    *others: tuple[Account, int],
) -> Entry:
    """An item was delivered: its share of what was paid for its batch is ours.

    `others`: who has a part of that share, and how much: the author of the spell that it is a step
    of, the worker that has made it. Parts of one account are one.
    """
    theirs: dict[Account, int] = {}
    for account, part in others:
        theirs[account] = theirs.get(account, 0) + part
    return _entry(
        f"item:{item_id}:delivered",
        (of_batch(batch_id), amount),
        (REVENUE_MEDIA, sum(theirs.values()) - amount),
        *((account, -part) for account, part in theirs.items()),
        asset=asset,
    )


def pay_freed(worker_id: str, account_id: str, asset: Asset, amount: int) -> Entry:
    """A worker is new no more: what was held of its pay is on the account that it is lent by."""
    return _entry(
        f"worker:{worker_id}:freed:{asset}",
        (of_worker(worker_id), amount),
        (of_user(account_id), -amount),
        asset=asset,
    )


def pay_forfeited(worker_id: str, canary_id: str, asset: Asset, amount: int) -> Entry:
    """A worker has not made what was asked for: what was held of its pay is for its buyers."""
    legs = (of_worker(worker_id), amount), (REVENUE_FORFEITS, -amount)
    return _entry(f"worker:{worker_id}:forfeited:{canary_id}:{asset}", *legs, asset=asset)


def amends_added(canary_id: str, asset: Asset, amount: int) -> Entry:
    """The house gives back what it had of what a worker has made that failed a canary, where what
    the worker forfeits is not enough for its buyers."""
    legs = (REVENUE_MEDIA, amount), (REVENUE_FORFEITS, -amount)
    return _entry(f"canary:{canary_id}:added:{asset}", *legs, asset=asset)


def amends_made(amends_id: str, to: Account, asset: Asset, amount: int) -> Entry:
    """A buyer has back what was paid for something that was not made as it was asked for: it is on
    the balance that had paid."""
    return _entry(
        f"amends:{amends_id}:made", (REVENUE_FORFEITS, amount), (to, -amount), asset=asset
    )


def lease_spent(
    item_id: str, number: int, asset: Asset, cost_amount: int, was_delivered: bool
) -> Entry:
    """A maker was asked for an item, and wants to be paid by the house: for what was delivered, or
    for what came to nothing."""
    expense = EXPENSE_MAKERS if was_delivered else EXPENSE_FAILED
    legs = (expense, cost_amount), (REVENUE_FREE, -cost_amount)
    return _entry(f"lease:{item_id}:{number}:spent", *legs, asset=asset)


def batch_rounded(batch_id: str, amount_msat: int) -> Entry:
    """A batch has ended: what it costs is a whole number of sats."""
    return _entry(
        f"batch:{batch_id}:rounded",
        (of_batch(batch_id), amount_msat),
        (REVENUE_MEDIA, -amount_msat),
    )


def batch_given_back(batch_id: str, back_to: Account, asset: Asset, amount: int) -> Entry:
    """A batch has ended: what it did not deliver is on a balance of whoever paid for it."""
    return _entry(
        f"batch:{batch_id}:ended", (of_batch(batch_id), amount), (back_to, -amount), asset=asset
    )


def held(hold_id: str, source: Account, amount_msat: int) -> Entry:
    """The ceiling of a call is set aside."""
    return _entry(f"hold:{hold_id}:held", (source, amount_msat), (of_hold(hold_id), -amount_msat))


def hold_ended(hold_id: str, source: Account, charge_msat: int, back_msat: int) -> Entry:
    """The call is over: what it cost is ours, the rest goes back to where it came from."""
    income = REVENUE_FREE if source == EXPENSE_FREE else REVENUE_WORK
    return _entry(
        f"hold:{hold_id}:ended",
        (of_hold(hold_id), charge_msat + back_msat),
        (income, -charge_msat),
        (source, -back_msat),
    )


def call_failed(hold_id: str, cost_msat: int) -> Entry:
    """A call broke, and its session isn't charged: what its model cost is the house's expense."""
    return _failed(f"hold:{hold_id}", cost_msat)


def _failed(what: str, cost_msat: int) -> Entry:
    return _entry(f"{what}:failed", (EXPENSE_FAILED, cost_msat), (REVENUE_FREE, -cost_msat))


def owed_back(source: Account, amount: int, payout_id: str, asset: Asset = Asset.MSAT) -> Entry:
    """What was paid and will not be used is owed back, whole."""
    return _entry(
        f"payout:{payout_id}:owed",
        (source, amount),
        (of_refund(payout_id), -amount),
        asset=asset,
    )


def payout_sent(payout_id: str, attempt: int, asset: Asset, amount: int) -> Entry:
    """A payout is handed to its rail; until that answers, nobody can claim it again."""
    return _entry(
        f"payout:{payout_id}:{attempt}:sent",
        (of_refund(payout_id), amount),
        (of_sending(payout_id), -amount),
        asset=asset,
    )


def payout_returned(payout_id: str, attempt: int, asset: Asset, amount: int) -> Entry:
    """Its rail said for good that an attempt did not happen: it is owed again."""
    return _entry(
        f"payout:{payout_id}:{attempt}:returned",
        (of_sending(payout_id), amount),
        (of_refund(payout_id), -amount),
        asset=asset,
    )


def payout_settled(
    payout_id: str, amount_msat: int, fee_msat: int, withheld_msat: int, change_msat: int
) -> Entry:
    """The payee has it, but for what was withheld for routing; the change of that is owed again.

    What routing cost beyond that is our expense.
    """
    sent_msat = amount_msat - withheld_msat
    return _entry(
        f"payout:{payout_id}:settled",
        (of_sending(payout_id), amount_msat),
        (of_refund(change_id(payout_id)), -change_msat),
        (EXPENSE_ROUTING, fee_msat - withheld_msat + change_msat),
        (RAIL, -(sent_msat + fee_msat)),
    )


def usdc_payout_settled(payout_id: str, amount_microusdc: int) -> Entry:
    """The payee has it, all of it: whoever handed our order to the chain bears what that cost."""
    return _entry(
        f"payout:{payout_id}:settled",
        (of_sending(payout_id), amount_microusdc),
        (RAIL_USDC, -amount_microusdc),
        asset=Asset.MICROUSDC,
    )


def change_id(payout_id: str) -> str:
    """Return the name of the payout of what routing another one did not need."""
    return f"{payout_id}:change"


def transfer_settled(payment_hash: str, fee_msat: int) -> Entry:
    """Money went from one wallet of the rail to another, and that cost something."""
    return _entry(
        f"transfer:{payment_hash}:settled", (EXPENSE_ROUTING, fee_msat), (RAIL, -fee_msat)
    )
