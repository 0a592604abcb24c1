"""Who may own money, what an invoice of ours is for, and why something is owed: all there are.

A row that belongs to an owner is named by him, "<his id>:<what it is>". Names are read here alone.
"""

from dataclasses import dataclass
from enum import StrEnum, auto

from statemachine.entries import Account, of_batch, of_job, of_session, of_user


class OwnerKind(StrEnum):
    """What can own money. Its value is the word for it."""

    JOB = auto()
    SESSION = auto()
    BATCH = auto()
    ACCOUNT = auto()  # a person's


ACCOUNTS = {
    OwnerKind.JOB: of_job,
    OwnerKind.SESSION: of_session,
    OwnerKind.BATCH: of_batch,
    OwnerKind.ACCOUNT: of_user,
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an invoice, a payout or a balance is."""

    kind: OwnerKind
    id: str

    @property
    def account(self) -> Account:
        """Where what was paid for it rests, until it is earned or owed back."""
        return ACCOUNTS[self.kind](self.id)


class Purpose(StrEnum):
    """What an invoice of ours is for."""

    EVAL = auto()
    WORK = auto()
    ASK = auto()
    DEPOSIT = auto()
    TOPUP = auto()
    BATCH = auto()
    CREDIT = auto()

    @property
    def kind(self) -> OwnerKind:
        """Whose such an invoice is."""
        return _USES[self].kind

    @property
    def memo(self) -> str:
        """What a payer's wallet shows, before the owner's public name."""
        return _USES[self].memo

    @property
    def lapsed(self) -> str:
        """What is said when nobody has paid in time."""
        return _USES[self].lapsed


@dataclass(frozen=True, slots=True)
class _Use:
    kind: OwnerKind
    memo: str
    lapsed: str


_USES = {
    Purpose.EVAL: _Use(
        OwnerKind.JOB,
        "evaluation of job",
        "The evaluation invoice was not paid in time. Nothing was charged.",
    ),
    Purpose.WORK: _Use(
        OwnerKind.JOB,
        "work on job",
        "The work invoice was not paid in time. Only the evaluation was charged.",
    ),
    Purpose.ASK: _Use(
        OwnerKind.JOB, "job", "The invoice was not paid in time. Nothing was charged."
    ),
    Purpose.DEPOSIT: _Use(
        OwnerKind.SESSION,
        "deposit of session",
        "The deposit was not paid in time. Nothing was charged.",
    ),
    Purpose.TOPUP: _Use(
        OwnerKind.SESSION,
        "top-up of session",
        "The top-up was not paid in time. Nothing was charged.",
    ),
    Purpose.BATCH: _Use(
        OwnerKind.BATCH, "batch", "The invoice was not paid in time. Nothing was charged."
    ),
    Purpose.CREDIT: _Use(
        OwnerKind.ACCOUNT,
        "deposit of account",
        "The deposit was not paid in time. Nothing was charged.",
    ),
}


class Reason(StrEnum):
    """Why something is owed."""

    SURPLUS = "surplus"
    NOT_NEEDED = "not needed"
    NOT_EVALUATED = "not evaluated"
    NOT_DONE = "not done"
    OVERPAID = "overpaid"
    UNAWAITED = "unawaited"
    CHANGE = "change"  # what was withheld for routing, and was not needed
    UNSPENT = "unspent"
    UNDELIVERED = "undelivered"
    WITHDRAWN = "withdrawn"
    AMENDS = "not made as asked"

    @property
    def sentence(self) -> str:
        """What its owner reads."""
        return _SENTENCES[self]

    @property
    def only_passed(self) -> bool:
        """Whether nothing was bought with it: a balance or a payment that only passed through."""
        return self in _PASSED


_PASSED = (
    Reason.OVERPAID,
    Reason.UNAWAITED,
    Reason.CHANGE,
    Reason.UNSPENT,
    Reason.WITHDRAWN,
)
_SENTENCES = {
    Reason.SURPLUS: "unused part of the payment",
    Reason.NOT_NEEDED: "unused part of the payment",
    Reason.NOT_EVALUATED: "evaluation fee, as the evaluation failed",
    Reason.NOT_DONE: "payment for work that wasn’t done",
    Reason.OVERPAID: "paid in excess of the invoice",
    Reason.UNAWAITED: "paid when nothing was due",
    Reason.CHANGE: "unused routing fees",
    Reason.UNSPENT: "rest of the session’s balance",
    Reason.UNDELIVERED: "payment for what wasn’t delivered",
    Reason.WITHDRAWN: "withdrawal of your balance",
    Reason.AMENDS: "payment for what wasn’t made as you asked",
}

# What names say beside a purpose: a payout of its owner's, or a promise to have an agent asked.
_WORDS = {
    **{purpose.value: purpose.kind for purpose in Purpose},
    **dict.fromkeys(("surplus", "back", "undone", "unjudged", "judge", "do"), OwnerKind.JOB),
    "rest": OwnerKind.SESSION,
    **dict.fromkeys(("undelivered", "amends"), OwnerKind.BATCH),
    "withdrawal": OwnerKind.ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Name:
    """A name that was read: whose it is, and what of his."""

    owner: Owner
    what: str


def named(name: str) -> Name:
    """Read the name of an invoice, of a payout or of a promise. ValueError when it is no such."""
    owner_id, _, what = name.partition(":")
    kind = _WORDS.get(what.partition(":")[0].rstrip("0123456789"))
    if kind is None:
        raise ValueError(f"{name!r} names nothing that anybody owns")
    return Name(Owner(kind, owner_id), what)
