"""Spells, their versions and casts; and items that are made from one another."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE spell (
    id TEXT NOT NULL,
    slug TEXT NOT NULL,
    author_id TEXT,
    latest BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    tags TEXT[] NOT NULL,
    searched TSVECTOR NOT NULL,
    hidden_at TIMESTAMP WITH TIME ZONE,
    hidden_why TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_spell PRIMARY KEY (id),
    CONSTRAINT uq_spell_slug UNIQUE (slug),
    CONSTRAINT ck_spell_latest_positive CHECK (latest > 0),
    CONSTRAINT ck_spell_hidden_with_reason CHECK ((hidden_at IS NULL) = (hidden_why IS NULL)),
    CONSTRAINT fk_spell_author_id FOREIGN KEY(author_id) REFERENCES user_account (id)
)
""",
    """
CREATE TABLE spell_version (
    id TEXT NOT NULL,
    spell_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    document JSONB NOT NULL,
    pins JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_spell_version PRIMARY KEY (id),
    CONSTRAINT fk_spell_version_spell_id FOREIGN KEY(spell_id) REFERENCES spell (id)
)
""",
    """
CREATE TABLE spell_cast (
    id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    parameters JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    paid_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_spell_cast PRIMARY KEY (id),
    CONSTRAINT fk_spell_cast_version_id FOREIGN KEY(version_id) REFERENCES spell_version (id)
)
""",
)
CHANGES = (
    "ALTER TABLE batch ADD COLUMN cast_id text, ADD COLUMN author_id text,"
    " ADD COLUMN author_pct bigint DEFAULT 0 NOT NULL,"
    " ADD CONSTRAINT fk_batch_cast_id FOREIGN KEY (cast_id) REFERENCES spell_cast (id),"
    " ADD CONSTRAINT ck_batch_author_within_bounds CHECK (author_pct BETWEEN 0 AND 30),"
    " ADD CONSTRAINT ck_batch_authors_of_casts CHECK (author_id IS NULL OR cast_id IS NOT NULL)",
    "ALTER TABLE item ADD COLUMN step bigint, ADD COLUMN needs text[] DEFAULT '{}' NOT NULL",
    "CREATE INDEX ix_batch_cast_id ON batch (cast_id) WHERE cast_id IS NOT NULL",
    "CREATE UNIQUE INDEX uq_batch_one_of_cast ON batch (cast_id)"
    " WHERE state IN ('awaiting_payment', 'queued', 'processing')",
    "CREATE INDEX ix_spell_author_id ON spell (author_id) WHERE author_id IS NOT NULL",
    "CREATE INDEX ix_spell_searched ON spell USING gin (searched)",
    "CREATE INDEX ix_spell_tags ON spell USING gin (tags)",
    "CREATE INDEX ix_spell_cast_paid ON spell_cast (version_id, paid_at) WHERE paid_at IS NOT NULL",
    "CREATE UNIQUE INDEX uq_spell_version_number ON spell_version (spell_id, number)",
    """
CREATE FUNCTION refuse_another_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of a spell never changes' USING ERRCODE = 'check_violation';
END $$
""",
    # A trusted extension. Where the host of the database has none, a search is plainer.
    """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$
""",
    "CREATE TRIGGER version_is_final BEFORE UPDATE OR DELETE ON spell_version"
    " FOR EACH ROW EXECUTE FUNCTION refuse_another_version()",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in (*TABLES, *CHANGES):
        op.execute(statement)
