"""Requests to connect a wallet: what is asked for, and the account that whoever pays it has."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.connect import ConnectKind, ConnectState


class ConnectRequest(SQLModel, table=True):
    """A request, and its account, which has nothing before it is paid."""

    __tablename__ = "connect_request"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    kind: ConnectKind = Field(sa_column=enum_column(ConnectKind))
    state: ConnectState = Field(sa_column=enum_column(ConnectState))
    # Written after it: a request whose amount is asked for already makes no account.
    account_id: str = Field(
        sa_column=Column(
            ForeignKey("user_account.id", deferrable=True, initially="DEFERRED"),
            nullable=False,
            unique=True,
        )
    )
    network: str | None = Field(default=None, sa_column=Column(Text))  # of a chain
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))  # msat, or millionths of USDC
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())
    paid_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("(kind = 'usdc') = (network IS NOT NULL)", name="usdc_has_network"),
        CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="paid_once"),
        # On a chain the amount alone says which request is paid.
        Index(
            "uq_connect_request_magic",
            "network",
            "amount",
            unique=True,
            postgresql_where=text("kind = 'usdc' AND state = 'open'"),
        ),
        Index(
            "ix_connect_request_expires_at",
            "expires_at",
            postgresql_where=text("state = 'lapsed'"),
        ),
        Index(
            "ix_connect_request_open",
            "kind",
            "expires_at",
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_connect_request_before",
            "network",
            "amount",
            "created_at",
            postgresql_where=text("kind = 'usdc' AND state <> 'open'"),
        ),
    )
