"""What a session sets aside, and gets back, is one call, where it moves two sums and no more.

So is the whole of a hold on a session: its begin, and its end. Each statement of such a function
sees what was written while the one before it waited for a lock.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

SET_ASIDE = """
CREATE FUNCTION set_aside(of_session text, most bigint, at_least bigint, links text[],
                          limits bigint[], of_asset text, began_at timestamptz,
                          idle_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  PERFORM FROM session WHERE id = of_session AND state = 'active' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM FROM account
   WHERE name = 'session:' || of_session AND asset = of_asset AND balance >= at_least;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF links IS NOT NULL THEN
    PERFORM FROM unnest(links, limits) AS asked(link, limit_msat)
       LEFT JOIN allowance ON allowance.link = asked.link
      WHERE asked.limit_msat - coalesce(used_msat, 0) < most;
    IF FOUND THEN
      RETURN false;
    END IF;
    INSERT INTO allowance (link, session_id, limit_msat, used_msat)
    SELECT link, of_session, limit_msat, most
      FROM unnest(links, limits) AS asked(link, limit_msat)
        ON CONFLICT (link) DO UPDATE SET used_msat = allowance.used_msat + excluded.used_msat;
  END IF;
  UPDATE session SET reserved_msat = reserved_msat + most, expires_at = idle_at,
         version = version + 1, updated_at = began_at WHERE id = of_session;
  RETURN true;
END $$
"""

# Returns the balance, in which `back` is not yet: its entry is posted by the caller.
GIVE_BACK = """
CREATE FUNCTION give_back(of_session text, most bigint, back bigint, over_minimum bigint,
                          links text[], of_asset text, over_at timestamptz)
RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  kept bigint;
BEGIN
  PERFORM FROM session WHERE id = of_session AND state = 'active' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT balance INTO kept
    FROM session JOIN account ON name = 'session:' || of_session AND asset = of_asset
   WHERE id = of_session AND balance + reserved_msat - minimum_msat >= over_minimum;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF links IS NOT NULL AND back > 0 THEN
    UPDATE allowance SET used_msat = used_msat - back WHERE link = ANY(links);
  END IF;
  UPDATE session SET reserved_msat = reserved_msat - most, version = version + 1,
         updated_at = over_at WHERE id = of_session;
  RETURN kept;
END $$
"""

BEGIN_HOLD = """
CREATE FUNCTION begin_hold(of_id text, of_session text, what_for text, most bigint,
                           at_least bigint, until timestamptz, idle_at timestamptz, links text[],
                           limits bigint[], of_asset text, began_at timestamptz, keys text[],
                           of bigint[], accounts text[], kinds text[], amounts bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT set_aside(of_session, most, at_least, links, limits, of_asset, began_at, idle_at) THEN
    RETURN false;
  END IF;
  INSERT INTO hold (id, state, session_id, budgets, purpose, amount_msat, charge_msat, created_at,
                    expires_at)
  VALUES (of_id, 'held', of_session, links, what_for, most, 0, began_at, until);
  PERFORM post_entries(of_asset, began_at, keys, of, accounts, kinds, amounts);
  RETURN true;
END $$
"""

# Its session is locked before it, as everywhere.
END_HOLD = """
CREATE FUNCTION end_hold(of_id text, of_session text, into_state text, most bigint, charge bigint,
                         spent bigint, over_minimum bigint, links text[], of_asset text,
                         over_at timestamptz, keys text[], of bigint[], accounts text[],
                         kinds text[], amounts bigint[])
RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  PERFORM FROM session WHERE id = of_session FOR UPDATE;
  PERFORM FROM hold WHERE id = of_id AND state = 'held' AND session_id = of_session
      AND amount_msat = most FOR UPDATE;
  IF NOT FOUND
     OR give_back(of_session, most, most - charge, over_minimum, links, of_asset, over_at) IS NULL
  THEN
    RETURN false;
  END IF;
  UPDATE hold SET state = into_state, charge_msat = charge, spent_msat = spent, ended_at = over_at
   WHERE id = of_id;
  PERFORM post_entries(of_asset, over_at, keys, of, accounts, kinds, amounts);
  RETURN true;
END $$
"""


def upgrade() -> None:
    """Apply this step."""
    for function in (SET_ASIDE, GIVE_BACK, BEGIN_HOLD, END_HOLD):
        op.execute(function)
