-- purpose: Counters of a run by interval, what is counted apart (CPUs, threads, VMs) added up.
-- requires: counters
-- param run_id VARCHAR: Run.
-- column system VARCHAR: System of a tracepoint; null: not a tracepoint.
-- column event VARCHAR: Event, without its system.
-- column part VARCHAR: Part of the event that is counted; null: all of it.
-- column unit VARCHAR: Unit of the values; null: a count of events.
-- column interval_end_ns BIGINT[]: End of each interval since the start; null: there are no intervals.
-- column counted DOUBLE[]: What was counted in each; null: not counted.
-- column stderr_share DOUBLE: Standard error of the mean of the repeats, relative to it; null: none, or several rows.
-- column repeats BIGINT: Runs that the value is the mean of.
-- column running_share DOUBLE: Least part of the enabled time that the counter ran, 0 to 1.
WITH
by_interval AS (
    SELECT
        system,
        event,
        part,
        unit,
        scope,
        interval_end_ns,
        CASE WHEN count(*) = count(value) THEN sum(value) END AS counted,
        CASE WHEN count(*) = 1 THEN min(stderr_share) END AS stderr_share,
        min(repeats) AS repeats,
        min(running_share) AS running_share
    FROM counters
    WHERE run_id = $run_id
    GROUP BY system, event, part, unit, scope, interval_end_ns
),

-- What is counted of everything holds what is counted apart; a VM (328-4) its vCPUs (328-4/vcpu0).
outermost AS (
    SELECT i.*
    FROM by_interval AS i
    WHERE NOT EXISTS (
        SELECT 1
        FROM by_interval AS o
        WHERE
            i.system IS NOT DISTINCT FROM o.system AND i.event = o.event AND i.part IS NOT DISTINCT FROM o.part
            AND i.scope IS NOT NULL AND (o.scope IS NULL OR starts_with(i.scope, concat(o.scope, '/')))
    )
),

added AS (
    SELECT
        system,
        event,
        part,
        unit,
        interval_end_ns,
        CASE WHEN count(*) = count(counted) THEN sum(counted) END AS counted,
        CASE WHEN count(*) = 1 THEN min(stderr_share) END AS stderr_share,
        min(repeats) AS repeats,
        min(running_share) AS running_share
    FROM outermost
    GROUP BY system, event, part, unit, interval_end_ns
)

SELECT
    system,
    event,
    part,
    unit,
    list(interval_end_ns ORDER BY interval_end_ns ASC) AS interval_end_ns,
    list(counted ORDER BY interval_end_ns ASC) AS counted,
    CASE WHEN count(*) = 1 THEN min(stderr_share) END AS stderr_share,
    min(repeats) AS repeats,
    min(running_share) AS running_share
FROM added
GROUP BY system, event, part, unit
ORDER BY system ASC NULLS LAST, event ASC, part ASC NULLS LAST, unit ASC NULLS LAST
