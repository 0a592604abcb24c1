"""Sessions, what a credential may spend, and money held for a call."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "free_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used_msat", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used_msat >= 0", name=op.f("ck_free_day_used_not_negative")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_free_day")),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "awaiting_payment",
                "active",
                "paused",
                "expired",
                name="sessionstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("minimum_msat", sa.BigInteger(), nullable=False),
        sa.Column("reserved_msat", sa.BigInteger(), nullable=False),
        sa.Column("topups", sa.BigInteger(), nullable=False),
        sa.Column("rests", sa.BigInteger(), nullable=False),
        sa.Column("refund_to", sa.Text(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("credential_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("reserved_msat >= 0", name=op.f("ck_session_reserved_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    op.create_index(
        "ix_session_idle",
        "session",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('active', 'paused')"),
    )
    op.create_table(
        "allowance",
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("limit_msat", sa.BigInteger(), nullable=False),
        sa.Column("used_msat", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "used_msat BETWEEN 0 AND limit_msat", name=op.f("ck_allowance_used_within_limit")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.id"], name=op.f("fk_allowance_session_id")
        ),
        sa.PrimaryKeyConstraint("link", name=op.f("pk_allowance")),
    )
    op.create_index(op.f("ix_allowance_session_id"), "allowance", ["session_id"], unique=False)
    op.create_table(
        "hold",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "held",
                "charged",
                "dropped",
                name="holdstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("budgets", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("amount_msat", sa.BigInteger(), nullable=False),
        sa.Column("charge_msat", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_msat > 0", name=op.f("ck_hold_amount_positive")),
        sa.CheckConstraint(
            "charge_msat BETWEEN 0 AND amount_msat", name=op.f("ck_hold_charge_within_amount")
        ),
        sa.CheckConstraint("num_nonnulls(session_id, day) = 1", name=op.f("ck_hold_one_payer")),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name=op.f("fk_hold_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index(
        "ix_hold_due",
        "hold",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_hold_session_id",
        "hold",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_table(
        "revocation",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.id"], name=op.f("fk_revocation_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "link", name=op.f("pk_revocation")),
    )
    op.add_column("invoice", sa.Column("session_id", sa.Text(), nullable=True))
    op.alter_column("invoice", "job_id", existing_type=sa.TEXT(), nullable=True)
    op.create_index(op.f("ix_invoice_session_id"), "invoice", ["session_id"], unique=False)
    op.create_index(
        "uq_invoice_one_topup",
        "invoice",
        ["session_id"],
        unique=True,
        postgresql_where=sa.text("purpose = 'topup' AND state IN ('wanted', 'open')"),
    )
    op.create_foreign_key(
        op.f("fk_invoice_session_id"), "invoice", "session", ["session_id"], ["id"]
    )
    op.add_column(
        "job",
        sa.Column(
            "funding",
            sa.Enum(
                "invoices",
                "invoice",
                "session",
                name="funding",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="invoices",
            nullable=False,
        ),
    )
    op.add_column("job", sa.Column("session_id", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("credential", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("job", sa.Column("budgets", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("job", sa.Column("balance_msat", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_job_session_id",
        "job",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_foreign_key(op.f("fk_job_session_id"), "job", "session", ["session_id"], ["id"])
    op.add_column("payout", sa.Column("session_id", sa.Text(), nullable=True))
    op.alter_column("payout", "job_id", existing_type=sa.TEXT(), nullable=True)
    op.create_index(op.f("ix_payout_session_id"), "payout", ["session_id"], unique=False)
    op.create_foreign_key(op.f("fk_payout_session_id"), "payout", "session", ["session_id"], ["id"])
    for table in ("invoice", "payout"):
        op.create_check_constraint(
            op.f(f"ck_{table}_one_owner"), table, "num_nonnulls(job_id, session_id) = 1"
        )
    op.create_check_constraint(
        op.f("ck_job_session_pays"), "job", "(funding = 'session') = (session_id IS NOT NULL)"
    )
