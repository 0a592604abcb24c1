"""What the books must hold of canaries, of what workers forfeit, and of what buyers have of it.

The same kind of SQL as in db.audit, which puts both together.
"""

LEGS = """
  UNION ALL SELECT 'batch:' || b.id || leg.key, leg.account, leg.amount, b.asset
    FROM batch b, LATERAL (VALUES
           (':reserved', %(canaries)s, b.price_amount, true),
           (':reserved', 'batch:' || b.id, -b.price_amount, true),
           (':ended', 'batch:' || b.id, b.price_amount - b.charged_amount,
            b.state = ANY(%(batch_final)s)),
           (':ended', %(canaries)s, b.charged_amount - b.price_amount,
            b.state = ANY(%(batch_final)s)))
         AS leg(key, account, amount, is_due)
   WHERE b.funding = 'house' AND leg.is_due
  UNION ALL SELECT 'worker:' || c.worker_id || ':forfeited:' || c.item_id || ':' || lost.asset,
         leg.account, leg.amount, lost.asset
    FROM canary c, LATERAL (VALUES ('msat', c.forfeited_msat),
         ('microusdc', c.forfeited_microusdc)) AS lost(asset, amount),
         LATERAL (VALUES ('worker:' || c.worker_id, lost.amount), (%(forfeits)s, -lost.amount))
         AS leg(account, amount)
  UNION ALL SELECT 'canary:' || c.item_id || ':added:' || own.asset, leg.account, leg.amount,
         own.asset
    FROM canary c, LATERAL (VALUES ('msat', c.added_msat), ('microusdc', c.added_microusdc))
         AS own(asset, amount),
         LATERAL (VALUES (%(media)s, own.amount), (%(forfeits)s, -own.amount))
         AS leg(account, amount)
  UNION ALL SELECT 'amends:' || a.id || ':made', leg.account, leg.amount, a.asset
    FROM amends a JOIN batch b ON b.id = a.batch_id
         LEFT JOIN payout p ON p.id = a.batch_id || ':amends' || a.number,
         LATERAL (VALUES (%(forfeits)s, a.amount),
         (coalesce('session:' || b.session_id, 'user:' || b.account_id), -a.amount))
         AS leg(account, amount)
   WHERE a.state = 'made' AND p.id IS NULL
"""

CHECKS = [
    (
        6,
        """SELECT 'it has passed ' || w.canaries_passed || ' canaries, failed '
             || w.canaries_failed || ' and lost ' || w.forfeited_msat || ' msat and '
             || w.forfeited_microusdc || ' microusdc by them, and they say '
             || concat_ws(', ', c.passed, c.failed, c.msat, c.microusdc), w.id
             FROM worker w CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE state = 'passed') AS passed,
                      count(*) FILTER (WHERE state = 'failed') AS failed,
                      coalesce(sum(forfeited_msat), 0) AS msat,
                      coalesce(sum(forfeited_microusdc), 0) AS microusdc
                 FROM canary WHERE worker_id = w.id) c
            WHERE (w.canaries_passed, w.canaries_failed, w.forfeited_msat, w.forfeited_microusdc)
                  <> (c.passed, c.failed, c.msat, c.microusdc)""",
    ),
    (
        6,
        """SELECT 'the house has ordered it as ' || count(c.item_id) || ' canaries of '
             || count(*) || ' items', b.id
             FROM batch b JOIN item i ON i.batch_id = b.id LEFT JOIN canary c ON c.item_id = i.id
            WHERE b.funding = 'house' OR c.item_id IS NOT NULL
            GROUP BY b.id HAVING count(*) <> 1 OR count(c.item_id) <> 1
                OR max(b.funding) <> 'house'""",
    ),
    (
        6,
        """SELECT 'it is ' || c.state || ' at ' || coalesce(c.unlike_pct::text, 'no')
             || ' percent, its item is ' || i.state || ', brought by '
             || coalesce(e.worker_id, 'nobody') || ', and ' || c.worker_id || ' has lost '
             || c.forfeited_msat || ' msat and ' || c.forfeited_microusdc || ' microusdc',
             c.item_id
             FROM canary c JOIN item i ON i.id = c.item_id LEFT JOIN earning e ON e.item_id = i.id
            WHERE (c.state IN ('passed', 'failed')) <> (c.unlike_pct IS NOT NULL)
               OR (c.state IN ('passed', 'failed') AND i.state <> 'completed')
               OR e.worker_id <> c.worker_id
               OR (c.state <> 'failed' AND c.forfeited_msat + c.forfeited_microusdc
                   + c.added_msat + c.added_microusdc > 0)""",
    ),
    (
        6,
        """SELECT 'its buyers have ' || coalesce(has.amount, 0) || ' ' || lost.asset || ' of '
             || lost.amount || ', to which the house has added ' || lost.added, c.item_id
             FROM canary c CROSS JOIN LATERAL (VALUES
               ('msat', c.forfeited_msat, c.added_msat),
               ('microusdc', c.forfeited_microusdc, c.added_microusdc))
               AS lost(asset, amount, added)
             CROSS JOIN LATERAL (SELECT sum(a.amount)::bigint AS amount FROM amends a
               WHERE a.canary_id = c.item_id AND a.asset = lost.asset) has
            WHERE lost.added <> greatest(0, coalesce(has.amount, 0) - lost.amount)""",
    ),
    (
        6,
        """SELECT 'the house has added ' || sum(c.added_msat) || ' msat and '
             || sum(c.added_microusdc) || ' microusdc for what its buyers had of it, and had '
             || max(own.msat) || ' and ' || max(own.microusdc), c.worker_id
             FROM canary c CROSS JOIN LATERAL (
               SELECT coalesce(sum(part.own) FILTER (WHERE e.asset = 'msat'), 0) AS msat,
                      coalesce(sum(part.own) FILTER (WHERE e.asset = 'microusdc'), 0) AS microusdc
                 FROM earning e JOIN item i ON i.id = e.item_id JOIN batch b ON b.id = i.batch_id
                 CROSS JOIN LATERAL (
                   SELECT coalesce(i.charged_amount, i.share_amount) AS amount) charge
                 CROSS JOIN LATERAL (SELECT charge.amount - e.amount - CASE
                   WHEN b.author_id IS NULL THEN 0
                   ELSE charge.amount * b.author_pct / (100 + b.author_pct) END AS own) part
                WHERE e.worker_id = c.worker_id AND b.funding <> 'house') own
            WHERE c.added_msat + c.added_microusdc > 0
            GROUP BY c.worker_id HAVING sum(c.added_msat) > max(own.msat)
                OR sum(c.added_microusdc) > max(own.microusdc)""",
    ),
    (
        6,
        """SELECT 'it was charged ' || paid.amount || ' ' || b.asset || ' for what a worker made,'
             || ' and has ' || a.amount || ' ' || a.asset || ' of it back', b.id
             FROM amends a JOIN canary c ON c.item_id = a.canary_id
             JOIN batch b ON b.id = a.batch_id
             CROSS JOIN LATERAL (
               SELECT coalesce(sum(coalesce(i.charged_amount, i.share_amount)), 0) AS amount
                 FROM earning e JOIN item i ON i.id = e.item_id
                WHERE i.batch_id = b.id AND e.worker_id = c.worker_id) paid
            WHERE a.asset <> b.asset OR b.funding = 'house' OR a.amount > CASE a.asset
                  WHEN 'msat' THEN ceil(paid.amount / 1000.0)::bigint * 1000
                  ELSE paid.amount END""",
    ),
    (
        6,
        """SELECT 'it owes ' || p.amount || ' ' || p.asset || ' as amends, and '
             || coalesce(a.amount || ' ' || a.asset || ' are', 'none are') || ' made', p.id
             FROM payout p LEFT JOIN amends a ON p.id = a.batch_id || ':amends' || a.number
            WHERE p.reason = 'not made as asked' AND (a.id IS NULL OR a.state <> 'made'
                  OR (a.amount, a.asset) <> (p.amount, p.asset))""",
    ),
]
