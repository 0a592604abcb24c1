"""Entries are posted by one function, and their balance is checked once a statement.

A request on a session posts two entries; what was seven statements for the planner and a trigger
for each posting is now one call.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CHECK = """
DROP TRIGGER posting_must_balance ON posting;
DROP FUNCTION entry_must_balance;
CREATE FUNCTION entries_must_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT entry_id INTO wrong FROM fresh GROUP BY entry_id HAVING sum(amount) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'entry % does not balance', wrong USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER posting_must_balance AFTER INSERT ON posting REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION entries_must_balance()
"""

# `of` names the entry of each leg by its place in `keys`, from 1. An entry whose key is there
# already is a replay: it brings no legs. Accounts are locked in the order of their names, so that
# two callers never wait for each other. A plan is kept for as long as the connection: one that was
# made while a table was small must be the right one when it is large.
POST = """
CREATE FUNCTION post_entries(of_asset text, posted_at timestamptz, keys text[], of bigint[],
                             accounts text[], kinds text[], amounts bigint[])
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  ids bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(keys)]);
  made bigint;
  is_fresh boolean := false;
  leg record;
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
    UPDATE account SET balance = balance + leg.delta
     WHERE name = leg.account AND asset = of_asset;
    IF NOT FOUND THEN
      INSERT INTO account AS kept (name, asset, kind, balance)
      VALUES (leg.account, of_asset, leg.kind, leg.delta)
      ON CONFLICT (name, asset) DO UPDATE SET balance = kept.balance + excluded.balance;
    END IF;
  END LOOP;
END $$
"""


def upgrade() -> None:
    """Apply this step."""
    op.execute(CHECK)
    op.execute(POST)
