-- purpose: Exits by block of time and latency: two bands of latency for each power of two.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param blocks BIGINT: Blocks of equal length that the recording is cut into.
-- param with_idle BOOLEAN: Idle exits too.
-- column block BIGINT: Number of the block, from 0.
-- column band BIGINT: Band of latency: from 2^(band/2) ns to 2^((band+1)/2) ns.
-- column n BIGINT: Exits, without suspect ones and those without a latency.
WITH
span AS (
    SELECT
        first_ts_ns,
        greatest(last_ts_ns::DOUBLE - first_ts_ns, 1) AS length_ns
    FROM runs
    WHERE run_id = $run_id
),

placed AS (
    SELECT
        e.latency_ns,
        (e.exit_ts_ns::DOUBLE - s.first_ts_ns) / s.length_ns AS place
    FROM exits AS e
    CROSS JOIN span AS s
    WHERE e.run_id = $run_id AND e.latency_ns IS NOT NULL AND NOT e.suspect AND ($with_idle OR NOT e.idle)
)

SELECT
    least(floor(least(greatest(place, 0), 1) * $blocks)::BIGINT, $blocks - 1) AS block,
    floor(2 * log2(greatest(latency_ns, 1)))::BIGINT AS band,
    count(*) AS n
FROM placed
GROUP BY ALL
ORDER BY block ASC, band ASC
