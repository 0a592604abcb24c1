"""People: their accounts, the names by which they prove to hold one, and their logins.

What rests on an account is the ledger's `user:<id>`; the ledger's own table is called `account`.
"""

from datetime import datetime
from enum import StrEnum, auto

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column


class IdentityKind(StrEnum):
    """How somebody proves to be who has an account."""

    PASSWORD = auto()
    EVM = auto()  # an address, by a signature or by a payment
    LIGHTNING = auto()  # the key that a wallet has for us (LUD-04), by a signature


class LoginBy(StrEnum):
    """What a login was given for."""

    PASSWORD = auto()
    RECOVERY = auto()
    WALLET = auto()
    LIGHTNING = auto()
    PAYMENT = auto()  # over x402: whoever pays has signed for it


class UserAccount(SQLModel, table=True):
    """An account of a person, or of a program."""

    __tablename__ = "user_account"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    created_at: datetime = Field(sa_column=time_column())
    last_login_at: datetime = Field(sa_column=time_column())


class Identity(SQLModel, table=True):
    """A name that opens an account to whoever proves it. A name is one account's for ever."""

    kind: IdentityKind = Field(sa_column=enum_column(IdentityKind, primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    # It is written first: of two who claim a name at once, one makes an account.
    account_id: str = Field(
        sa_column=Column(
            ForeignKey("user_account.id", deferrable=True, initially="DEFERRED"), nullable=False
        )
    )
    secret: str | None = Field(default=None, sa_column=Column(Text))  # Argon2id of the password
    recovery_sha256: str | None = Field(default=None, sa_column=Column(Text))
    recovery_at: datetime | None = Field(  # when that was changed last
        default=None, sa_column=time_column(nullable=True)
    )
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        Index("ix_identity_account_id", "account_id"),
        Index(
            "uq_identity_one_password",
            "account_id",
            unique=True,
            postgresql_where=text("kind = 'password'"),
        ),
    )


class Login(SQLModel, table=True):
    """Seven days after a proof: what the holder of a token may do. Only its hash is kept."""

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    account_id: str = Field(sa_column=Column(ForeignKey("user_account.id"), nullable=False))
    by: LoginBy = Field(sa_column=enum_column(LoginBy))
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        Index("ix_login_account_id", "account_id", "created_at"),
        Index("ix_login_expires_at", "expires_at"),
    )


class SpentNonce(SQLModel, table=True):
    """A nonce of ours that a wallet has signed: it is good for one login."""

    __tablename__ = "spent_nonce"

    nonce: str = Field(sa_column=Column(Text, primary_key=True))
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_spent_nonce_expires_at", "expires_at"),)


class LightningProof(SQLModel, table=True):
    """A code that a wallet has signed, until the page that shows it fetches what that proves."""

    __tablename__ = "lightning_proof"

    k1: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, nullable=False))  # the wallet's
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_lightning_proof_expires_at", "expires_at"),)


class ApiKey(SQLModel, table=True):
    """A key of an account, for programs: it is good until it is revoked. Only its hash is kept."""

    __tablename__ = "api_key"

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    account_id: str = Field(sa_column=Column(ForeignKey("user_account.id"), nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    shown: str = Field(sa_column=Column(Text, nullable=False))  # its first and last characters
    created_at: datetime = Field(sa_column=time_column())
    last_used_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # Of one that is fetched by whoever has paid for its account: it is shown for a while.
    shown_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # What it may spend in all, and what it has; none: as much as the account has.
    limit_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    limit_microusdc: int | None = Field(default=None, sa_column=Column(BigInteger))
    spent_msat: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    spent_microusdc: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        Index("ix_api_key_account_id", "account_id", "created_at"),
        CheckConstraint("spent_msat >= 0 AND spent_microusdc >= 0", name="spent"),
    )
