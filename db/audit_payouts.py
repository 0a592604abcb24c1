"""What the books must hold of payouts: owed once, sent once at a time, and paid once.

The same kind of SQL as in db.audit, which puts both together.
"""

# Payouts of the other reasons were owed by the entry of their invoice, or of their charge.
LEGS = """
  UNION ALL SELECT 'payout:' || id || ':owed', leg.account, leg.amount, asset
    FROM payout, LATERAL (VALUES (CASE WHEN reason = 'not made as asked' THEN %(forfeits)s
         ELSE coalesce('job:' || job_id, 'session:' || session_id, 'batch:' || batch_id,
                       'user:' || account_id) END, amount), ('refund:' || id, -amount))
         AS leg(account, amount)
   WHERE reason NOT IN ('overpaid', 'unawaited', 'surplus', 'change') AND right(id, 5) <> ':back'
  UNION ALL SELECT 'payout:' || p.id || leg.key, leg.account, leg.amount, 'microusdc'
    FROM usdc_attempt a JOIN payout p ON p.id = a.payout_id,
         LATERAL (VALUES
           (':' || a.number || ':sent', 'refund:' || p.id, p.amount, true),
           (':' || a.number || ':sent', 'sending:' || p.id, -p.amount, true),
           (':' || a.number || ':returned', 'sending:' || p.id, p.amount, a.outcome = 'returned'),
           (':' || a.number || ':returned', 'refund:' || p.id, -p.amount, a.outcome = 'returned'),
           (':settled', 'sending:' || p.id, p.amount, a.outcome = 'settled'),
           (':settled', %(rail_usdc)s, -a.amount_microusdc, a.outcome = 'settled'))
         AS leg(key, account, amount, is_due)
   WHERE leg.is_due
"""

# Attempts over Lightning.
MSAT_LEGS = """
  UNION ALL SELECT 'payout:' || p.id || leg.key, leg.account, leg.amount
    FROM payout_attempt a JOIN payout p ON p.id = a.payout_id
         LEFT JOIN payout change ON change.id = p.id || ':change',
         LATERAL (VALUES
           (':' || a.number || ':sent', 'refund:' || p.id, p.amount, true),
           (':' || a.number || ':sent', 'sending:' || p.id, -p.amount, true),
           (':' || a.number || ':returned', 'sending:' || p.id, p.amount,
            a.outcome = 'returned'),
           (':' || a.number || ':returned', 'refund:' || p.id, -p.amount,
            a.outcome = 'returned'),
           (':settled', 'sending:' || p.id, p.amount, a.outcome = 'settled'),
           (':settled', 'refund:' || change.id, -change.amount, a.outcome = 'settled'),
           (':settled', %(routing)s,
            a.sent_msat + a.fee_msat + coalesce(change.amount, 0) - p.amount,
            a.outcome = 'settled'),
           (':settled', %(rail)s, -(a.sent_msat + a.fee_msat), a.outcome = 'settled'))
         AS leg(key, account, amount, is_due)
   WHERE leg.is_due
"""

CHECKS = [
    (
        5,
        """SELECT 'it was sent ' || live + settled || ' times, and none came back', payout_id
             FROM tries WHERE live + settled > 1""",
    ),
    (
        5,
        """SELECT 'it is ' || p.state || ' after ' || p.attempts || ' attempts, with '
             || coalesce(t.live, 0) || ' live and ' || coalesce(t.settled, 0) || ' settled of '
             || coalesce(t.sent, 0), p.id
             FROM payout p LEFT JOIN tries t ON t.payout_id = p.id
            WHERE p.attempts <> coalesce(t.sent, 0)
               OR (p.state = 'in_flight') <> (coalesce(t.live, 0) > 0)
               OR (p.state = 'paid') <> (coalesce(t.settled, 0) > 0)
               OR (p.state = 'paid') <> (p.paid_at IS NOT NULL)""",
    ),
    (
        5,
        """SELECT 'it sent ' || a.sent_msat || ' msat of ' || p.amount || ' at ' || a.fee_msat
             || ', of which the house bears ' || a.borne_msat || ', and its change is '
             || coalesce(change.amount, 0), p.id
             FROM payout_attempt a JOIN payout p ON p.id = a.payout_id
             LEFT JOIN payout change ON change.id = p.id || ':change'
            WHERE a.outcome = 'settled' AND coalesce(change.amount, 0) <> greatest(0,
                  p.amount - a.sent_msat
                  - (greatest(0, a.fee_msat - a.borne_msat) + 999) / 1000 * 1000) / 1000 * 1000""",
    ),
    (
        5,
        """SELECT 'its order ' || a.number || ' is one of ' || a.amount_microusdc || ' to '
             || a.payee || ', and it owes ' || p.amount || ' ' || p.asset || ' to '
             || coalesce(p.refund_to, 'nobody yet') || coalesce(', by ' || a.txid, ''), p.id
             FROM usdc_attempt a JOIN payout p ON p.id = a.payout_id
            WHERE (p.asset, p.amount) <> ('microusdc', a.amount_microusdc)
               OR (a.outcome = 'settled' AND a.txid IS NULL)
               OR (a.outcome <> 'returned'
                   AND p.refund_to IS DISTINCT FROM 'evm:' || a.network || ':' || a.payee)""",
    ),
    (
        5,
        """SELECT 'it is owed in USDC, and was sent over Lightning', p.id
             FROM payout_attempt a JOIN payout p ON p.id = a.payout_id WHERE p.asset <> 'msat'""",
    ),
    (
        5,
        """SELECT 'one of our own invoices was paid to it', a.payout_id
             FROM payout_attempt a JOIN invoice i ON i.payment_hash = a.payment_hash""",
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its payout '
             || coalesce('of ' || p.amount || ' is ' || p.state, 'is not there'), l.name
             FROM line l LEFT JOIN payout p ON p.id = substr(l.name, strpos(l.name, ':') + 1)
              AND p.asset = l.asset
            WHERE (starts_with(l.name, 'refund:') OR starts_with(l.name, 'sending:'))
              AND l.balance <> CASE WHEN p.state = CASE WHEN starts_with(l.name, 'refund:')
                  THEN 'owed' ELSE 'in_flight' END THEN p.amount ELSE 0 END""",
    ),
    (
        7,
        """SELECT 'it is ' || p.state || ', and no account holds its ' || p.amount || ' '
             || p.asset, p.id
             FROM payout p LEFT JOIN account a ON a.balance = p.amount AND a.asset = p.asset
              AND a.name = CASE p.state WHEN 'owed' THEN 'refund:' ELSE 'sending:' END || p.id
            WHERE p.state <> 'paid' AND a.name IS NULL""",
    ),
    (
        7,
        """SELECT 'it holds ' || balance || ' ' || asset || ' that are nobody''s', name
             FROM line WHERE kind = 'liability' AND balance <> 0
              AND split_part(name, ':', 1)
                  NOT IN ('job', 'refund', 'sending', 'session', 'hold', 'batch', 'user',
                          'unclaimed', 'worker')""",
    ),
]
