-- purpose: Exits by latency, in buckets of powers of two; exits without a latency in a row of their own.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param reason VARCHAR = NULL: Only this exit reason.
-- param with_idle BOOLEAN = false: Count idle exits too.
-- column low_ns BIGINT: Lowest latency of the bucket; null: exits without a latency, and suspect ones.
-- column high_ns BIGINT: Highest latency of the bucket.
-- column exits BIGINT: Exits in the bucket.
-- column exits_share DOUBLE: Part of the timed exits, 0 to 1.
-- column cumulative_share DOUBLE: Part of the timed exits in this bucket and the ones below it, 0 to 1.
-- column out_of_guest_ns BIGINT: Sum of their latencies.
WITH
chosen AS (
    SELECT CASE WHEN NOT suspect THEN latency_ns END AS timed_ns
    FROM exits
    WHERE run_id = $run_id AND ($with_idle OR NOT idle) AND ($reason IS NULL OR reason = $reason)
),

buckets AS (
    SELECT
        CASE WHEN timed_ns < 1 THEN 0 ELSE 1::BIGINT << floor(log2(timed_ns))::INTEGER END AS low_ns,
        count(*) AS exits,
        count(timed_ns) AS timed,
        try_cast(sum(timed_ns) AS BIGINT) AS out_of_guest_ns
    FROM chosen
    GROUP BY low_ns
),

figures AS (
    SELECT
        low_ns,
        exits,
        out_of_guest_ns,
        greatest(low_ns - 1 + low_ns, low_ns) AS high_ns,
        CASE WHEN low_ns IS NOT NULL THEN round(timed / sum(timed) OVER (), 6) END AS exits_share,
        CASE WHEN low_ns IS NOT NULL THEN round(sum(timed) OVER up_to_here / sum(timed) OVER (), 6) END
            AS cumulative_share
    FROM buckets
    WINDOW up_to_here AS (ORDER BY low_ns)
)

SELECT
    low_ns,
    high_ns,
    exits,
    exits_share,
    cumulative_share,
    out_of_guest_ns
FROM figures
ORDER BY low_ns ASC NULLS LAST
