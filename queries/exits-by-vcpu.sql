-- purpose: Exits, the time out of the guest and the time in it, by vCPU of each VM.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM; null: not known.
-- column cpus BIGINT: CPUs that its exits happened on; null: not recorded.
-- column exits BIGINT: Exits that are not idle.
-- column rate_per_s DOUBLE: These exits per second of the recording.
-- column out_of_guest_ns BIGINT: Time out of the guest, of the timed ones among them.
-- column avg_ns DOUBLE: Their mean latency (exit to next entry).
-- column max_ns BIGINT: Their longest latency.
-- column timed BIGINT: Exits that these latency figures are of.
-- column idle_exits BIGINT: Idle exits.
-- column idle_ns BIGINT: Time out of the guest of the timed idle exits.
-- column guest_ns BIGINT: Time in the guest before the exits, where the entry is known; without suspect exits.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; outside the latency figures.
WITH
chosen AS (
    SELECT
        vm_id,
        vcpu,
        cpu,
        idle,
        suspect,
        CASE WHEN NOT suspect THEN guest_ns END AS guest_ns,
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
        vm_id,
        vcpu,
        nullif(count(DISTINCT cpu), 0) AS cpus,
        count(*) FILTER (WHERE NOT idle) AS exits,
        try_cast(sum(timed_ns) FILTER (WHERE NOT idle) AS BIGINT) AS out_of_guest_ns,
        round(avg(timed_ns) FILTER (WHERE NOT idle), 1) AS avg_ns,
        max(timed_ns) FILTER (WHERE NOT idle) AS max_ns,
        count(timed_ns) FILTER (WHERE NOT idle) AS timed,
        count(*) FILTER (WHERE idle) AS idle_exits,
        try_cast(sum(timed_ns) FILTER (WHERE idle) AS BIGINT) AS idle_ns,
        try_cast(sum(guest_ns) AS BIGINT) AS guest_ns,
        count(*) FILTER (WHERE suspect) AS suspect
    FROM chosen
    GROUP BY vm_id, vcpu
),

figures AS (
    SELECT
        g.*,
        round(g.exits / s.recorded_s, 3) AS rate_per_s
    FROM grouped AS g
    CROSS JOIN span AS s
)

SELECT
    vm_id,
    vcpu,
    cpus,
    exits,
    rate_per_s,
    out_of_guest_ns,
    avg_ns,
    max_ns,
    timed,
    idle_exits,
    idle_ns,
    guest_ns,
    suspect
FROM figures
ORDER BY vm_id ASC NULLS LAST, vcpu ASC NULLS LAST
