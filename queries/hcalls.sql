-- purpose: Hypercalls of POWER guests by number: time in their handlers, and in the exits that they happened in.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column hcall UBIGINT: Number of the hypercall.
-- column hcall_hex VARCHAR: The number as the kernel prints one that has no name.
-- column hcall_name VARCHAR: Its name; null: it has none.
-- column exits BIGINT: Exits with it.
-- column rate_per_s DOUBLE: Exits per second of the recording.
-- column handled BIGINT: Exits whose handler was recorded from its begin to its end; hcall figures are of these.
-- column hcall_ns BIGINT: Time in the handler; null: not recorded. H_CEDE of POWER9 has none.
-- column hcall_avg_ns DOUBLE: Mean of it.
-- column hcall_min_ns BIGINT: Shortest.
-- column hcall_max_ns BIGINT: Longest.
-- column userspace BIGINT: Exits that went to the VMM; null: not recorded.
-- column timed BIGINT: Exits with a latency, without suspect ones; the next two are of these.
-- column exits_avg_ns DOUBLE: Mean time out of the guest.
-- column exits_max_ns BIGINT: Longest.
WITH
calls AS (
    SELECT
        detail AS hcall,
        detail_name AS hcall_name,
        userspace,
        CASE WHEN detail_from = 'kvm_hcall_enter.req' THEN hcall_ns END AS handler_ns,
        CASE WHEN NOT suspect THEN latency_ns END AS timed_ns
    FROM exits
    WHERE run_id = $run_id AND detail_kind = 'hcall'
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    c.hcall,
    printf('0x%x', c.hcall) AS hcall_hex,
    max(c.hcall_name) AS hcall_name,
    count(*) AS exits,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    count(c.handler_ns) AS handled,
    try_cast(sum(c.handler_ns) AS BIGINT) AS hcall_ns,
    round(avg(c.handler_ns), 1) AS hcall_avg_ns,
    min(c.handler_ns) AS hcall_min_ns,
    max(c.handler_ns) AS hcall_max_ns,
    CASE WHEN count(c.userspace) > 0 THEN count(*) FILTER (WHERE c.userspace) END AS userspace,
    count(c.timed_ns) AS timed,
    round(avg(c.timed_ns), 1) AS exits_avg_ns,
    max(c.timed_ns) AS exits_max_ns
FROM calls AS c
CROSS JOIN span AS s
GROUP BY c.hcall
ORDER BY exits DESC, c.hcall ASC
