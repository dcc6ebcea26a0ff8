-- purpose: Page faults that KVM handled, by page, and what the exits that they happened in cost.
-- requires: kvm_page_fault
-- field kvm_page_fault.fault_address UBIGINT: Guest address.
-- field kvm_page_fault.error_code UBIGINT: Error code; bit 1: a write.
-- param run_id VARCHAR: Run to report on.
-- param page_bytes UBIGINT = 4096: Size of a page; 1: by address.
-- param top BIGINT = 50: At most so many rows; NULL: all of them.
-- column page UBIGINT: Lowest address of the page.
-- column page_hex VARCHAR: The same in hexadecimal.
-- column faults BIGINT: Page faults.
-- column writes BIGINT: Page faults of a write; null: not recorded.
-- column rate_per_s DOUBLE: Page faults per second of the recording.
-- column exits_avg_ns DOUBLE: Mean latency of the exits that they happened in, without suspect ones.
-- column exits_max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Page faults that these latency figures are of.
WITH
faults AS (
    SELECT
        f.fault_address // nullif($page_bytes, 0)::UBIGINT * $page_bytes::UBIGINT AS page,
        f.error_code & 2 AS is_write,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_page_fault AS f
    LEFT JOIN exits AS e ON f.run_id = e.run_id AND f.exit_id = e.exit_id
    WHERE f.run_id = $run_id
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
)

SELECT
    f.page,
    format('0x{:x}', f.page) AS page_hex,
    count(*) AS faults,
    CASE WHEN count(f.is_write) > 0 THEN count(*) FILTER (WHERE f.is_write <> 0) END AS writes,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    round(avg(f.timed_ns), 1) AS exits_avg_ns,
    max(f.timed_ns) AS exits_max_ns,
    count(f.timed_ns) AS timed
FROM faults AS f
CROSS JOIN span AS s
GROUP BY f.page
ORDER BY faults DESC, f.page ASC
LIMIT $top
