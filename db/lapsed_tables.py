"""What is kept of an invoice that nobody paid, once all else of its job or session is purged."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from db.columns import time_column
from statemachine.owner import Purpose


class LapsedInvoice(SQLModel, table=True):
    """Enough to take a late payment in, and to owe it back to whoever made the job or session."""

    __tablename__ = "lapsed_invoice"

    payment_hash: str = Field(sa_column=Column(Text, primary_key=True))
    invoice_id: str = Field(sa_column=Column(Text, nullable=False))  # names its owner and purpose
    purpose: Purpose = Field(sa_column=Column(Text, nullable=False))
    amount_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    wallet: str | None = Field(default=None, sa_column=Column(Text))
    refund_to: str | None = Field(default=None, sa_column=Column(Text))
    eval_msat: int | None = Field(default=None, sa_column=Column(BigInteger))  # of a job
    quote: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    expires_at: datetime = Field(sa_column=time_column())
    # When the rail is next asked about it; NULL when nobody needs to ask any more.
    check_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        Index("ix_lapsed_invoice_expires_at", "expires_at"),
        Index(
            "ix_lapsed_invoice_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")
        ),
        Index("ix_lapsed_invoice_wallet", "wallet", postgresql_where=text("wallet IS NOT NULL")),
    )
