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


Promise = CreateInvoice | Judge | Work | PayInvoice
KINDS: tuple[type[Promise], ...] = (CreateInvoice, Judge, Work, PayInvoice)
