-- purpose: Injected interrupts by block of a run's time.
-- requires: kvm_inj_virq
-- param run_id VARCHAR: Run to report on.
-- param blocks BIGINT: Blocks of equal length that the run is cut into.
-- column block BIGINT: Number of the block, from 0.
-- column injections BIGINT: Interrupts that were injected, again or for the first time.
WITH
span AS (
    SELECT
        first_ts_ns,
        greatest(last_ts_ns - first_ts_ns, 1) AS length_ns
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    least(floor(($blocks * (i.ts_ns - s.first_ts_ns))::DOUBLE / s.length_ns), $blocks - 1)::BIGINT AS block,
    count(*) AS injections
FROM kvm_inj_virq AS i
CROSS JOIN span AS s
WHERE i.run_id = $run_id
GROUP BY block
ORDER BY block
