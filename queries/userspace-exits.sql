-- purpose: Returns to the VMM by reason, and the time until the vCPU entered the guest again.
-- requires: kvm_userspace_exit
-- field kvm_userspace_exit.reason UBIGINT: KVM_EXIT_ code; nothing where errno is below 0.
-- field kvm_userspace_exit.errno BIGINT: Below 0: KVM_RUN failed with it.
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Reason, as the recording names it; restart, error: KVM_RUN failed.
-- column code BIGINT: KVM_EXIT_ code, or the errno where KVM_RUN failed.
-- column events BIGINT: Returns to the VMM.
-- column rate_per_s DOUBLE: Returns per second of the recording.
-- column exits BIGINT: Returns within an exit; the others happened outside of any; null: exits were not recorded.
-- column userspace_ns BIGINT: Time in the VMM of these exits, without suspect ones; null: not recorded.
-- column exits_avg_ns DOUBLE: Mean latency of these exits, without suspect ones.
-- column exits_max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Returns that the latency figures are of.
WITH
named AS (
    SELECT
        value,
        any_value(name) AS reason_name
    FROM symbols
    WHERE run_id = $run_id AND event = 'kvm_userspace_exit' AND field = 'reason'
    GROUP BY value
),

vmm_returns AS (
    SELECT
        u.exit_id,
        CASE WHEN u.errno < 0 THEN -u.errno ELSE u.reason::BIGINT END AS code,
        CASE
            WHEN u.errno = -4 THEN 'restart'
            WHEN u.errno < 0 THEN 'error'
            ELSE coalesce(n.reason_name, format('0x{:x}', u.reason))
        END AS reason,
        CASE WHEN NOT e.suspect THEN e.userspace_ns END AS userspace_ns,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_userspace_exit AS u
    LEFT JOIN named AS n ON u.reason = n.value
    LEFT JOIN exits AS e ON u.run_id = e.run_id AND u.exit_id = e.exit_id
    WHERE u.run_id = $run_id
),

span AS (
    SELECT
        nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s,
        exits IS NOT NULL AS has_exits
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    r.reason,
    r.code,
    count(*) AS events,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    CASE WHEN any_value(s.has_exits) THEN count(r.exit_id) END AS exits,
    try_cast(sum(r.userspace_ns) AS BIGINT) AS userspace_ns,
    round(avg(r.timed_ns), 1) AS exits_avg_ns,
    max(r.timed_ns) AS exits_max_ns,
    count(r.timed_ns) AS timed
FROM vmm_returns AS r
CROSS JOIN span AS s
GROUP BY r.reason, r.code
ORDER BY events DESC, r.reason ASC, r.code ASC
