-- purpose: Writes of each MSR, and what the exits that they happened in cost.
-- requires: kvm_msr
-- field kvm_msr.write UBIGINT: Not 0: a write.
-- field kvm_msr.rw UBIGINT: The same, as Linux 2.6.32 calls it.
-- field kvm_msr.ecx UBIGINT: MSR.
-- field kvm_msr.exception UBIGINT: Not 0: the access raised #GP.
-- param run_id VARCHAR: Run to report on.
-- column msr UBIGINT: MSR.
-- column msr_hex VARCHAR: The same in hexadecimal.
-- column msr_name VARCHAR: Its name, where an exit gave it.
-- column writes BIGINT: Writes.
-- column rate_per_s DOUBLE: Writes per second of the recording.
-- column failed BIGINT: Writes that raised #GP; null: not recorded.
-- column exits_avg_ns DOUBLE: Mean latency of the exits that the writes happened in, without suspect ones.
-- column exits_max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Writes that these latency figures are of.
WITH
writes AS (
    SELECT
        m.ecx AS msr,
        m.exception,
        CASE WHEN e.detail_kind = 'msr' AND e.detail = m.ecx THEN e.detail_name END AS msr_name,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_msr AS m
    LEFT JOIN exits AS e ON m.run_id = e.run_id AND m.exit_id = e.exit_id
    WHERE m.run_id = $run_id AND coalesce(m.write, m.rw) <> 0
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    w.msr,
    format('0x{:x}', w.msr) AS msr_hex,
    max(w.msr_name) AS msr_name,
    count(*) AS writes,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    CASE WHEN count(w.exception) > 0 THEN count(*) FILTER (WHERE w.exception <> 0) END AS failed,
    round(avg(w.timed_ns), 1) AS exits_avg_ns,
    max(w.timed_ns) AS exits_max_ns,
    count(w.timed_ns) AS timed
FROM writes AS w
CROSS JOIN span AS s
GROUP BY w.msr
ORDER BY writes DESC, w.msr ASC
