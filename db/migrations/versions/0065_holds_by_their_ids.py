"""The end of a hold finds it by its id alone.

What else must be so of it was asked in the same WHERE. Planned while there were few holds, which a
connection does once, that was answered by the index of its session: each end then read all the
holds that its session had ever had.
"""

from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None

# As before, but for that. Its session is locked before it, as everywhere.
END_HOLD = """
CREATE OR REPLACE FUNCTION end_hold(of_id text, of_session text, into_state text, most bigint,
                                    charge bigint, spent bigint, over_minimum bigint, links text[],
                                    of_asset text, over_at timestamptz, keys text[], of bigint[],
                                    accounts text[], kinds text[], amounts bigint[])
RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  was record;
BEGIN
  PERFORM FROM session WHERE id = of_session FOR UPDATE;
  SELECT state, session_id, amount_msat INTO was FROM hold WHERE id = of_id FOR UPDATE;
  IF was.state IS DISTINCT FROM 'held' OR was.session_id IS DISTINCT FROM of_session
     OR was.amount_msat IS DISTINCT FROM most THEN
    RETURN false;
  END IF;
  IF give_back(of_session, most, most - charge, over_minimum, links, of_asset, over_at) IS NULL THEN
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
    op.execute(END_HOLD)
