-- purpose: Where the time out of the guest went, by reason: the kernel, the VMM, halts, and waiting for a CPU.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Exit reason.
-- column idle BOOLEAN: The guest waited: not cost.
-- column exits BIGINT: Exits with a latency and without a loss or a hole inside; the others are left out.
-- column out_of_guest_ns BIGINT: Time out of the guest: the sum of the next six columns that are not null.
-- column kernel_ns BIGINT: Time in the kernel, of the exits whose other parts are all recorded; null: of none.
-- column userspace_ns BIGINT: Time in the VMM; null: not recorded.
-- column blocked_ns BIGINT: Time asleep in a halt, with polling where it is not known how long; null: not recorded.
-- column polled_ns BIGINT: Time polled for in a halt; null: not recorded how long.
-- column preempted_ns BIGINT: Time that the thread could run and had no CPU; null: not recorded.
-- column unclear_ns BIGINT: Time in the kernel, or in a part of the exit that was not recorded.
-- column kernel_share DOUBLE: Part of the time out of the guest in the kernel, 0 to 1; null as above.
-- column userspace_share DOUBLE: Part of it in the VMM.
-- column blocked_share DOUBLE: Part of it asleep in a halt.
-- column polled_share DOUBLE: Part of it polled for in a halt.
-- column preempted_share DOUBLE: Part of it without a CPU.
-- column unclear_share DOUBLE: Part of it in the kernel, or in a part that was not recorded.
WITH
split AS (
    SELECT
        reason,
        idle,
        latency_ns,
        userspace_ns,
        blocked_ns,
        polled_ns,
        preempted_ns,
        latency_ns
        - coalesce(userspace_ns, 0) - coalesce(blocked_ns, 0) - coalesce(polled_ns, 0) - coalesce(preempted_ns, 0)
            AS rest_ns,
        -- An exit that is not idle does not halt.
        userspace_ns IS NOT NULL AND preempted_ns IS NOT NULL AND (blocked_ns IS NOT NULL OR NOT idle) AS whole
    FROM exits
    WHERE run_id = $run_id AND latency_ns IS NOT NULL AND NOT suspect
),

sums AS (
    SELECT
        reason,
        idle,
        count(*) AS exits,
        try_cast(sum(latency_ns) AS BIGINT) AS out_of_guest_ns,
        try_cast(sum(rest_ns) FILTER (WHERE whole) AS BIGINT) AS kernel_ns,
        try_cast(sum(userspace_ns) AS BIGINT) AS userspace_ns,
        try_cast(sum(blocked_ns) AS BIGINT) AS blocked_ns,
        try_cast(sum(polled_ns) AS BIGINT) AS polled_ns,
        try_cast(sum(preempted_ns) AS BIGINT) AS preempted_ns,
        try_cast(sum(CASE WHEN whole THEN 0 ELSE rest_ns END) AS BIGINT) AS unclear_ns
    FROM split
    GROUP BY reason, idle
)

SELECT
    reason,
    idle,
    exits,
    out_of_guest_ns,
    kernel_ns,
    userspace_ns,
    blocked_ns,
    polled_ns,
    preempted_ns,
    unclear_ns,
    round(kernel_ns / nullif(out_of_guest_ns, 0), 6) AS kernel_share,
    round(userspace_ns / nullif(out_of_guest_ns, 0), 6) AS userspace_share,
    round(blocked_ns / nullif(out_of_guest_ns, 0), 6) AS blocked_share,
    round(polled_ns / nullif(out_of_guest_ns, 0), 6) AS polled_share,
    round(preempted_ns / nullif(out_of_guest_ns, 0), 6) AS preempted_share,
    round(unclear_ns / nullif(out_of_guest_ns, 0), 6) AS unclear_share
FROM sums
ORDER BY idle ASC, out_of_guest_ns DESC, exits DESC, reason ASC NULLS LAST
