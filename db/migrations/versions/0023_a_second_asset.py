"""The books can count a second asset: USDC, in its smallest unit."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    for table in ("account", "entry"):
        op.drop_constraint(op.f(f"ck_{table}_asset"), table)
        op.create_check_constraint(
            op.f(f"ck_{table}_asset"), table, "asset IN ('msat', 'microusdc')"
        )
