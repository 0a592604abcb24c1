"""What the books must hold of USDC that was sent without a signed order, and of connected wallets.

The same kind of SQL as in db.audit, which puts both together.
"""

LEGS = """
  UNION ALL SELECT 'deposit:' || d.id || leg.key, leg.account, leg.amount, 'microusdc'
    FROM usdc_deposit d, LATERAL (VALUES
           (':arrived', %(rail_usdc)s, d.amount_microusdc, true),
           (':arrived', CASE WHEN d.state = 'credited' AND d.claimed_at IS NULL
            THEN 'user:' || d.account_id ELSE %(unclaimed)s END, -d.amount_microusdc, true),
           (':claimed', %(unclaimed)s, d.amount_microusdc, d.claimed_at IS NOT NULL),
           (':claimed', 'user:' || d.account_id, -d.amount_microusdc, d.claimed_at IS NOT NULL))
         AS leg(key, account, amount, is_due)
   WHERE leg.is_due
"""

CHECKS = [
    (
        5,
        """SELECT 'its order has paid for something, and was taken in as a deposit', a.id
             FROM usdc_authorization a JOIN usdc_deposit d ON d.authorization_id = a.id
            WHERE a.state = 'settled'""",
    ),
    (
        4,
        """SELECT 'it is paid, and no ' || c.amount || ' has come in for its account', c.id
             FROM connect_request c
            WHERE c.state = 'paid' AND c.kind = 'usdc' AND NOT EXISTS (SELECT FROM usdc_deposit d
                  WHERE d.account_id = c.account_id AND d.amount_microusdc = c.amount)""",
    ),
    (
        4,
        """SELECT 'it is paid, and no invoice of its account is', c.id
             FROM connect_request c
            WHERE c.state = 'paid' AND c.kind = 'lightning' AND NOT EXISTS (SELECT FROM invoice i
                  WHERE i.account_id = c.account_id AND i.state = 'settled')""",
    ),
    (
        7,
        """SELECT 'it holds ' || coalesce(l.balance, 0) || ' ' || coalesce(l.asset, 'microusdc')
             || ', and its deposits add up to ' || coalesce(d.amount, 0), %(unclaimed)s
             FROM (SELECT * FROM line WHERE name = %(unclaimed)s) l
             FULL JOIN (SELECT sum(amount_microusdc)::bigint AS amount, 'microusdc' AS asset
                    FROM usdc_deposit WHERE state = 'unclaimed') d ON d.asset = l.asset
            WHERE coalesce(l.balance, 0) <> coalesce(d.amount, 0)""",
    ),
]
