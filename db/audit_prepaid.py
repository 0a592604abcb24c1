"""What the books must hold of money that was paid before its use: sessions, firm prices, holds.

The same kind of SQL as in db.audit, which puts both together.
"""

# Jobs at a firm price, whose ceiling was paid by one invoice or order, or set aside from a session;
# `paid`: it was, so that their end is an entry. Of an order little goes to its payer's balance.
ROWS = """
firm AS (
  SELECT d.*, d.eval_amount + d.quote_amount AS prepaid_amount,
         d.eval_amount * (d.state IN ('complete', 'rejected'))::int AS earned_amount,
         CASE WHEN d.funding = 'session' THEN 'session:' || d.session_id
              WHEN d.funding = 'x402' AND rest.id IS NULL THEN 'user:' || d.account_id
              ELSE 'refund:' || d.id || ':back' END AS back_to,
         d.funding = 'session' OR ((i.state = 'settled' OR a.state = 'settled')
         AND late.id IS NULL) AS paid
    FROM deal d LEFT JOIN invoice i ON i.id = d.id || ':ask'
         LEFT JOIN usdc_authorization a ON a.job_id = d.id
         LEFT JOIN payout late ON late.id = d.id || ':ask:unawaited'
         LEFT JOIN payout rest ON rest.id = d.id || ':back'
   WHERE d.funding <> 'invoices'),
ended AS (
  SELECT *, prepaid_amount - earned_amount - coalesce(charge_amount, 0) AS back_amount
    FROM firm WHERE state = ANY(%(final)s) AND coalesce(paid, false)),
spent AS (  -- what each budget of a credential was used for
  SELECT link, sum(msat) AS msat FROM (
    SELECT unnest(j.budgets) AS link, f.prepaid_amount - coalesce(e.back_amount, 0) AS msat
      FROM job j JOIN firm f ON f.id = j.id LEFT JOIN ended e ON e.id = j.id
    UNION ALL SELECT unnest(budgets), CASE state WHEN 'held' THEN amount_msat ELSE charge_msat END
      FROM hold
    UNION ALL SELECT unnest(budgets), CASE WHEN state = ANY(%(batch_final)s) THEN charged_amount
           ELSE price_amount END FROM batch WHERE funding = 'session') AS uses GROUP BY link),
"""

LEGS = """
  UNION ALL SELECT 'job:' || id || ':reserved', leg.account, leg.amount
    FROM firm, LATERAL (VALUES ('session:' || session_id, prepaid_amount),
         ('job:' || id, -prepaid_amount)) AS leg(account, amount)
   WHERE funding = 'session'
  UNION ALL SELECT 'hold:' || id || leg.key, leg.account, leg.amount
    FROM hold, LATERAL (SELECT coalesce('session:' || session_id, %(free)s)) AS from_(account),
         LATERAL (VALUES
           (':held', from_.account, amount_msat, true),
           (':held', 'hold:' || id, -amount_msat, true),
           (':ended', 'hold:' || id, amount_msat, state <> 'held'),
           (':ended', CASE WHEN session_id IS NULL THEN %(given)s ELSE %(work)s END,
            -charge_msat, state <> 'held'),
           (':ended', from_.account, charge_msat - amount_msat, state <> 'held'))
         AS leg(key, account, amount, is_due)
   WHERE leg.is_due
  UNION ALL SELECT 'hold:' || id || ':failed', leg.account, leg.amount
    FROM hold, LATERAL (VALUES (%(failed)s, spent_msat), (%(given)s, -spent_msat))
         AS leg(account, amount)
   WHERE state = 'dropped' AND spent_msat > 0
"""

# Of jobs in either asset.
LEGS_OF_ANY = """
  UNION ALL SELECT 'job:' || id || ':ended', leg.account, leg.amount, asset
    FROM ended, LATERAL (VALUES ('job:' || id, prepaid_amount), (%(eval)s, -earned_amount),
         (%(work)s, -coalesce(charge_amount, 0)), (back_to, -back_amount)) AS leg(account, amount)
"""

CHECKS = [
    (
        4,
        """SELECT 'it is ' || f.state || ', and its authorization '
             || coalesce('is ' || a.state, 'is not there'), f.id
             FROM firm f JOIN job j ON j.id = f.id LEFT JOIN usdc_authorization a
               ON a.id = j.paid_by AND a.job_id = f.id AND a.amount_microusdc = f.prepaid_amount
            WHERE f.funding = 'x402' AND (a.id IS NULL
               OR (NOT coalesce(f.paid, false)
                   AND f.state IN ('evaluating', 'executing', 'complete', 'rejected'))
               OR (a.state = 'settled' AND f.state = 'awaiting_eval_payment'))""",
    ),
    (
        2,
        """SELECT 'its credentials have used ' || coalesce(a.used_msat, 0) || ' msat of '
             || coalesce(a.limit_msat::text, 'nothing') || ', and its requests '
             || coalesce(s.msat, 0), coalesce(a.link, s.link)
             FROM allowance a FULL JOIN spent s ON s.link = a.link
            WHERE a.used_msat > a.limit_msat OR coalesce(a.used_msat, 0) <> coalesce(s.msat, 0)""",
    ),
    (
        2,
        """SELECT 'the house gave ' || coalesce(d.used_msat, 0) || ' msat away, and its holds say '
             || coalesce(h.msat, 0), coalesce(d.day, h.day)::text
             FROM free_day d FULL JOIN (SELECT day, sum(CASE state WHEN 'held' THEN amount_msat
                    ELSE charge_msat END) AS msat FROM hold WHERE day IS NOT NULL GROUP BY day) h
               ON h.day = d.day
            WHERE coalesce(d.used_msat, 0) <> coalesce(h.msat, 0)""",
    ),
    (
        2,
        """SELECT 'the house gave ' || coalesce(d.routing_msat, 0) || ' msat of routing away, and'
             || ' its attempts say ' || coalesce(t.msat, 0), coalesce(d.day, t.day)::text
             FROM free_day d FULL JOIN (SELECT free_day AS day, sum(CASE outcome
                    WHEN 'live' THEN free_msat WHEN 'settled' THEN
                    greatest(0, least(borne_msat, fee_msat) - borne_msat + free_msat) ELSE 0 END)
                    AS msat FROM payout_attempt WHERE free_day IS NOT NULL GROUP BY 1) t
               ON t.day = d.day
            WHERE coalesce(d.routing_msat, 0) <> coalesce(t.msat, 0)""",
    ),
    (
        2,
        """SELECT 'it has set ' || s.reserved_msat || ' msat aside, and its requests hold '
             || jobs.msat + holds.msat + batches.msat, s.id
             FROM session s
             CROSS JOIN LATERAL (SELECT coalesce(sum(prepaid_amount), 0) AS msat FROM firm
               WHERE session_id = s.id AND state <> ALL(%(final)s)) jobs
             CROSS JOIN LATERAL (SELECT coalesce(sum(amount_msat), 0) AS msat FROM hold
               WHERE session_id = s.id AND state = 'held') holds
             CROSS JOIN LATERAL (SELECT coalesce(sum(price_amount), 0) AS msat FROM batch
               WHERE session_id = s.id AND state <> ALL(%(batch_final)s)) batches
            WHERE s.reserved_msat <> jobs.msat + holds.msat + batches.msat""",
    ),
    (
        4,
        """SELECT 'it is ' || s.state || ', and its deposit has not come in', s.id
             FROM session s LEFT JOIN invoice i ON i.id = s.id || ':deposit'
              AND i.state = 'settled' AND i.received_msat >= i.amount_msat
             LEFT JOIN payout late ON late.id = s.id || ':deposit:unawaited'
            WHERE s.state IN ('active', 'paused') AND (i.id IS NULL OR late.id IS NOT NULL)""",
    ),
    (
        6,
        """SELECT 'its invoice asks for ' || i.amount_msat || ' msat, and its price is '
             || coalesce(f.prepaid_amount::text, 'unknown'), f.id
             FROM firm f JOIN invoice i ON i.id = f.id || ':ask'
            WHERE i.amount_msat IS DISTINCT FROM f.prepaid_amount""",
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its session '
             || coalesce('is ' || s.state, 'is not there'), l.name
             FROM line l LEFT JOIN session s ON l.name = 'session:' || s.id
              AND l.asset = 'msat'
            WHERE starts_with(l.name, 'session:') AND l.balance <> 0
              AND coalesce(s.state, 'none') NOT IN ('active', 'paused')
              AND coalesce(s.reserved_msat, 0) = 0""",  # what runs after the end gives back first
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its hold '
             || coalesce('is ' || h.state, 'is not there'), l.name
             FROM line l LEFT JOIN hold h ON l.name = 'hold:' || h.id
              AND l.asset = 'msat'
            WHERE starts_with(l.name, 'hold:')
              AND l.balance <> CASE h.state WHEN 'held' THEN h.amount_msat ELSE 0 END""",
    ),
]
