-- purpose: Exits by block of time and reason.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param blocks BIGINT: Blocks of equal length that the recording is cut into.
-- column block BIGINT: Number of the block, from 0.
-- column idle BOOLEAN: The exits are idle.
-- column reason VARCHAR: Exit reason.
-- column n BIGINT: Exits.
-- column suspect BIGINT: Those of them that a loss or a hole lies inside.
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
        e.idle,
        e.reason,
        e.suspect,
        (e.exit_ts_ns::DOUBLE - s.first_ts_ns) / s.length_ns AS place
    FROM exits AS e
    CROSS JOIN span AS s
    WHERE e.run_id = $run_id
),

cut AS (
    SELECT
        idle,
        reason,
        suspect,
        least(floor(least(greatest(place, 0), 1) * $blocks)::BIGINT, $blocks - 1) AS block
    FROM placed
)

SELECT
    block,
    idle,
    reason,
    count(*) AS n,
    count(*) FILTER (WHERE suspect) AS suspect
FROM cut
GROUP BY block, idle, reason
ORDER BY block ASC, idle ASC, reason ASC NULLS LAST
