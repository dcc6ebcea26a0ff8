-- purpose: Counters of a run, intervals of one counter added up.
-- requires: counters
-- param run_id VARCHAR: Run to report on.
-- column scope VARCHAR: What is counted apart (CPU0, S0, a thread); null: everything.
-- column system VARCHAR: System of a tracepoint; null: not a tracepoint.
-- column event VARCHAR: Event, without its system.
-- column part VARCHAR: Part of the event that is counted; null: all of it.
-- column unit VARCHAR: Unit of counted; null: a count of events.
-- column counted DOUBLE: What was counted; null: not counted or not supported.
-- column states VARCHAR: Counted, not counted or not supported; several where intervals differ.
-- column source_rows BIGINT: Rows of the source: intervals, or 1.
-- column counted_rows BIGINT: Rows that have a value.
-- column interval_end_ns BIGINT: End of the last interval since the start; null: no intervals.
-- column counted_ns BIGINT: Time of the intervals that have a value; null: no intervals, or none of them has.
-- column running_share DOUBLE: Least part of the enabled time that the counter ran, 0 to 1.
-- column stderr_share DOUBLE: Standard error of the mean of the repeats, relative to it, 0 to 1.
-- column repeats BIGINT: Runs that it is the mean of.
-- column rate_per_s DOUBLE: Events in a second, as printed; null: not printed, or several rows.
WITH
own AS (
    SELECT
        *,
        interval_end_ns - coalesce(max(interval_end_ns) OVER earlier, 0) AS interval_ns,
        -- An interval is one time, also where a counter was asked for twice.
        value IS NOT NULL AND row_number() OVER same = 1 AS is_first
    FROM counters
    WHERE run_id = $run_id
    WINDOW
        earlier AS (ORDER BY interval_end_ns RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        same AS (
            PARTITION BY scope, system, event, part, unit, interval_end_ns ORDER BY value ASC NULLS LAST, line ASC
        )
)

SELECT
    scope,
    system,
    event,
    part,
    unit,
    sum(value) AS counted,
    string_agg(DISTINCT state, ', ' ORDER BY state ASC) AS states,
    count(*) AS source_rows,
    count(value) AS counted_rows,
    max(interval_end_ns) AS interval_end_ns,
    try_cast(sum(interval_ns) FILTER (WHERE is_first) AS BIGINT) AS counted_ns,
    min(running_share) AS running_share,
    CASE WHEN count(*) = 1 THEN min(stderr_share) END AS stderr_share,
    min(repeats) AS repeats,
    CASE WHEN count(*) = 1 THEN min(rate_per_s) END AS rate_per_s
FROM own
GROUP BY scope, system, event, part, unit, CASE WHEN interval_end_ns IS NULL AND logged_at IS NULL THEN line END
ORDER BY
    min(line) ASC NULLS LAST,
    scope ASC NULLS LAST,
    system ASC NULLS LAST,
    event ASC,
    part ASC NULLS LAST,
    unit ASC NULLS LAST
