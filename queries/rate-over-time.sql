-- purpose: Exits per second in each interval of the recording, intervals without an exit too.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param step_s DOUBLE = 1: Length of an interval; the last one ends with the recording.
-- param reason VARCHAR = NULL: Only this exit reason.
-- column start_s DOUBLE: Start of the interval since the first event.
-- column length_s DOUBLE: Its length.
-- column exits BIGINT: Exits in it that are not idle.
-- column rate_per_s DOUBLE: These exits per second.
-- column out_of_guest_ns BIGINT: Time out of the guest of the timed ones among them, wherever it ends.
-- column idle_exits BIGINT: Idle exits in the interval.
-- column suspect BIGINT: Exits that a loss or a hole lies inside.
WITH
span AS (
    SELECT
        first_ts_ns,
        last_ts_ns,
        least(greatest(round($step_s * 1e9), 1), 9e18)::BIGINT AS step_ns,
        greatest((last_ts_ns - first_ts_ns - 1) // step_ns, 0) AS last_number
    FROM runs
    WHERE run_id = $run_id AND $step_s > 0
),

intervals AS (
    SELECT
        step_ns,
        unnest(range(
            CASE
                WHEN last_number < 100000 THEN last_number + 1
                ELSE error('more than 100,000 intervals: give a larger step_s')
            END
        )) AS interval_number,
        last_ts_ns - first_ts_ns AS elapsed_ns
    FROM span
),

counted AS (
    SELECT
        least((e.exit_ts_ns - s.first_ts_ns) // s.step_ns, s.last_number) AS interval_number,
        count(*) FILTER (WHERE NOT e.idle) AS exits,
        try_cast(sum(e.latency_ns) FILTER (WHERE NOT e.idle AND NOT e.suspect) AS BIGINT) AS out_of_guest_ns,
        count(*) FILTER (WHERE e.idle) AS idle_exits,
        count(*) FILTER (WHERE e.suspect) AS suspect
    FROM exits AS e
    CROSS JOIN span AS s
    WHERE e.run_id = $run_id AND ($reason IS NULL OR e.reason = $reason)
    GROUP BY interval_number
),

measured AS (
    SELECT
        i.interval_number * i.step_ns / 1e9 AS start_s,
        least(i.step_ns, i.elapsed_ns - i.interval_number * i.step_ns) / 1e9 AS length_s,
        coalesce(c.exits, 0) AS exits,
        round(coalesce(c.exits, 0) / nullif(length_s, 0), 3) AS rate_per_s,
        coalesce(c.out_of_guest_ns, 0) AS out_of_guest_ns,
        coalesce(c.idle_exits, 0) AS idle_exits,
        coalesce(c.suspect, 0) AS suspect
    FROM intervals AS i
    LEFT JOIN counted AS c ON i.interval_number = c.interval_number
)

SELECT
    start_s,
    length_s,
    exits,
    rate_per_s,
    out_of_guest_ns,
    idle_exits,
    suspect
FROM measured
ORDER BY start_s ASC
