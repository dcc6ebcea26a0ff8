-- purpose: Exits and the time out of the guest by VM, vCPU and reason.
-- requires: latency_buckets
-- param run_id VARCHAR: Run to report on.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column reason VARCHAR: Exit reason.
-- column idle BOOLEAN: The exits are idle.
-- column n HUGEINT: Exits.
-- column out_of_guest_ns HUGEINT: Time out of the guest, without suspect exits; null: none has a latency.
SELECT
    vm_id,
    vcpu,
    reason,
    idle,
    sum(n) AS n,
    sum(CASE WHEN NOT suspect THEN sum_ns END) AS out_of_guest_ns
FROM latency_buckets
WHERE run_id = $run_id
GROUP BY vm_id, vcpu, reason, idle
ORDER BY vm_id ASC NULLS LAST, vcpu ASC NULLS LAST, idle ASC, reason ASC NULLS LAST
