-- purpose: Exits and the time out of the guest by the keys asked for, with totals, from every exit.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param by_reason BOOLEAN: Keep exit reasons apart.
-- param by_detail BOOLEAN: Keep details (MSR, port, address, …) apart.
-- param by_vm BOOLEAN: Keep VMs apart.
-- param by_vcpu BOOLEAN: Keep vCPU numbers apart.
-- param by_cpu BOOLEAN: Keep CPUs apart.
-- param with_idle BOOLEAN: Count idle exits with the others, in one section.
-- column idle_section BOOLEAN: The row belongs to the section of idle exits.
-- column idle BOOLEAN: The exits are idle; null in a total.
-- column reason VARCHAR: Exit reason.
-- column detail_kind VARCHAR: What the detail is.
-- column detail UBIGINT: The MSR, port, address, … of the exits.
-- column detail_name VARCHAR: Name of the detail.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column cpu INTEGER: CPU of the exit.
-- column total BOOLEAN: The row is the total of its section.
-- column several_vms BOOLEAN: Exits of more than one VM are in the row.
-- column exits BIGINT: Exits.
-- column timed BIGINT: Exits that the latency figures are of.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; outside the latency figures.
-- column no_latency BIGINT: Other exits without a latency; outside the latency figures.
-- column userspace BIGINT: Exits that went to the VMM; null: not recorded.
-- column out_of_guest_ns HUGEINT: Time out of the guest.
-- column sq_dev_ns2 DOUBLE: Sum of the squared deviations of the latencies from their mean.
-- column min_ns BIGINT: Shortest latency.
-- column max_ns BIGINT: Longest latency.
-- column userspace_ns HUGEINT: Time in the VMM, of the exits in the latency figures; null: not recorded.
-- column blocked_ns HUGEINT: Time asleep in halts, of the exits in the latency figures; null: not recorded.
-- column polled_ns HUGEINT: Time polled for in halts, of the exits in the latency figures; null: not recorded.
-- column preempted_ns HUGEINT: Time without a CPU, of the exits in the latency figures; null: not recorded.
-- column hcall_ns HUGEINT: Time in handlers of hypercalls, of the exits in the latency figures; null: not recorded.
-- column p50_ns BIGINT: Latency of rank ceil(0.5 timed).
-- column p90_ns BIGINT: Latency of rank ceil(0.9 timed).
-- column p99_ns BIGINT: Latency of rank ceil(0.99 timed).
-- column p99_9_ns BIGINT: Latency of rank ceil(0.999 timed).
WITH
chosen AS (
    SELECT
        idle,
        suspect,
        userspace,
        idle AND NOT $with_idle AS idle_section,
        CASE WHEN $by_vcpu THEN vm_id END AS one_vm_id,
        CASE WHEN $by_reason THEN reason END AS reason,
        CASE WHEN $by_detail THEN detail_kind END AS detail_kind,
        CASE WHEN $by_detail THEN detail END AS detail,
        CASE WHEN $by_detail THEN detail_name END AS detail_name,
        CASE WHEN $by_vm THEN vm_id END AS vm_id,
        CASE WHEN $by_vcpu THEN vcpu END AS vcpu,
        CASE WHEN $by_cpu THEN cpu END AS cpu,
        CASE WHEN NOT suspect THEN latency_ns END AS timed_ns,
        CASE WHEN NOT suspect AND latency_ns IS NOT NULL THEN userspace_ns END AS userspace_ns,
        CASE WHEN NOT suspect AND latency_ns IS NOT NULL THEN blocked_ns END AS blocked_ns,
        CASE WHEN NOT suspect AND latency_ns IS NOT NULL THEN polled_ns END AS polled_ns,
        CASE WHEN NOT suspect AND latency_ns IS NOT NULL THEN preempted_ns END AS preempted_ns,
        CASE WHEN NOT suspect AND latency_ns IS NOT NULL THEN hcall_ns END AS hcall_ns
    FROM exits
    WHERE run_id = $run_id
),

-- Each group and, as its total, each section.
grouped AS (
    SELECT
        idle_section,
        idle,
        reason,
        detail_kind,
        detail,
        detail_name,
        vm_id,
        vcpu,
        cpu,
        grouping(idle) = 1 AS total,
        coalesce(min(one_vm_id) <> max(one_vm_id), FALSE) AS several_vms,
        count(*) AS exits,
        count(timed_ns) AS timed,
        count(*) FILTER (WHERE suspect) AS suspect,
        count(*) FILTER (WHERE NOT suspect AND timed_ns IS NULL) AS no_latency,
        CASE WHEN count(userspace) > 0 THEN count(*) FILTER (WHERE userspace) END AS userspace,
        sum(timed_ns) AS out_of_guest_ns,
        var_pop(timed_ns) * count(timed_ns) AS sq_dev_ns2,
        min(timed_ns) AS min_ns,
        max(timed_ns) AS max_ns,
        sum(userspace_ns) AS userspace_ns,
        sum(blocked_ns) AS blocked_ns,
        sum(polled_ns) AS polled_ns,
        sum(preempted_ns) AS preempted_ns,
        sum(hcall_ns) AS hcall_ns,
        quantile_disc(timed_ns, [0.5, 0.9, 0.99, 0.999]) AS percentiles_ns
    FROM chosen
    GROUP BY
        GROUPING SETS (
            (idle_section, idle, reason, detail_kind, detail, detail_name, vm_id, vcpu, cpu),
            (idle_section)
        )
)

SELECT
    * EXCLUDE (percentiles_ns),
    percentiles_ns[1] AS p50_ns,
    percentiles_ns[2] AS p90_ns,
    percentiles_ns[3] AS p99_ns,
    percentiles_ns[4] AS p99_9_ns
FROM grouped
ORDER BY ALL
