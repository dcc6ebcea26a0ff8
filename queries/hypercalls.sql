-- purpose: Hypercalls by number, and what the exits that they happened in cost.
-- requires: kvm_hypercall
-- field kvm_hypercall.nr UBIGINT: Number of the hypercall.
-- param run_id VARCHAR: Run to report on.
-- column nr UBIGINT: Number of the hypercall.
-- column nr_name VARCHAR: Its name, where an exit gave it.
-- column calls BIGINT: Hypercalls.
-- column rate_per_s DOUBLE: Hypercalls per second of the recording.
-- column exits_avg_ns DOUBLE: Mean latency of the exits that they happened in, without suspect ones.
-- column exits_max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Hypercalls that these latency figures are of.
WITH
calls AS (
    SELECT
        h.nr,
        CASE WHEN e.detail_kind = 'hypercall' AND e.detail = h.nr THEN e.detail_name END AS nr_name,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_hypercall AS h
    LEFT JOIN exits AS e ON h.run_id = e.run_id AND h.exit_id = e.exit_id
    WHERE h.run_id = $run_id
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    c.nr,
    max(c.nr_name) AS nr_name,
    count(*) AS calls,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    round(avg(c.timed_ns), 1) AS exits_avg_ns,
    max(c.timed_ns) AS exits_max_ns,
    count(c.timed_ns) AS timed
FROM calls AS c
CROSS JOIN span AS s
GROUP BY c.nr
ORDER BY calls DESC, c.nr ASC
