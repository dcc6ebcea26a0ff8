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
-- column block BIGINT[]: 0: one for each row below.
-- column low_ns BIGINT[]: Shortest latency; null: no latency, or suspect.
-- column high_ns BIGINT[]: Longest latency.
-- column n BIGINT[]: Exits.
-- column sum_ns DOUBLE[]: Sum of the latencies, of exits that have one and are not suspect.
-- column guest_ns DOUBLE[]: Null: the buckets do not tell the time in the guest.
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
        min(CASE WHEN NOT suspect THEN min_ns END) AS low_ns,
        max(CASE WHEN NOT suspect THEN max_ns END) AS high_ns,
        sum(n)::BIGINT AS n,
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
    list(0::BIGINT ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS block,
    list(low_ns ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS low_ns,
    list(high_ns ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS high_ns,
    list(n ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS n,
    list(sum_ns ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS sum_ns,
    list(NULL::DOUBLE ORDER BY low_ns ASC NULLS LAST, high_ns ASC) AS guest_ns
FROM counted
GROUP BY run_id, idle, reason, detail_kind, detail, detail_name, detail_capped, vm_id, vcpu, cpu
ORDER BY ALL
