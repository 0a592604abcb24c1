"""What the books must hold of workers of the network, and what their rows must say.

The same kind of SQL as in db.audit, which puts both together.
"""

LEGS = """
  UNION ALL SELECT 'worker:' || w.id || ':freed:' || held.asset, leg.account, leg.amount,
         held.asset
    FROM worker w JOIN (SELECT worker_id, asset, sum(held_amount)::bigint AS amount
                          FROM earning GROUP BY 1, 2) held ON held.worker_id = w.id,
         LATERAL (SELECT held.amount - CASE held.asset WHEN 'msat' THEN w.forfeited_msat
           ELSE w.forfeited_microusdc END AS amount) freed,
         LATERAL (VALUES ('worker:' || w.id, freed.amount),
         ('user:' || w.account_id, -freed.amount)) AS leg(account, amount)
   WHERE w.trusted_at IS NOT NULL
"""

CHECKS = [
    (
        6,
        """SELECT 'it has delivered ' || w.delivered || ', and holds ' || w.held_msat
             || ' msat and ' || w.held_microusdc || ' microusdc; its earnings are '
             || concat_ws(', ', e.items, e.msat, e.microusdc) || '; it has earned '
             || w.earned_msat || ' msat and ' || w.earned_microusdc || ' microusdc, and by its'
             || ' earnings ' || e.all_msat || ' and ' || e.all_microusdc, w.id
             FROM worker w CROSS JOIN LATERAL (
               SELECT count(*) AS items,
                      coalesce(sum(held_amount) FILTER (WHERE asset = 'msat'), 0) AS msat,
                      coalesce(sum(held_amount) FILTER (WHERE asset = 'microusdc'), 0)
                        AS microusdc,
                      coalesce(sum(amount) FILTER (WHERE asset = 'msat'), 0) AS all_msat,
                      coalesce(sum(amount) FILTER (WHERE asset = 'microusdc'), 0)
                        AS all_microusdc
                 FROM earning WHERE worker_id = w.id) e
            WHERE w.delivered <> e.items
                  OR (w.earned_msat, w.earned_microusdc) <> (e.all_msat, e.all_microusdc)
                  OR CASE WHEN w.trusted_at IS NULL
                  THEN (w.held_msat + w.forfeited_msat, w.held_microusdc + w.forfeited_microusdc)
                       <> (e.msat, e.microusdc)
                  ELSE w.held_msat + w.held_microusdc > 0 END""",
    ),
    (
        6,
        """SELECT 'its worker is paid ' || coalesce(e.amount::text, 'nothing')
             || ', and its part is ' || l.pay_pct || ' percent of what it costs', i.id
             FROM lease l JOIN item i ON i.id = l.item_id AND i.state = 'completed'
             JOIN batch b ON b.id = i.batch_id
             LEFT JOIN earning e ON e.item_id = i.id AND e.worker_id = l.worker
             CROSS JOIN LATERAL (
               SELECT coalesce(i.charged_amount, i.share_amount) AS amount) charge
             CROSS JOIN LATERAL (SELECT charge.amount - CASE WHEN b.author_id IS NULL THEN 0
               ELSE charge.amount * b.author_pct / (100 + b.author_pct) END AS amount) rest
            WHERE l.id IS NOT NULL AND l.state = 'done' AND l.sha256 IS NOT NULL
              AND (e.amount IS DISTINCT FROM rest.amount * l.pay_pct / 100
                   OR e.asset <> b.asset
                   OR e.held_amount NOT IN (0, e.amount / 2, e.amount))""",
    ),
    (
        6,
        """SELECT 'somebody is paid for it, and it is ' || i.state, i.id
             FROM earning e JOIN item i ON i.id = e.item_id WHERE i.state <> 'completed'""",
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its worker '
             || coalesce('has ' || CASE l.asset WHEN 'msat' THEN w.held_msat
             ELSE w.held_microusdc END || ' held', 'is not there'), l.name
             FROM line l LEFT JOIN worker w ON l.name = 'worker:' || w.id
            WHERE starts_with(l.name, 'worker:') AND l.balance IS DISTINCT FROM
                  CASE l.asset WHEN 'msat' THEN w.held_msat ELSE w.held_microusdc END""",
    ),
    (
        6,
        """SELECT 'it has earned ' || pay.earned || ' ' || pay.asset || ', of which ' || pay.held
             || ' are held and ' || pay.forfeited || ' forfeited, '
             || coalesce(free.balance, 0) || ' are free, and it was sent or is owed '
             || coalesce(sent.amount, 0), w.id
             FROM worker w CROSS JOIN LATERAL (VALUES
               ('msat', w.earned_msat, w.held_msat, w.forfeited_msat),
               ('microusdc', w.earned_microusdc, w.held_microusdc, w.forfeited_microusdc))
               AS pay(asset, earned, held, forfeited)
             LEFT JOIN line free ON free.name = 'user:' || w.account_id AND free.asset = pay.asset
             LEFT JOIN (SELECT account_id, asset, sum(amount) AS amount FROM payout
                         WHERE account_id IS NOT NULL AND reason <> 'change' GROUP BY 1, 2) sent
               ON sent.account_id = w.account_id AND sent.asset = pay.asset
            WHERE pay.earned - pay.held - pay.forfeited - coalesce(free.balance, 0)
                  <> coalesce(sent.amount, 0)""",
    ),
]
