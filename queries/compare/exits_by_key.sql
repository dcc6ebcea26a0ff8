-- purpose: Exits of a run by key, each key's figures by latency, without blocks of time: from the buckets alone.
-- requires: latency_buckets
-- param run_id VARCHAR: Run.
-- param by_detail BOOLEAN: Keep details (MSR, port, address, …) apart.
-- param by_vm BOOLEAN: Keep VMs apart.
-- param by_vcpu BOOLEAN: Keep vCPU numbers apart.
-- param by_cpu BOOLEAN: Keep CPUs apart.
-- param by_latency BOOLEAN: Keep latencies apart that differ by more than 1/64.
-- column run_id VARCHAR: Run.
-- column idle BOOLEAN: The exits are idle.
-- column reason VARCHAR: Exit reason.
-- column detail_kind VARCHAR: What the detail is.
-- column detail UBIGINT: The MSR, port, address, … of the exits.
-- column detail_name VARCHAR: Name of the detail.
-- column detail_capped BOOLEAN: Details that were too many to keep apart, together.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column cpu INTEGER: CPU of the exit.
-- column timed BOOLEAN: The exits have a latency and are not suspect; others are not in sum_ns.
-- column n BIGINT: Exits, of one bucket of latency where these are kept apart.
-- column userspace BIGINT: Those that went to the VMM; null: not recorded.
-- column sum_ns DOUBLE: Sum of the latencies.
WITH
counted AS (
    SELECT
        run_id,
        idle,
        reason,
        CASE WHEN $by_detail THEN detail_kind END AS detail_kind,
        CASE WHEN $by_detail THEN detail END AS detail,
        CASE WHEN $by_detail THEN detail_name END AS detail_name,
        $by_detail AND detail_capped AS detail_capped,
        CASE WHEN $by_vm THEN vm_id END AS vm_id,
        CASE WHEN $by_vcpu THEN vcpu END AS vcpu,
        CASE WHEN $by_cpu THEN cpu END AS cpu,
        CASE WHEN $by_latency AND NOT suspect THEN bucket_low_ns END AS bucket,
        NOT suspect AND bucket_low_ns IS NOT NULL AS timed,
        sum(n)::BIGINT AS n,
        sum(CASE WHEN userspace THEN n WHEN NOT userspace AND NOT suspect THEN 0 END)::BIGINT AS userspace,
        sum(CASE WHEN NOT suspect THEN sum_ns END)::DOUBLE AS sum_ns
    FROM latency_buckets
    WHERE run_id = $run_id
    GROUP BY ALL
)

SELECT
    run_id,
    idle,
    reason,
    detail_kind,
    detail,
    detail_name,
    detail_capped,
    vm_id,
    vcpu,
    cpu,
    timed,
    n,
    userspace,
    sum_ns
FROM counted
ORDER BY
    idle ASC,
    reason ASC NULLS LAST,
    detail_kind ASC NULLS LAST,
    detail ASC NULLS LAST,
    detail_name ASC NULLS LAST,
    detail_capped ASC,
    vm_id ASC NULLS LAST,
    vcpu ASC NULLS LAST,
    cpu ASC NULLS LAST,
    timed ASC,
    bucket ASC NULLS LAST
