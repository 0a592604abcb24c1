"""What a person's account pays is one call: its balance is looked at, the key that has it pay is
counted, and the entries are posted.

Each statement of the function sees what was written while the one before it waited for a lock.
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

# Returns NULL where all is written. Else nothing is: what the account has, where that is less than
# `most`; or -1 where the key may not spend so much, or was revoked. A key that has a limit in one
# asset only spends nothing of the other.
DEBIT = """
CREATE FUNCTION debit_account(of_account text, of_key text, most bigint, of_asset text,
                              at timestamptz, keys text[], of bigint[], accounts text[],
                              kinds text[], amounts bigint[])
RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  kept bigint;
BEGIN
  SELECT balance INTO kept FROM account WHERE name = of_account AND asset = of_asset FOR UPDATE;
  IF kept IS NULL OR kept < most THEN
    RETURN coalesce(kept, 0);
  END IF;
  IF of_key IS NOT NULL THEN
    IF of_asset = 'msat' THEN
      UPDATE api_key SET spent_msat = spent_msat + most
       WHERE id = of_key AND revoked_at IS NULL AND spent_msat <= coalesce(limit_msat,
             CASE WHEN limit_microusdc IS NULL THEN 9223372036854775807 ELSE 0 END) - most;
    ELSE
      UPDATE api_key SET spent_microusdc = spent_microusdc + most
       WHERE id = of_key AND revoked_at IS NULL AND spent_microusdc <= coalesce(limit_microusdc,
             CASE WHEN limit_msat IS NULL THEN 9223372036854775807 ELSE 0 END) - most;
    END IF;
    IF NOT FOUND THEN
      RETURN -1;
    END IF;
  END IF;
  PERFORM post_entries(of_asset, at, keys, of, accounts, kinds, amounts);
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Apply this step."""
    op.execute(DEBIT)
