-- purpose: Exits of guests' guests by reason: handled here or handed to the guest's hypervisor, and how long they took.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Exit reason, as the kernel prints it.
-- column idle BOOLEAN: The guest waited: not cost.
-- column exits BIGINT: Exits of guests' guests (kvm_nested_vmexit).
-- column rate_per_s DOUBLE: Exits per second of the recording.
-- column handled BIGINT: Exits handled here; null: not recorded (kvm_nested_vmexit_inject).
-- column handled_ns BIGINT: Time out of the guest's guest, of the timed ones of these.
-- column handled_avg_ns DOUBLE: Mean latency of them.
-- column handled_p99_ns BIGINT: Latency of them of rank ceil(0.99 handled_timed).
-- column handled_max_ns BIGINT: Longest latency of them.
-- column handled_timed BIGINT: Exits that these figures are of.
-- column reflected BIGINT: Exits handed to the guest's hypervisor; null: not recorded.
-- column reflected_ns BIGINT: Time until the guest's hypervisor ran, of the timed ones of these.
-- column reflected_avg_ns DOUBLE: Mean latency of them.
-- column reflected_p99_ns BIGINT: Latency of them of rank ceil(0.99 reflected_timed).
-- column reflected_max_ns BIGINT: Longest latency of them.
-- column reflected_timed BIGINT: Exits that these figures are of.
-- column untold BIGINT: Exits of which it is not known who handled them: they ended in a loss or with the recording.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; outside the latency figures.
WITH
nested_exits AS (
    SELECT
        reason,
        idle,
        reflected,
        suspect,
        CASE WHEN NOT suspect THEN latency_ns END AS timed_ns
    FROM exits
    WHERE run_id = $run_id AND nested = 2
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
        count(reflected) AS told,
        CASE WHEN count(reflected) > 0 THEN count(*) FILTER (WHERE NOT reflected) END AS handled,
        try_cast(sum(timed_ns) FILTER (WHERE NOT reflected) AS BIGINT) AS handled_ns,
        round(avg(timed_ns) FILTER (WHERE NOT reflected), 1) AS handled_avg_ns,
        quantile_disc(timed_ns, 0.99) FILTER (WHERE NOT reflected) AS handled_p99_ns,
        max(timed_ns) FILTER (WHERE NOT reflected) AS handled_max_ns,
        count(timed_ns) FILTER (WHERE NOT reflected) AS handled_timed,
        CASE WHEN count(reflected) > 0 THEN count(*) FILTER (WHERE reflected) END AS reflected,
        try_cast(sum(timed_ns) FILTER (WHERE reflected) AS BIGINT) AS reflected_ns,
        round(avg(timed_ns) FILTER (WHERE reflected), 1) AS reflected_avg_ns,
        quantile_disc(timed_ns, 0.99) FILTER (WHERE reflected) AS reflected_p99_ns,
        max(timed_ns) FILTER (WHERE reflected) AS reflected_max_ns,
        count(timed_ns) FILTER (WHERE reflected) AS reflected_timed,
        count(*) FILTER (WHERE suspect) AS suspect
    FROM nested_exits
    GROUP BY reason, idle
),

figures AS (
    SELECT
        g.*,
        round(g.exits / s.recorded_s, 3) AS rate_per_s,
        g.exits - g.told AS untold
    FROM grouped AS g
    CROSS JOIN span AS s
)

SELECT
    reason,
    idle,
    exits,
    rate_per_s,
    handled,
    handled_ns,
    handled_avg_ns,
    handled_p99_ns,
    handled_max_ns,
    handled_timed,
    reflected,
    reflected_ns,
    reflected_avg_ns,
    reflected_p99_ns,
    reflected_max_ns,
    reflected_timed,
    untold,
    suspect
FROM figures
ORDER BY idle ASC, exits DESC, reason ASC NULLS LAST
