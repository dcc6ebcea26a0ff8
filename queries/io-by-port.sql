-- purpose: Port I/O by port, direction and size, and what the exits that it happened in cost.
-- requires: kvm_pio
-- field kvm_pio.rw UBIGINT: Not 0: a write.
-- field kvm_pio.port UBIGINT: Port.
-- field kvm_pio.size UBIGINT: Bytes of one access.
-- field kvm_pio.count UBIGINT: Accesses of one event (INS, OUTS).
-- param run_id VARCHAR: Run to report on.
-- column port UBIGINT: Port.
-- column port_hex VARCHAR: The same in hexadecimal.
-- column direction VARCHAR: read or write.
-- column size_bytes UBIGINT: Bytes of one access.
-- column events BIGINT: kvm_pio events.
-- column accesses BIGINT: Accesses, those of one INS or OUTS counted apart.
-- column rate_per_s DOUBLE: Events per second of the recording.
-- column to_userspace BIGINT: Events whose exit went to the VMM; null: not recorded.
-- column exits_avg_ns DOUBLE: Mean latency of the exits that the events happened in, without suspect ones.
-- column exits_max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Events that these latency figures are of.
WITH
accesses AS (
    SELECT
        p.port,
        p.size AS size_bytes,
        p.count AS times,
        e.userspace,
        CASE WHEN p.rw <> 0 THEN 'write' ELSE 'read' END AS direction,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_pio AS p
    LEFT JOIN exits AS e ON p.run_id = e.run_id AND p.exit_id = e.exit_id
    WHERE p.run_id = $run_id
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
),

grouped AS (
    SELECT
        a.port,
        a.direction,
        a.size_bytes,
        format('0x{:x}', a.port) AS port_hex,
        count(*) AS events,
        try_cast(sum(a.times) AS BIGINT) AS accesses,
        round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
        CASE WHEN count(a.userspace) > 0 THEN count(*) FILTER (WHERE a.userspace) END AS to_userspace,
        round(avg(a.timed_ns), 1) AS exits_avg_ns,
        max(a.timed_ns) AS exits_max_ns,
        count(a.timed_ns) AS timed
    FROM accesses AS a
    CROSS JOIN span AS s
    GROUP BY a.port, a.direction, a.size_bytes
)

SELECT
    port,
    port_hex,
    direction,
    size_bytes,
    events,
    accesses,
    rate_per_s,
    to_userspace,
    exits_avg_ns,
    exits_max_ns,
    timed
FROM grouped
ORDER BY events DESC, port ASC, direction ASC, size_bytes ASC
