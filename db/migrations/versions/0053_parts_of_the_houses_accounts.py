"""What the house's own accounts have is kept in parts: whoever posts adds to a part of his own.

Nearly every entry earns something, holds or spends it: kept in one row, each would wait until the
one before it is on the disk. No rule of Postgres looks at what is on these accounts, as it does at
what is owed. `kept_balance` tells of every account what it has.
"""

from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

PARTS = """
CREATE TABLE account_part (
    name TEXT NOT NULL,
    asset VARCHAR(32) NOT NULL,
    part BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    CONSTRAINT ck_account_part_asset CHECK (asset IN ('msat', 'microusdc')),
    CONSTRAINT pk_account_part PRIMARY KEY (name, asset, part)
);
CREATE VIEW kept_balance AS
SELECT a.name, a.asset, a.kind,
       CASE a.kind WHEN 'liability' THEN a.balance
            ELSE (a.balance + coalesce((SELECT sum(p.balance) FROM account_part p
                   WHERE p.name = a.name AND p.asset = a.asset), 0))::bigint END AS balance
  FROM account a
"""

# As before, but for the parts: they are added to in the order of their accounts' names, too.
POST = """
CREATE OR REPLACE FUNCTION post_entries(of_asset text, posted_at timestamptz, keys text[],
                                        of bigint[], accounts text[], kinds text[],
                                        amounts bigint[])
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  ids bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(keys)]);
  made bigint;
  is_fresh boolean := false;
  leg record;
  mine bigint := pg_backend_pid() % 64;
BEGIN
  FOR place IN 1 .. cardinality(keys) LOOP
    INSERT INTO entry (key, asset, at) VALUES (keys[place], of_asset, posted_at)
    ON CONFLICT (key) DO NOTHING RETURNING id INTO made;
    ids[place] := made;
    is_fresh := is_fresh OR made IS NOT NULL;
  END LOOP;
  IF NOT is_fresh THEN
    RETURN;
  END IF;
  INSERT INTO posting (entry_id, account, amount)
  SELECT ids[new.place], new.account, new.amount
    FROM unnest(of, accounts, amounts) AS new(place, account, amount)
   WHERE ids[new.place] IS NOT NULL;
  FOR leg IN
    SELECT new.account, new.kind,
           sum(CASE WHEN new.kind IN ('asset', 'expense') THEN new.amount ELSE -new.amount END)
             ::bigint AS delta
      FROM unnest(of, accounts, kinds, amounts) AS new(place, account, kind, amount)
     WHERE ids[new.place] IS NOT NULL GROUP BY 1, 2 ORDER BY 1
  LOOP
    IF leg.kind = 'liability' THEN
      UPDATE account SET balance = balance + leg.delta
       WHERE name = leg.account AND asset = of_asset;
      IF NOT FOUND THEN
        INSERT INTO account AS kept (name, asset, kind, balance)
        VALUES (leg.account, of_asset, leg.kind, leg.delta)
        ON CONFLICT (name, asset) DO UPDATE SET balance = kept.balance + excluded.balance;
      END IF;
    ELSE
      UPDATE account_part SET balance = balance + leg.delta
       WHERE name = leg.account AND asset = of_asset AND part = mine;
      IF NOT FOUND THEN
        INSERT INTO account (name, asset, kind, balance)
        VALUES (leg.account, of_asset, leg.kind, 0) ON CONFLICT (name, asset) DO NOTHING;
        INSERT INTO account_part AS kept (name, asset, part, balance)
        VALUES (leg.account, of_asset, mine, leg.delta)
        ON CONFLICT (name, asset, part) DO UPDATE SET balance = kept.balance + excluded.balance;
      END IF;
    END IF;
  END LOOP;
END $$
"""


def upgrade() -> None:
    """Apply this step."""
    op.execute(PARTS)
    op.execute(POST)
