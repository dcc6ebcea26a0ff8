-- purpose: Exits by the keys asked for and by latency bucket: what a report adds up.
-- requires: latency_buckets
-- param run_id VARCHAR: Run to report on.
-- param by_reason BOOLEAN: Keep exit reasons apart.
-- param by_detail BOOLEAN: Keep details (MSR, port, address, …) apart.
-- param by_vm BOOLEAN: Keep VMs apart.
-- param by_vcpu BOOLEAN: Keep vCPU numbers apart.
-- param by_cpu BOOLEAN: Keep CPUs apart.
-- column idle BOOLEAN: The exits are idle.
-- column suspect BOOLEAN: A loss or a hole lies inside the exits.
-- column reason VARCHAR: Exit reason.
-- column detail_kind VARCHAR: What the detail is.
-- column detail UBIGINT: The MSR, port, address, … of the exits.
-- column detail_name VARCHAR: Name of the detail.
-- column detail_capped BOOLEAN: Details that were too many to keep apart, together.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column cpu INTEGER: CPU of the exit.
-- column low_ns BIGINT: Lowest latency of the bucket; null: the exits are outside the latency figures.
-- column high_ns BIGINT: Highest latency of the bucket.
-- column n HUGEINT: Exits.
-- column userspace HUGEINT: Exits that went to the VMM; null: not recorded.
-- column sum_ns HUGEINT: Sum of the latencies.
-- column sum_sq_ns2 DOUBLE: Sum of the squares of the latencies.
-- column min_ns BIGINT: Shortest latency.
-- column max_ns BIGINT: Longest latency.
-- column userspace_ns HUGEINT: Time in the VMM, of the exits in the latency figures; null: not recorded.
-- column blocked_ns HUGEINT: Time asleep in halts, of the exits in the latency figures; null: not recorded.
-- column polled_ns HUGEINT: Time polled for in halts, of the exits in the latency figures; null: not recorded.
-- column preempted_ns HUGEINT: Time without a CPU, of the exits in the latency figures; null: not recorded.
-- column hcall_ns HUGEINT: Time in handlers of hypercalls, of the exits in the latency figures; null: not recorded.
-- column several_vms BOOLEAN: Exits of more than one VM are in the row.
SELECT
    idle,
    suspect,
    CASE WHEN $by_reason THEN reason END AS reason,
    CASE WHEN $by_detail THEN detail_kind END AS detail_kind,
    CASE WHEN $by_detail THEN detail END AS detail,
    CASE WHEN $by_detail THEN detail_name END AS detail_name,
    $by_detail AND detail_capped AS detail_capped,
    CASE WHEN $by_vm THEN vm_id END AS vm_id,
    CASE WHEN $by_vcpu THEN vcpu END AS vcpu,
    CASE WHEN $by_cpu THEN cpu END AS cpu,
    CASE WHEN NOT suspect THEN bucket_low_ns END AS low_ns,
    max(CASE WHEN NOT suspect THEN bucket_high_ns END) AS high_ns,
    sum(n) AS n,
    sum(CASE WHEN userspace THEN n WHEN NOT userspace AND NOT suspect THEN 0 END) AS userspace,
    sum(CASE WHEN NOT suspect THEN sum_ns END) AS sum_ns,
    sum(CASE WHEN NOT suspect THEN sum_sq_ns2 END) AS sum_sq_ns2,
    min(CASE WHEN NOT suspect THEN min_ns END) AS min_ns,
    max(CASE WHEN NOT suspect THEN max_ns END) AS max_ns,
    sum(CASE WHEN NOT suspect THEN userspace_ns END) AS userspace_ns,
    sum(CASE WHEN NOT suspect THEN blocked_ns END) AS blocked_ns,
    sum(CASE WHEN NOT suspect THEN polled_ns END) AS polled_ns,
    sum(CASE WHEN NOT suspect THEN preempted_ns END) AS preempted_ns,
    sum(CASE WHEN NOT suspect THEN hcall_ns END) AS hcall_ns,
    coalesce(min(CASE WHEN $by_vcpu THEN vm_id END) <> max(CASE WHEN $by_vcpu THEN vm_id END), FALSE) AS several_vms
FROM latency_buckets
WHERE run_id = $run_id
GROUP BY ALL
ORDER BY ALL
