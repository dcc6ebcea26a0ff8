-- purpose: Two runs, recordings or counters, side by side: counts, rates, counts per injected interrupt, and ratios.
-- requires: runs
-- param base_run_id VARCHAR: Run before.
-- param new_run_id VARCHAR: Run after.
-- param with_silent BOOLEAN = false: Also events that fired in neither run.
-- column kind VARCHAR: all exits; lost events; reason, idle reason: exits by reason; event: a tracepoint or counter.
-- column item VARCHAR: Exit reason or system:event; null: all of them.
-- column base_n BIGINT: How many before; null: not recorded, or above 2^63, which is no count.
-- column new_n BIGINT: How many after; null: the same.
-- column base_rate_per_s DOUBLE: Per second before, of intervals (perf stat -I) of those that were counted.
-- column new_rate_per_s DOUBLE: Per second after.
-- column rate_ratio DOUBLE: new_rate_per_s / base_rate_per_s.
-- column base_per_injection DOUBLE: Per injected interrupt (kvm_inj_virq) before; null: these were not recorded.
-- column new_per_injection DOUBLE: Per injected interrupt after.
-- column per_injection_ratio DOUBLE: new_per_injection / base_per_injection.
WITH
sides AS (
    SELECT
        'base' AS side,
        $base_run_id AS run_id
    UNION ALL
    SELECT
        'new' AS side,
        $new_run_id AS run_id
),

chosen AS (
    SELECT
        r.run_id,
        r.lost_events,
        p.side,
        r.exits IS NOT NULL AND r.kind = 'recording' AS has_exits,
        nullif(coalesce(r.enabled_ns, r.elapsed_ns), 0) / 1e9 AS recorded_s
    FROM sides AS p
    INNER JOIN runs AS r ON p.run_id = r.run_id
),

-- A sampled tracepoint stands for as many events as its period says; 0 is a period that varied.
reasons AS (
    SELECT
        c.side,
        e.reason AS item,
        CASE WHEN e.idle THEN 'idle reason' ELSE 'reason' END AS kind,
        try_cast(count(*)::HUGEINT * nullif(coalesce(any_value(t.period), 1), 0) AS BIGINT) AS n
    FROM chosen AS c
    INNER JOIN exits AS e ON c.run_id = e.run_id
    LEFT JOIN tracepoints AS t ON c.run_id = t.run_id AND t.system = 'kvm' AND t.event = 'kvm_exit'
    WHERE e.run_id IN ($base_run_id, $new_run_id)
    GROUP BY c.side, e.reason, e.idle
),

-- Counters of whole events; their parts (an exit reason, a bucket) say again what these say.
by_interval AS (
    SELECT
        c.side,
        k.system,
        k.event,
        k.scope,
        any_value(c.recorded_s) AS recorded_s,
        sum(k.value) AS n,
        k.interval_end_ns - coalesce(max(k.interval_end_ns) OVER earlier, 0) AS interval_ns
    FROM chosen AS c
    INNER JOIN counters AS k ON c.run_id = k.run_id
    WHERE k.run_id IN ($base_run_id, $new_run_id) AND k.unit IS NULL AND k.part IS NULL
    GROUP BY c.side, k.system, k.event, k.scope, k.interval_end_ns
    WINDOW earlier AS (
        PARTITION BY c.side ORDER BY k.interval_end_ns RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

by_scope AS (
    SELECT
        side,
        system,
        event,
        scope,
        sum(n) AS n,
        sum(n) / coalesce(
            nullif(sum(interval_ns) FILTER (WHERE n IS NOT NULL), 0) / 1e9, any_value(recorded_s)
        ) AS rate_per_s
    FROM by_interval
    GROUP BY side, system, event, scope
),

-- What is counted of everything holds what is counted apart; a VM (328-4) its vCPUs (328-4/vcpu0).
outermost AS (
    SELECT s.*
    FROM by_scope AS s
    WHERE NOT EXISTS (
        SELECT 1
        FROM by_scope AS o
        WHERE
            s.side = o.side AND s.system IS NOT DISTINCT FROM o.system AND s.event = o.event
            AND s.scope IS NOT NULL AND (o.scope IS NULL OR starts_with(s.scope, concat(o.scope, '/')))
    )
),

events AS (
    SELECT
        c.side,
        'event' AS kind,
        concat(t.system, ':', t.event) AS item,
        try_cast(sum(t.samples::HUGEINT * nullif(t.period, 0)) AS BIGINT) AS n,
        NULL::DOUBLE AS counted_rate_per_s
    FROM chosen AS c
    INNER JOIN tracepoints AS t ON c.run_id = t.run_id
    GROUP BY c.side, t.system, t.event
    UNION ALL
    SELECT
        side,
        'event' AS kind,
        concat(system || ':', event) AS item,
        try_cast(round(sum(n)) AS BIGINT) AS n,
        sum(rate_per_s) AS counted_rate_per_s
    FROM outermost
    GROUP BY side, system, event
),

reason_names AS (
    SELECT DISTINCT
        kind,
        item
    FROM reasons
),

-- A reason that one run has and the other does not was counted there as 0, if its exits were recorded.
counts AS (
    SELECT
        c.side,
        'all exits' AS kind,
        NULL::VARCHAR AS item,
        try_cast(CASE WHEN count(r.side) = count(r.n) THEN coalesce(sum(r.n), 0) END AS BIGINT) AS n,
        NULL::DOUBLE AS counted_rate_per_s
    FROM chosen AS c
    LEFT JOIN reasons AS r ON c.side = r.side
    WHERE c.has_exits
    GROUP BY c.side
    UNION ALL
    SELECT
        side,
        'lost events' AS kind,
        NULL::VARCHAR AS item,
        lost_events AS n,
        NULL::DOUBLE AS counted_rate_per_s
    FROM chosen
    WHERE lost_events IS NOT NULL
    UNION ALL
    SELECT
        c.side,
        k.kind,
        k.item,
        CASE WHEN r.side IS NULL THEN 0 ELSE r.n END AS n,
        NULL::DOUBLE AS counted_rate_per_s
    FROM chosen AS c
    CROSS JOIN reason_names AS k
    LEFT JOIN reasons AS r ON c.side = r.side AND k.kind = r.kind AND k.item IS NOT DISTINCT FROM r.item
    WHERE c.has_exits
    UNION ALL
    SELECT
        side,
        kind,
        item,
        n,
        counted_rate_per_s
    FROM events
),

rates AS (
    SELECT
        k.side,
        k.kind,
        k.item,
        k.n,
        CASE WHEN k.n IS NOT NULL THEN coalesce(k.counted_rate_per_s, k.n / c.recorded_s) END AS rate_per_s
    FROM counts AS k
    INNER JOIN chosen AS c ON k.side = c.side
),

-- By rates, where there are any: other intervals of the injected interrupts may be counted than of the event.
figures AS (
    SELECT
        r.*,
        coalesce(r.rate_per_s / nullif(i.rate_per_s, 0), r.n / nullif(i.n, 0)) AS per_injection
    FROM rates AS r
    LEFT JOIN rates AS i ON r.side = i.side AND i.kind = 'event' AND i.item = 'kvm:kvm_inj_virq'
),

compared AS (
    SELECT
        kind,
        item,
        max(n) FILTER (WHERE side = 'base') AS base_n,
        max(n) FILTER (WHERE side = 'new') AS new_n,
        max(rate_per_s) FILTER (WHERE side = 'base') AS base_rate_per_s,
        max(rate_per_s) FILTER (WHERE side = 'new') AS new_rate_per_s,
        new_rate_per_s / nullif(base_rate_per_s, 0) AS rate_ratio,
        max(per_injection) FILTER (WHERE side = 'base') AS base_per_injection,
        max(per_injection) FILTER (WHERE side = 'new') AS new_per_injection,
        new_per_injection / nullif(base_per_injection, 0) AS per_injection_ratio
    FROM figures
    GROUP BY kind, item
)

SELECT
    kind,
    item,
    base_n,
    new_n,
    round(base_rate_per_s, 3) AS base_rate_per_s,
    round(new_rate_per_s, 3) AS new_rate_per_s,
    round(rate_ratio, 6) AS rate_ratio,
    round(base_per_injection, 6) AS base_per_injection,
    round(new_per_injection, 6) AS new_per_injection,
    round(per_injection_ratio, 6) AS per_injection_ratio
FROM compared
WHERE
    kind NOT IN ('event', 'lost events')
    OR (kind = 'event' AND ($with_silent OR (base_n + new_n > 0) IS NOT FALSE))
    OR (kind = 'lost events' AND greatest(base_n, new_n) > 0)
ORDER BY
    list_position(['all exits', 'lost events', 'reason', 'idle reason', 'event'], kind) ASC,
    greatest(base_n, new_n) DESC NULLS LAST,
    item ASC NULLS LAST
