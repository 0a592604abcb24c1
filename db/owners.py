"""Whose a row is: one column for each kind of owner, and one of them is filled."""

from typing import Protocol

from statemachine.owner import Owner, OwnerKind

COLUMNS = {
    OwnerKind.JOB: "job_id",
    OwnerKind.SESSION: "session_id",
    OwnerKind.BATCH: "batch_id",
    OwnerKind.ACCOUNT: "account_id",
}


class Owned(Protocol):
    """A row that is somebody's."""

    @property
    def job_id(self) -> str | None:
        """The job that it is of, if it is."""

    @property
    def session_id(self) -> str | None:
        """The session that it is of, if it is."""

    @property
    def batch_id(self) -> str | None:
        """The batch that it is of, if it is."""

    @property
    def account_id(self) -> str | None:
        """The person's account that it is of, if it is."""


def owner_of(row: Owned) -> Owner:
    """Return whose a row is."""
    [owner] = [
        Owner(kind, owner_id)
        for kind, column in COLUMNS.items()
        if (owner_id := getattr(row, column)) is not None
    ]
    return owner


def columns_of(owner: Owner) -> dict[str, str | None]:
    """Return what the columns hold in a row of this owner's."""
    return {column: owner.id if kind is owner.kind else None for kind, column in COLUMNS.items()}
