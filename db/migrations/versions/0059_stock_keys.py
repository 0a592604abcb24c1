"""Keys of workers that speak another network's dialect."""

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

STEPS = (
    """
CREATE TABLE stock_key (
    worker_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_stock_key PRIMARY KEY (worker_id),
    CONSTRAINT fk_stock_key_worker_id FOREIGN KEY(worker_id) REFERENCES worker (id),
    CONSTRAINT uq_stock_key_sha256 UNIQUE (sha256)
)
""",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
