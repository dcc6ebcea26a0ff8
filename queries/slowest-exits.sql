-- purpose: The exits that kept the guest waiting longest, without suspect ones.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param top BIGINT = 20: At most so many rows; NULL: all of them.
-- param with_idle BOOLEAN = false: Idle exits too.
-- column exit_id BIGINT: The exit, as in the table exits.
-- column exit_ts_ns BIGINT: Time of the exit on the recording's clock.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column tid INTEGER: Thread.
-- column cpu INTEGER: CPU of the exit.
-- column reason VARCHAR: Exit reason.
-- column detail_kind VARCHAR: What the detail is.
-- column detail_hex VARCHAR: The MSR, port, address, …
-- column detail_name VARCHAR: Its name, where it has one.
-- column latency_ns BIGINT: Time out of the guest.
-- column userspace_ns BIGINT: Time of it in the VMM; null: not recorded.
-- column blocked_ns BIGINT: Time of it that the vCPU slept; null: not recorded.
-- column preempted_ns BIGINT: Time of it that the thread was runnable and not running; null: not recorded.
WITH
slowest AS (
    SELECT
        *,
        format('0x{:x}', detail) AS detail_hex
    FROM exits
    WHERE run_id = $run_id AND latency_ns IS NOT NULL AND NOT suspect AND ($with_idle OR NOT idle)
)

SELECT
    exit_id,
    exit_ts_ns,
    vm_id,
    vcpu,
    tid,
    cpu,
    reason,
    detail_kind,
    detail_hex,
    detail_name,
    latency_ns,
    userspace_ns,
    blocked_ns,
    preempted_ns
FROM slowest
ORDER BY latency_ns DESC, exit_id ASC
LIMIT $top
