"""How pictures look: one that a worker brings twice, for two things, is found."""

from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

STEPS = (
    "ALTER TABLE artifact ADD COLUMN look TEXT",
    "ALTER TABLE artifact ADD CONSTRAINT ck_artifact_look_whole CHECK (look ~ '^[0-9a-f]{64}$')",
    """
CREATE TABLE look (
    item_id TEXT NOT NULL,
    bits BIT(256) NOT NULL,
    keys INTEGER[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_look PRIMARY KEY (item_id),
    CONSTRAINT fk_look_item_id FOREIGN KEY(item_id) REFERENCES item (id)
)
""",
    "CREATE INDEX ix_look_keys ON look USING gin (keys)",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
