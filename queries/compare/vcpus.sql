-- purpose: How many vCPUs exited.
-- requires: latency_buckets
-- param run_id VARCHAR: Run.
-- column vcpus BIGINT: vCPUs, each VM's apart; null: none is told.
WITH
each_vcpu AS (
    SELECT DISTINCT
        vm_id,
        vcpu
    FROM latency_buckets
    WHERE run_id = $run_id AND vcpu IS NOT NULL
)

SELECT nullif(count(*), 0) AS vcpus
FROM each_vcpu
ORDER BY vcpus
