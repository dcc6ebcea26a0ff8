-- purpose: Exits and the time out of the guest by exit reason; idle exits after the others and outside the shares.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Exit reason, as the kernel prints it.
-- column idle BOOLEAN: The guest waited: not cost.
-- column exits BIGINT: Exits.
-- column exits_share DOUBLE: Part of the exits that are not idle, 0 to 1; null: idle.
-- column rate_per_s DOUBLE: Exits per second of the recording.
-- column out_of_guest_ns BIGINT: Time out of the guest, of the timed exits.
-- column time_share DOUBLE: Part of that time of the exits that are not idle, 0 to 1; null: idle.
-- column avg_ns DOUBLE: Mean latency (exit to next entry).
-- column min_ns BIGINT: Shortest latency.
-- column p50_ns BIGINT: Latency of rank ceil(0.5 timed).
-- column p99_ns BIGINT: Latency of rank ceil(0.99 timed).
-- column max_ns BIGINT: Longest latency.
-- column timed BIGINT: Exits that the latency figures are of.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; outside the latency figures.
-- column no_latency BIGINT: Other exits without a latency; outside the latency figures.
WITH
chosen AS (
    SELECT
        reason,
        idle,
        suspect,
        CASE WHEN NOT suspect THEN latency_ns END AS timed_ns
    FROM exits
    WHERE run_id = $run_id
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
),

grouped AS (
    SELECT
        reason,
        idle,
        count(*) AS exits,
        try_cast(sum(timed_ns) AS BIGINT) AS out_of_guest_ns,
        round(avg(timed_ns), 1) AS avg_ns,
        min(timed_ns) AS min_ns,
        quantile_disc(timed_ns, 0.5) AS p50_ns,
        quantile_disc(timed_ns, 0.99) AS p99_ns,
        max(timed_ns) AS max_ns,
        count(timed_ns) AS timed,
        count(*) FILTER (WHERE suspect) AS suspect
    FROM chosen
    GROUP BY reason, idle
),

figures AS (
    SELECT
        g.*,
        CASE WHEN NOT g.idle THEN round(g.exits / sum(g.exits) OVER (PARTITION BY g.idle), 6) END AS exits_share,
        round(g.exits / s.recorded_s, 3) AS rate_per_s,
        CASE
            WHEN NOT g.idle THEN round(g.out_of_guest_ns / sum(g.out_of_guest_ns) OVER (PARTITION BY g.idle), 6)
        END AS time_share,
        g.exits - g.timed - g.suspect AS no_latency
    FROM grouped AS g
    CROSS JOIN span AS s
)

SELECT
    reason,
    idle,
    exits,
    exits_share,
    rate_per_s,
    out_of_guest_ns,
    time_share,
    avg_ns,
    min_ns,
    p50_ns,
    p99_ns,
    max_ns,
    timed,
    suspect,
    no_latency
FROM figures
ORDER BY idle ASC, out_of_guest_ns DESC NULLS LAST, exits DESC, reason ASC NULLS LAST
