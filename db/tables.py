"""The rows. State columns are typed by the law's enums; amounts are bigint msat, times are UTC."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from db.artifact_tables import ArtifactRow
from db.batch_tables import Batch, Item, LaneFloor, LaneTurn, Lease
from db.columns import enum_column, time_column
from db.connect_tables import ConnectRequest
from db.conversation_tables import Conversation, Message
from db.deposit_tables import ChainBlock, UsdcDeposit
from db.heartbeats import Heartbeat
from db.history_tables import DroppedMonth, JobHistory, JobHistoryEarlier
from db.lapsed_tables import LapsedInvoice
from db.ledger_tables import Account, AccountPart, LedgerEntry, LedgerPosting, RailBaseline
from db.people_tables import (
    ApiKey,
    Identity,
    LightningProof,
    Login,
    SpentNonce,
    UserAccount,
)
from db.rate_limits import RateLimit
from db.receiving_tables import ReceivingWallet, WalletTransfer
from db.root_key_tables import RootKey
from db.session_tables import Allowance, FreeDay, Hold, Revocation, Session
from db.spell_tables import Spell, SpellCast, SpellVersion
from db.stock_tables import StockKey
from db.switch_tables import Switch
from db.tally_tables import FailureDay, JobTally
from db.trust_tables import Amends, Canary, Look
from db.usdc_tables import UsdcAttempt, UsdcAuthorization
from db.webhook_tables import NoticeRow, NoticeTry, WebhookRow
from db.worker_tables import Earning, Worker, WorkerLane
from statemachine.attempt import AttemptState
from statemachine.entries import Asset
from statemachine.invoice import InvoiceState
from statemachine.job import Funding, JobState
from statemachine.owner import Purpose, Reason
from statemachine.payout import PayoutState

__all__ = [  # told to SQLModel
    "Account", "AccountPart", "Allowance", "Amends", "ApiKey", "ArtifactRow", "Batch", "Canary",
    "ChainBlock",
    "ConnectRequest", "Conversation", "DroppedMonth", "Earning", "FailureDay", "FreeDay",
    "Heartbeat", "Hold", "Identity", "Item", "JobHistory", "JobHistoryEarlier",
    "JobTally", "LaneFloor", "LaneTurn", "LapsedInvoice", "Lease", "LedgerEntry",
    "LedgerPosting", "LightningProof", "Login", "Look", "Message", "NoticeRow", "NoticeTry",
    "RailBaseline", "RateLimit", "ReceivingWallet", "Revocation", "RootKey", "SQLModel",
    "Session", "Spell", "SpellCast",
    "SpellVersion", "SpentNonce", "StockKey", "Switch", "UsdcAttempt", "UsdcAuthorization",
    "UsdcDeposit", "UserAccount", "WalletTransfer", "WebhookRow", "Worker", "WorkerLane",
]  # fmt: skip

OF_ACCOUNT = "account_id IS NOT NULL"
ONE_OWNER = "num_nonnulls(job_id, session_id, batch_id, account_id) = 1"
PAID_IN_USDC = (  # of a job: it knows its order and its fee, and so does no other
    "CASE funding WHEN 'x402' THEN paid_by IS NOT NULL AND eval_microusdc > 0"
    " ELSE num_nonnulls(paid_by, eval_microusdc, account_id) = 0 END"
)


class Job(SQLModel, table=True):
    """One paid piece of work. `version` grows with every change anybody can see."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    state: JobState = Field(sa_column=enum_column(JobState))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    request: str = Field(sa_column=Column(Text, nullable=False))
    eval_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    max_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    refund_to: str | None = Field(default=None, sa_column=Column(Text))
    quote: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    charge: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    result: str | None = Field(default=None, sa_column=Column(Text))
    truncated: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    error: str | None = Field(default=None, sa_column=Column(Text))
    funding: Funding = Field(
        default=Funding.INVOICES, sa_column=enum_column(Funding, server_default="invoices")
    )
    session_id: str | None = Field(default=None, sa_column=Column(ForeignKey("session.id")))
    # Of one that an order in USDC pays for: its fee, that order, and who has the small change.
    eval_microusdc: int | None = Field(default=None, sa_column=Column(BigInteger))
    paid_by: str | None = Field(default=None, sa_column=Column(Text))
    account_id: str | None = Field(default=None, sa_column=Column(ForeignKey("user_account.id")))
    # Links of the credential that asked for it: itself, and the children whose budgets it spends.
    credential: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    budgets: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    balance_msat: int | None = Field(  # of its session, when the job came to its end
        default=None, sa_column=Column(BigInteger)
    )
    # Calls to a model in this state, counted before each; and what all of them have cost us.
    calls: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0"))
    )
    payer: str | None = Field(default=None, sa_column=Column(Text))  # who is to blame for it
    spent_msat: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0"))
    )
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())
    completed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("eval_msat > 0", name="eval_positive"),
        CheckConstraint("max_msat > 0", name="max_positive"),
        CheckConstraint("(funding = 'session') = (session_id IS NOT NULL)", name="session_pays"),
        CheckConstraint(PAID_IN_USDC, name="authorization_pays"),
        Index("ix_job_account_id", "account_id", postgresql_where=text(OF_ACCOUNT)),
        Index("ix_job_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
        # Jobs that somebody must still bring forward: what the sweep reads, however many are done.
        Index(
            "ix_job_unfinished",
            "updated_at",
            postgresql_where=text("state IN ('evaluating', 'executing')"),
        ),
        Index(
            "ix_job_open",
            "state",
            postgresql_where=text(
                "state IN ('awaiting_eval_payment', 'evaluating', 'awaiting_work_payment',"
                " 'executing')"
            ),
        ),
    )


class Invoice(SQLModel, table=True):
    """A BOLT11 request that pays us; `id` names what it is for ("<job>:eval", "<job>:work")."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    job_id: str | None = Field(default=None, sa_column=Column(ForeignKey("job.id"), index=True))
    session_id: str | None = Field(
        default=None, sa_column=Column(ForeignKey("session.id"), index=True)
    )
    batch_id: str | None = Field(default=None, sa_column=Column(ForeignKey("batch.id")))
    account_id: str | None = Field(default=None, sa_column=Column(ForeignKey("user_account.id")))
    purpose: Purpose = Field(sa_column=Column(Text, nullable=False))
    state: InvoiceState = Field(sa_column=enum_column(InvoiceState))
    amount_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    bolt11: str | None = Field(default=None, sa_column=Column(Text))
    payment_hash: str | None = Field(default=None, sa_column=Column(Text, unique=True))
    wallet: str | None = Field(default=None, sa_column=Column(Text))  # of the rail, that made it
    preimage: str | None = Field(default=None, sa_column=Column(Text))
    received_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    settled_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # When the sweep next asks the rail about it; NULL when nobody needs to ask any more.
    check_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    checks: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        CheckConstraint("amount_msat > 0", name="amount_positive"),
        CheckConstraint("state <> 'open' OR bolt11 IS NOT NULL", name="open_has_bolt11"),
        CheckConstraint(ONE_OWNER, name="one_owner"),
        Index(
            "uq_invoice_one_topup",
            "session_id",
            unique=True,
            postgresql_where=text("purpose = 'topup' AND state IN ('wanted', 'open')"),
        ),
        Index("ix_invoice_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_invoice_account_id", "account_id", postgresql_where=text(OF_ACCOUNT)),
        Index("ix_invoice_wallet", "wallet", postgresql_where=text("wallet IS NOT NULL")),
        Index("ix_invoice_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index(
            "ix_invoice_due",
            "expires_at",
            postgresql_where=text("state IN ('open', 'wanted')"),
        ),
        # What nobody paid for, until it is purged.
        Index(
            "ix_invoice_unpaid",
            "expires_at",
            postgresql_where=text(
                "state IN ('expired', 'canceled')"
                " AND purpose IN ('eval', 'ask', 'deposit', 'topup', 'batch', 'credit')"
            ),
        ),
    )


class Payout(SQLModel, table=True):
    """Money that is somebody's, until they have it. One row an obligation, however many tries."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    # What its withdrawal is found by; Postgres makes it with the row.
    secret: str = Field(
        sa_column=Column(
            Text,
            unique=True,
            nullable=False,
            server_default=text("md5(gen_random_uuid()::text || gen_random_uuid()::text)"),
        )
    )
    job_id: str | None = Field(default=None, sa_column=Column(ForeignKey("job.id"), index=True))
    session_id: str | None = Field(
        default=None, sa_column=Column(ForeignKey("session.id"), index=True)
    )
    batch_id: str | None = Field(default=None, sa_column=Column(ForeignKey("batch.id")))
    account_id: str | None = Field(default=None, sa_column=Column(ForeignKey("user_account.id")))
    reason: Reason = Field(sa_column=Column(Text, nullable=False))
    state: PayoutState = Field(sa_column=enum_column(PayoutState))
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))  # in its smallest unit
    asset: Asset = Field(default=Asset.MSAT, sa_column=enum_column(Asset, server_default="msat"))
    attempts: int = Field(sa_column=Column(BigInteger, nullable=False))
    refund_to: str | None = Field(default=None, sa_column=Column(Text))
    failures: int = Field(sa_column=Column(BigInteger, nullable=False))
    note: str | None = Field(
        default=None, sa_column=Column(Text)
    )  # what the last attempt came to, for a person
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())
    paid_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint(ONE_OWNER, name="one_owner"),
        Index("ix_payout_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index(
            "ix_payout_account_id", "account_id", "created_at", postgresql_where=text(OF_ACCOUNT)
        ),
        Index(
            "ix_payout_account_unpaid",
            "account_id",
            "created_at",
            postgresql_where=text(f"{OF_ACCOUNT} AND state <> 'paid'"),
        ),
        Index("ix_payout_unpaid", "created_at", postgresql_where=text("state <> 'paid'")),
        # Those that wait for their owner, or to be sent.
        Index(
            "ix_payout_waiting",
            "created_at",
            postgresql_where=text("state = 'owed' AND failures < 3"),
        ),
        # Those that may need a person: few, however many wait for their owners.
        Index(
            "ix_payout_watched",
            "updated_at",
            postgresql_where=text("state = 'in_flight' OR (state = 'owed' AND failures >= 3)"),
        ),
    )


class PayoutAttempt(SQLModel, table=True):
    """One try to pay a payout. A payment_hash is used once, and one try is live at a time."""

    __tablename__ = "payout_attempt"

    payment_hash: str = Field(sa_column=Column(Text, primary_key=True))
    payout_id: str = Field(sa_column=Column(ForeignKey("payout.id"), nullable=False))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    bolt11: str = Field(sa_column=Column(Text, nullable=False))
    fee_limit_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    # What the invoice asks for: less than is owed where the payee bears some of the routing.
    sent_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    # What the house bears of the fee before the payee does, and what of that it has not earned.
    borne_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    free_msat: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    free_day: date | None = Field(default=None, sa_column=Column(Date))  # whose free money it is
    expires_at: datetime = Field(sa_column=time_column())
    # Written before the rail is called: after a crash nobody can say that nothing was sent.
    called_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # The wallet that was called: another one that knows nothing of the payment proves nothing.
    called_by: str | None = Field(default=None, sa_column=Column(Text))
    outcome: AttemptState = Field(sa_column=Column(Text, nullable=False))
    fee_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    preimage: str | None = Field(default=None, sa_column=Column(Text))
    check_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    checks: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        CheckConstraint("outcome IN ('live', 'settled', 'returned')", name="outcome_known"),
        Index("uq_payout_attempt_number", "payout_id", "number", unique=True),
        Index(
            "uq_payout_attempt_one_live",
            "payout_id",
            unique=True,
            postgresql_where=text("outcome IN ('live', 'settled')"),
        ),
        Index(
            "ix_payout_attempt_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")
        ),
        Index(
            "ix_payout_attempt_free_day", "free_day", postgresql_where=text("free_day IS NOT NULL")
        ),
    )


class IdempotencyKey(SQLModel, table=True):
    """A caller's key for a request that creates something, and what it created."""

    __tablename__ = "idempotency_key"

    caller: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    body_sha256: str = Field(sa_column=Column(Text, nullable=False))
    made: str = Field(sa_column=Column(Text, nullable=False))  # the id of what was created
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"),)


class SigningKey(SQLModel, table=True):
    """A key that receipts are signed with. Retired ones stay: what they signed can be checked."""

    __tablename__ = "signing_key"

    kid: str = Field(sa_column=Column(Text, primary_key=True))
    algorithm: str = Field(sa_column=Column(Text, nullable=False))
    public_key: str = Field(sa_column=Column(Text, nullable=False))  # base64url, as a JWK has it
    private_key: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    retired_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        Index(
            "uq_signing_key_one_active",
            "algorithm",
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )
