"""Batches, their items, who holds which, and whose turn it is in each lane."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.batch import BatchState, Funding
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.lease import LeaseState

_NONE = text("0")


class Batch(SQLModel, table=True):
    """Items at one price. Those that have ended are counted here: a poll reads this row alone."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    state: BatchState = Field(sa_column=enum_column(BatchState))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    funding: Funding = Field(sa_column=enum_column(Funding))
    asset: Asset = Field(sa_column=enum_column(Asset))
    price_amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    charged_amount: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    items: int = Field(sa_column=Column(BigInteger, nullable=False))
    delivered: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    failed: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    cancelled: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    called_off: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    session_id: str | None = Field(default=None, sa_column=Column(ForeignKey("session.id")))
    # Links of the credential that asked for it, and those of them whose budgets it spends.
    credential: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    budgets: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    account_id: str | None = Field(  # whose it is: written in the same transaction, or before
        default=None,
        sa_column=Column(ForeignKey("user_account.id", deferrable=True, initially="DEFERRED")),
    )
    # Of what cast its items are steps, and whose a part of each share is: the spell's author's.
    cast_id: str | None = Field(default=None, sa_column=Column(ForeignKey("spell_cast.id")))
    author_id: str | None = Field(default=None, sa_column=Column(Text))
    author_pct: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    # The authorization in USDC that has paid for it: "<network>:<payer>:<nonce>".
    paid_by: str | None = Field(default=None, sa_column=Column(Text))
    refund_to: str | None = Field(default=None, sa_column=Column(Text))
    payer: str = Field(sa_column=Column(Text, nullable=False))  # whose turn its items are
    quote: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())
    completed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # Since then nothing tells who has made its items: what was sold stays, for its receipt.
    purged_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # Since then nothing tells what was asked for, but its hash.
    forgotten_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("price_amount > 0", name="price_positive"),
        CheckConstraint("charged_amount BETWEEN 0 AND price_amount", name="charged_within_price"),
        # None: nobody had paid for it, and its items were purged.
        CheckConstraint("items BETWEEN 0 AND 500", name="items_counted"),
        CheckConstraint("least(delivered, failed, cancelled) >= 0", name="ended_counted"),
        CheckConstraint("delivered + failed + cancelled <= items", name="ended_within_items"),
        CheckConstraint("(funding = 'session') = (session_id IS NOT NULL)", name="session_pays"),
        CheckConstraint("funding <> 'account' OR account_id IS NOT NULL", name="account_pays"),
        CheckConstraint("(funding = 'x402') = (paid_by IS NOT NULL)", name="authorization_pays"),
        CheckConstraint(
            "asset = CASE funding WHEN 'x402' THEN 'microusdc' WHEN 'account' THEN asset"
            " ELSE 'msat' END",
            name="funded_in_asset",
        ),
        CheckConstraint("author_pct BETWEEN 0 AND 30", name="author_within_bounds"),
        CheckConstraint("author_id IS NULL OR cast_id IS NOT NULL", name="authors_of_casts"),
        Index(
            "ix_batch_to_purge",
            "completed_at",
            postgresql_where=text("completed_at IS NOT NULL AND purged_at IS NULL"),
        ),
        Index(
            "ix_batch_to_forget",
            "completed_at",
            postgresql_where=text("purged_at IS NOT NULL AND forgotten_at IS NULL"),
        ),
        Index("uq_batch_paid_by", "paid_by", unique=True),
        Index("ix_batch_cast_id", "cast_id", postgresql_where=text("cast_id IS NOT NULL")),
        # Of a cast one thing is ordered at a time: what is missing is not paid for twice.
        Index(
            "uq_batch_one_of_cast",
            "cast_id",
            unique=True,
            postgresql_where=text("state IN ('awaiting_payment', 'queued', 'processing')"),
        ),
        Index(
            "ix_batch_account_id",
            "account_id",
            "created_at",
            postgresql_where=text("account_id IS NOT NULL"),
        ),
        # Of an account, what may have files that are kept still.
        Index(
            "ix_batch_with_files",
            "account_id",
            postgresql_where=text("account_id IS NOT NULL AND purged_at IS NULL"),
        ),
        Index("ix_batch_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
        Index(
            "ix_batch_open",
            "payer",
            postgresql_where=text("state IN ('awaiting_payment', 'queued', 'processing')"),
        ),
    )


class Item(SQLModel, table=True):
    """One unit of a batch. `rank` is its turn in its lane, stamped when its batch is paid for."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    batch_id: str = Field(sa_column=Column(ForeignKey("batch.id"), nullable=False))
    place: int = Field(sa_column=Column(BigInteger, nullable=False))  # in its batch, from 1
    state: ItemState = Field(sa_column=enum_column(ItemState))
    lane: str = Field(sa_column=Column(Text, nullable=False))
    rank: int | None = Field(default=None, sa_column=Column(BigInteger))
    weight: int = Field(sa_column=Column(BigInteger, nullable=False))  # how long its turn is
    share_amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    number: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    tries: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    tried: list[str] = Field(  # by whom: never again by them
        default=[], sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    # What of its share was charged; None: all of it, or it was not delivered.
    charged_amount: int | None = Field(default=None, sa_column=Column(BigInteger))
    asked: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    step: int | None = Field(default=None, sa_column=Column(BigInteger))  # of its cast
    needs: list[str] = Field(  # items of its batch that must be made first
        default=[], sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    reason: str | None = Field(default=None, sa_column=Column(Text))
    sha256: str | None = Field(default=None, sa_column=Column(Text))  # of what was delivered
    artifact: str | None = Field(default=None, sa_column=Column(Text))  # and where that is
    # What was delivered where that is no file: {"text": …} or {"values": …}.
    output: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    # Of the words that were asked for, once they are forgotten: the rest of it is in `asked`.
    asked_sha256: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("share_amount >= 0", name="share_not_negative"),
        CheckConstraint("weight > 0", name="weight_positive"),
        CheckConstraint("charged_amount BETWEEN 0 AND share_amount", name="charged_within_share"),
        CheckConstraint("output IS NULL OR artifact IS NULL", name="one_result"),
        CheckConstraint("tries BETWEEN 0 AND number", name="tries_within_number"),
        CheckConstraint("(state = 'completed') = (sha256 IS NOT NULL)", name="completed_has_bytes"),
        Index("uq_item_place", "batch_id", "place", unique=True),
        # What a claim looks at. An item of a batch that is not paid for has no rank, and no turn.
        Index(
            "item_ready",
            "lane",
            "rank",
            "id",
            postgresql_where=text("state = 'pending' AND rank IS NOT NULL"),
        ),
        # How long the last ones of a lane have taken.
        Index("ix_item_made", "lane", "ended_at", postgresql_where=text("state = 'completed'")),
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0.01",
                "autovacuum_vacuum_cost_delay": "0",
            }
        },
    )


class Lease(SQLModel, table=True):
    """Somebody's claim on an item. Beats write `until` and nothing that an index holds."""

    item_id: str = Field(sa_column=Column(ForeignKey("item.id"), primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    state: LeaseState = Field(sa_column=enum_column(LeaseState))
    worker: str = Field(sa_column=Column(Text, nullable=False))
    until: datetime = Field(sa_column=time_column())
    deadline: datetime = Field(sa_column=time_column())
    progress: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    # How its item looks by now: the name of a picture in the store of artifacts.
    preview: str | None = Field(default=None, sa_column=Column(Text))
    sha256: str | None = Field(default=None, sa_column=Column(Text))
    # What its holder's call has cost the house, in what the batch was paid in.
    cost_amount: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    # Of a worker of the network: the lease's own name, and its part of what the item costs.
    id: str | None = Field(default=None, sa_column=Column(Text))
    pay_pct: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    created_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("cost_amount >= 0", name="cost_not_negative"),
        CheckConstraint("pay_pct BETWEEN 0 AND 100", name="pay_in_percent"),
        Index("uq_lease_id", "id", unique=True, postgresql_where=text("id IS NOT NULL")),
        # What a worker of the network holds.
        Index(
            "ix_lease_held_by",
            "worker",
            postgresql_where=text("state = 'held' AND id IS NOT NULL"),
        ),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress_in_percent"),
        # An item is held by one; and the sweep reads those that are held, however many are over.
        Index("uq_lease_one_held", "item_id", unique=True, postgresql_where=text("state = 'held'")),
        {"postgresql_with": {"fillfactor": "50"}},
    )


class LaneFloor(SQLModel, table=True):
    """Below which rank nothing waits in a lane: where a claim begins to look."""

    __tablename__ = "lane_floor"

    lane: str = Field(sa_column=Column(Text, primary_key=True))
    rank: int = Field(sa_column=Column(BigInteger, nullable=False))


class LaneTurn(SQLModel, table=True):
    """Where a payer's last turn in a lane ends: the next one begins no earlier."""

    __tablename__ = "lane_turn"

    lane: str = Field(sa_column=Column(Text, primary_key=True))
    payer: str = Field(sa_column=Column(Text, primary_key=True))
    finish: int = Field(sa_column=Column(BigInteger, nullable=False))
