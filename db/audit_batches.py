"""What the books must hold of batches, and what their rows must say of their items and leases.

The same kind of SQL as in db.audit, which puts both together.
"""

# What an authorization has paid for owes its rest, or gives what is less than a cent to an account.
LEGS = """
  UNION ALL SELECT 'batch:' || id || ':reserved', leg.account, leg.amount, asset
    FROM batch, LATERAL (VALUES (coalesce('session:' || session_id, 'user:' || account_id),
         price_amount), ('batch:' || id, -price_amount)) AS leg(account, amount)
   WHERE funding IN ('session', 'account')
  UNION ALL SELECT 'authorization:' || a.id || ':settled', leg.account, leg.amount, 'microusdc'
    FROM usdc_authorization a LEFT JOIN payout late
      ON late.id = coalesce(a.batch_id || ':batch', a.job_id || ':ask') || ':unawaited',
         LATERAL (VALUES (%(rail_usdc)s, a.amount_microusdc),
         (coalesce('refund:' || late.id, 'batch:' || a.batch_id, 'job:' || a.job_id,
                   'user:' || a.account_id), -a.amount_microusdc))
         AS leg(account, amount)
   WHERE a.state = 'settled'
  UNION ALL SELECT 'batch:' || b.id || ':ended', leg.account, leg.amount, b.asset
    FROM batch b LEFT JOIN payout rest ON rest.id = b.id || ':undelivered'
         LEFT JOIN payout late ON late.id = b.id || ':batch:unawaited'
         LEFT JOIN usdc_authorization a ON a.id = b.paid_by AND a.state = 'settled',
         LATERAL (VALUES ('batch:' || b.id, price_amount - charged_amount),
         (coalesce('session:' || b.session_id, 'user:' || b.account_id),
         charged_amount - price_amount)) AS leg(account, amount)
   WHERE b.state = ANY(%(batch_final)s)
     AND (funding IN ('session', 'account') OR (funding = 'x402' AND rest.id IS NULL
          AND late.id IS NULL AND a.id IS NOT NULL))
  UNION ALL SELECT 'item:' || i.id || ':delivered', leg.account, leg.amount, b.asset
    FROM item i JOIN batch b ON b.id = i.batch_id,
         LATERAL (SELECT coalesce(i.charged_amount, i.share_amount) AS amount) charge,
         LATERAL (SELECT CASE WHEN b.author_id IS NULL THEN 0
           ELSE charge.amount * b.author_pct / (100 + b.author_pct) END AS amount) author,
         LATERAL (SELECT coalesce(max(e.amount), 0) AS amount, max(e.held_amount) AS held,
                  max(w.id) AS id, max(w.account_id) AS account_id
                    FROM earning e JOIN worker w ON w.id = e.worker_id
                   WHERE e.item_id = i.id) worker,
         LATERAL (VALUES ('batch:' || b.id, charge.amount),
         (%(media)s, author.amount + worker.amount - charge.amount),
         ('user:' || b.author_id, -author.amount),
         ('user:' || worker.account_id, worker.held - worker.amount),
         ('worker:' || worker.id, -worker.held)) AS leg(account, amount)
   WHERE i.state = 'completed' AND i.charged_amount IS DISTINCT FROM 0
  UNION ALL SELECT 'lease:' || l.item_id || ':' || l.number || ':spent', leg.account, leg.amount,
         b.asset
    FROM lease l JOIN item i ON i.id = l.item_id JOIN batch b ON b.id = i.batch_id,
         LATERAL (VALUES (CASE WHEN l.state = 'done' AND l.sha256 IS NOT NULL THEN %(makers)s
         ELSE %(failed)s END, l.cost_amount), (%(given)s, -l.cost_amount)) AS leg(account, amount)
   WHERE l.cost_amount > 0
  UNION ALL SELECT 'batch:' || b.id || ':rounded', leg.account, leg.amount, b.asset
    FROM batch b CROSS JOIN LATERAL (SELECT b.charged_amount
           - sum(coalesce(i.charged_amount, share_amount)) AS amount
           FROM item i WHERE batch_id = b.id AND state = 'completed') up,
         LATERAL (VALUES ('batch:' || b.id, up.amount), (%(media)s, -up.amount))
         AS leg(account, amount)
   WHERE b.asset = 'msat' AND b.state = ANY(%(batch_final)s) AND up.amount > 0
"""

CHECKS = [
    (
        6,
        """SELECT 'it is paid for in ' || b.asset || ', and owes ' || p.amount || ' '
             || p.asset, b.id
             FROM batch b JOIN payout p ON p.batch_id = b.id AND p.reason = 'undelivered'
            WHERE p.asset <> b.asset OR p.amount <> b.price_amount - b.charged_amount
               OR b.state <> ALL(%(batch_final)s)""",
    ),
    (
        4,
        """SELECT 'it is ' || b.state || ', and its payment has not come in', b.id
             FROM batch b LEFT JOIN invoice i ON i.batch_id = b.id AND i.state = 'settled'
              AND i.received_msat >= i.amount_msat
             LEFT JOIN payout late ON late.id = i.id || ':unawaited'
            WHERE b.funding = 'invoice' AND (i.id IS NULL OR late.id IS NOT NULL)
              AND (b.state IN ('queued', 'processing', 'completed', 'failed')
                   OR b.charged_amount > 0)""",
    ),
    (
        4,
        """SELECT 'it is ' || b.state || ', and its authorization '
             || coalesce('is ' || a.state, 'is not there'), b.id
             FROM batch b LEFT JOIN usdc_authorization a ON a.id = b.paid_by
              AND a.batch_id = b.id AND a.amount_microusdc = b.price_amount
             LEFT JOIN payout late ON late.id = b.id || ':batch:unawaited'
            WHERE b.funding = 'x402' AND (a.id IS NULL
               OR ((a.state <> 'settled' OR late.id IS NOT NULL)
                   AND (b.state IN ('queued', 'processing', 'completed', 'failed')
                        OR b.charged_amount > 0))
               OR (a.state = 'settled' AND b.state = 'awaiting_payment'))""",
    ),
    (
        6,
        """SELECT 'its invoice asks for ' || i.amount_msat || ' msat, and its price is '
             || b.price_amount || ' ' || b.asset, b.id
             FROM batch b JOIN invoice i ON i.batch_id = b.id
            WHERE i.amount_msat <> b.price_amount OR b.asset <> 'msat'""",
    ),
    (
        6,
        """SELECT 'its price is ' || b.price_amount || ', charged are ' || b.charged_amount
             || ', and its items say ' || s.shares || ' and ' || s.charged, b.id
             FROM batch b CROSS JOIN LATERAL (
               SELECT coalesce(sum(share_amount), 0) AS shares,
                      coalesce(sum(coalesce(i.charged_amount, share_amount))
                               FILTER (WHERE state = 'completed'), 0) AS charged
                 FROM item i WHERE batch_id = b.id) s
            WHERE b.charged_amount <> CASE
                  WHEN b.asset = 'msat' AND b.state = ANY(%(batch_final)s)
                  THEN least(b.price_amount, ceil(s.charged / 1000.0)::bigint * 1000)
                  ELSE s.charged END
               OR b.charged_amount > b.price_amount
               OR (b.items > 0 AND b.price_amount <> s.shares)""",
    ),
    (
        6,
        """SELECT 'it counts ' || concat_ws(', ', b.items, b.delivered, b.failed, b.cancelled)
             || ' items, delivered, failed and cancelled, and there are '
             || concat_ws(', ', s.items, s.delivered, s.failed, s.cancelled), b.id
             FROM batch b CROSS JOIN LATERAL (
               SELECT count(*) AS items, count(*) FILTER (WHERE state = 'completed') AS delivered,
                      count(*) FILTER (WHERE state IN ('failed', 'dead_letter')) AS failed,
                      count(*) FILTER (WHERE state = 'cancelled') AS cancelled
                 FROM item WHERE batch_id = b.id) s
            WHERE (b.items, b.delivered, b.failed, b.cancelled)
                  <> (s.items, s.delivered, s.failed, s.cancelled)""",
    ),
    (
        6,
        """SELECT 'it is ' || state || ', and of its ' || items || ' items ' || delivered
             || ' were delivered, and ' || items - delivered - failed - cancelled || ' are open', id
             FROM batch
            WHERE (state = ANY(%(batch_final)s)) <> (completed_at IS NOT NULL)
               OR (state = ANY(%(batch_final)s) AND delivered + failed + cancelled < items)
               OR (state IN ('queued', 'processing') AND delivered + failed + cancelled = items)
               OR (state = 'completed' AND delivered = 0)
               OR (state IN ('awaiting_payment', 'queued', 'failed') AND delivered > 0)""",
    ),
    (
        6,
        """SELECT 'paid ' || paid.msat || ' msat, and charged ' || b.charged_amount
             || ', owed or sent back ' || back.msat || ', held for it ' || held.msat, b.id
             FROM batch b
             CROSS JOIN LATERAL (SELECT coalesce(sum(received_msat), 0) AS msat FROM invoice
               WHERE batch_id = b.id AND state = 'settled') paid
             CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS msat FROM payout
               WHERE batch_id = b.id AND asset = 'msat'
                 AND reason NOT IN ('change', 'not made as asked')) back
             CROSS JOIN LATERAL (SELECT CASE WHEN b.state IN ('queued', 'processing')
               THEN b.price_amount - b.charged_amount ELSE 0 END AS msat) held
            WHERE b.funding = 'invoice'
              AND paid.msat <> b.charged_amount + back.msat + held.msat""",
    ),
    (
        2,
        """SELECT 'it has spent ' || k.spent_msat || ' msat and ' || k.spent_microusdc
             || ' microusdc, and its batches ' || s.msat || ' and ' || s.microusdc, k.id
             FROM api_key k CROSS JOIN LATERAL (
               SELECT coalesce(sum(amount) FILTER (WHERE asset = 'msat'), 0) AS msat,
                      coalesce(sum(amount) FILTER (WHERE asset = 'microusdc'), 0) AS microusdc
                 FROM (SELECT asset, CASE WHEN state = ANY(%(batch_final)s) THEN charged_amount
                         ELSE price_amount END AS amount FROM batch
                        WHERE account_id = k.account_id AND funding = 'account'
                          AND budgets[1] = k.id) b) s
            WHERE k.spent_msat <> s.msat OR k.spent_microusdc <> s.microusdc
               OR k.spent_msat > k.limit_msat OR k.spent_microusdc > k.limit_microusdc""",
    ),
    (
        6,
        """SELECT 'it is ' || i.state || ' at number ' || i.number || ' after ' || i.tries
             || ' tries, and ' || l.held || ' leases hold it, ' || l.brought || ' brought it', i.id
             FROM item i JOIN batch b ON b.id = i.batch_id AND b.purged_at IS NULL
             CROSS JOIN LATERAL (
               SELECT count(*) AS leases, coalesce(max(number), 0) AS last,
                      count(*) FILTER (WHERE state = 'held') AS held,
                      count(*) FILTER (WHERE state = 'done' AND sha256 IS NOT NULL) AS brought
                 FROM lease WHERE item_id = i.id) l
            WHERE l.held <> (i.state IN ('claimed', 'processing'))::int
               OR l.brought <> (i.state = 'completed')::int
               OR l.leases <> i.number OR l.last <> i.number""",
    ),
    (
        6,
        """SELECT 'its file is ' || coalesce(a.sha256, 'not there') || ', and it says '
             || coalesce(i.sha256, 'nothing'), i.id
             FROM item i LEFT JOIN artifact a ON a.id = i.artifact
            WHERE i.state = 'completed' AND i.output IS NULL
              AND (i.artifact IS NOT NULL OR i.asked_sha256 IS NULL)  -- a text may be forgotten
              AND a.sha256 IS DISTINCT FROM i.sha256""",
    ),
    (
        8,
        """SELECT 'it waits, and all that it needs was made, or something is lost', i.id
             FROM item i JOIN batch b ON b.id = i.batch_id
            WHERE i.state = 'waiting'
              AND (NOT EXISTS (SELECT FROM item n WHERE n.id = ANY(i.needs)
                               AND n.state <> 'completed')
                   OR EXISTS (SELECT FROM item n WHERE n.id = ANY(i.needs)
                              AND n.state IN ('failed', 'dead_letter', 'cancelled')))""",
    ),
    (
        6,
        """SELECT 'it is ' || i.state || ', and was made before what it needs', i.id
             FROM item i WHERE i.needs <> '{}' AND (i.number > 0 OR i.state = 'completed')
              AND EXISTS (SELECT FROM item n WHERE n.id = ANY(i.needs)
                          AND n.state <> 'completed')""",
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its batch '
             || coalesce('is ' || b.state, 'is not there'), l.name
             FROM line l LEFT JOIN batch b ON l.name = 'batch:' || b.id AND b.asset = l.asset
            WHERE starts_with(l.name, 'batch:') AND l.balance <> CASE
                  WHEN b.state IN ('queued', 'processing') THEN b.price_amount - b.charged_amount
                  ELSE 0 END""",
    ),
]
