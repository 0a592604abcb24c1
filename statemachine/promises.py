"""What may be owed to the outside world: a promise is staged in the transaction that makes it due.

Promises are named by our own rows, so that keeping one twice is a replay.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CreateInvoice:
    """Ask the rail for the invoice that this row wants."""

    invoice_id: str

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return self.invoice_id


@dataclass(frozen=True, slots=True)
class Judge:
    """Have an agent evaluate the job's request."""

    job_id: str

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.job_id}:judge"


@dataclass(frozen=True, slots=True)
class Work:
    """Have an agent do the job's work."""

    job_id: str

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.job_id}:do"


@dataclass(frozen=True, slots=True)
class PayInvoice:
    """Have the rail pay one attempt of a payout."""

    payout_id: str
    attempt: int

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.payout_id}:pay:{self.attempt}"


@dataclass(frozen=True, slots=True)
class FetchInvoice:
    """Ask a payout's destination (LNURL-pay, Lightning address) for an invoice, and send to it."""

    payout_id: str
    failures: int  # how often it has failed so far: what the pause before it grows with

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.payout_id}:fetch:{self.failures}"


@dataclass(frozen=True, slots=True)
class SendUsdc:
    """Have our own order for a payout in USDC signed, and handed to the chain."""

    payout_id: str
    failures: int  # how often none of its orders was sent in its time

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.payout_id}:order:{self.failures}"


@dataclass(frozen=True, slots=True)
class Notify:
    """Have the next notice that is due sent to a receiver, who is asked one thing at a time.

    The pauses are those of its notices: when the next of them is due is written with them.
    """

    receiver: str  # scheme, host and port

    @property
    def key(self) -> str:
        """The name of the duty, and of the outside call that keeps it."""
        return f"{self.receiver}:notify"


Promise = CreateInvoice | Judge | Work | PayInvoice | FetchInvoice | SendUsdc | Notify
KINDS: tuple[type[Promise], ...] = (
    CreateInvoice,
    Judge,
    Work,
    PayInvoice,
    FetchInvoice,
    SendUsdc,
    Notify,
)


def follows(kept: Promise, due: Promise) -> bool:
    """Say whether what is due now is kept at once by whoever keeps the other: by the same hands."""
    return isinstance(kept, Judge) and due == Work(kept.job_id)


_PAUSES_S = (0, 60, 600)  # before the first, second and third try of a refund by itself


def pause_s(promise: Promise) -> int:
    """Return how long a promise waits before it is due, in seconds."""
    if isinstance(promise, FetchInvoice | SendUsdc):
        return _PAUSES_S[min(promise.failures, len(_PAUSES_S) - 1)]
    return 0
