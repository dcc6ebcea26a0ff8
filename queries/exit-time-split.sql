-- purpose: Where the time out of the guest went, by reason: the VMM, a halted vCPU, and the kernel (the rest).
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Exit reason.
-- column idle BOOLEAN: The guest waited: not cost.
-- column timed BIGINT: Exits that the times are of: those with a latency, without suspect ones.
-- column out_of_guest_ns BIGINT: Time out of the guest.
-- column userspace_exits BIGINT: Exits that went to the VMM; null: not recorded.
-- column userspace_ns BIGINT: Time in the VMM; null: not recorded.
-- column userspace_untimed BIGINT: Exits that went to the VMM for a time that is not recorded: it counts as kernel.
-- column blocked_ns BIGINT: Time that the halted vCPU slept, and was polled for before; null: not recorded.
-- column polled_ns BIGINT: Time that it was polled for without sleeping; null: not recorded.
-- column kernel_ns BIGINT: The rest of the time out of the guest; null: a part of it was not recorded.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; left out.
WITH
halts AS (
    SELECT count(*) > 0 AS recorded
    FROM tracepoints
    WHERE run_id = $run_id AND event = 'kvm_vcpu_wakeup'
),

split AS (
    SELECT
        e.reason,
        e.idle,
        count(*) FILTER (WHERE e.suspect) AS suspect,
        count(e.latency_ns) FILTER (WHERE NOT e.suspect) AS timed,
        sum(e.latency_ns) FILTER (WHERE NOT e.suspect)::BIGINT AS out_of_guest_ns,
        count(e.userspace) > 0 AS userspace_recorded,
        count(*) FILTER (WHERE e.userspace AND e.latency_ns IS NOT NULL AND NOT e.suspect) AS userspace_exits,
        count(e.userspace_ns) FILTER (WHERE e.userspace AND e.latency_ns IS NOT NULL AND NOT e.suspect)
            AS userspace_timed,
        sum(e.userspace_ns) FILTER (WHERE e.latency_ns IS NOT NULL AND NOT e.suspect)::BIGINT AS userspace_ns,
        sum(e.blocked_ns) FILTER (WHERE e.latency_ns IS NOT NULL AND NOT e.suspect)::BIGINT AS blocked_ns,
        sum(e.polled_ns) FILTER (WHERE e.latency_ns IS NOT NULL AND NOT e.suspect)::BIGINT AS polled_ns
    FROM exits AS e
    WHERE e.run_id = $run_id
    GROUP BY e.reason, e.idle
),

-- An exit that is not idle does not halt: its kernel time needs no record of halts.
figures AS (
    SELECT
        s.reason,
        s.idle,
        s.timed,
        s.out_of_guest_ns,
        s.suspect,
        CASE WHEN s.userspace_recorded THEN s.userspace_exits END AS userspace_exits,
        CASE WHEN s.userspace_recorded THEN coalesce(s.userspace_ns, 0) END AS userspace_ns,
        CASE WHEN s.userspace_recorded THEN s.userspace_exits - s.userspace_timed END AS userspace_untimed,
        CASE WHEN h.recorded THEN coalesce(s.blocked_ns, 0) END AS blocked_ns,
        CASE WHEN h.recorded THEN coalesce(s.polled_ns, 0) END AS polled_ns,
        CASE
            WHEN s.userspace_recorded AND (h.recorded OR NOT s.idle)
                THEN
                    s.out_of_guest_ns
                    - coalesce(s.userspace_ns, 0)
                    - coalesce(s.blocked_ns, 0)
                    - coalesce(s.polled_ns, 0)
        END AS kernel_ns
    FROM split AS s
    CROSS JOIN halts AS h
)

SELECT
    reason,
    idle,
    timed,
    out_of_guest_ns,
    userspace_exits,
    userspace_ns,
    userspace_untimed,
    blocked_ns,
    polled_ns,
    kernel_ns,
    suspect
FROM figures
ORDER BY idle ASC, out_of_guest_ns DESC NULLS LAST, timed DESC, reason ASC NULLS LAST
