-- purpose: Exits and the time out of the guest by what they were about: MSR, port, address, hypercall, …
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- param reason VARCHAR = NULL: Only this exit reason.
-- param top BIGINT = 50: At most so many rows; NULL: all of them.
-- column reason VARCHAR: Exit reason.
-- column idle BOOLEAN: The guest waited: not cost.
-- column detail_kind VARCHAR: What the detail is; null: not recorded.
-- column detail UBIGINT: The MSR, port, address, …
-- column detail_hex VARCHAR: The same in hexadecimal.
-- column detail_name VARCHAR: Its name, where it has one.
-- column exits BIGINT: Exits.
-- column rate_per_s DOUBLE: Exits per second of the recording.
-- column out_of_guest_ns BIGINT: Time out of the guest, of the timed exits.
-- column avg_ns DOUBLE: Mean latency (exit to next entry).
-- column max_ns BIGINT: Longest latency.
-- column timed BIGINT: Exits that the latency figures are of.
-- column suspect BIGINT: Exits that a loss or a hole lies inside; outside the latency figures.
WITH
chosen AS (
    SELECT
        reason,
        idle,
        detail_kind,
        detail,
        detail_name,
        suspect,
        CASE WHEN NOT suspect THEN latency_ns END AS timed_ns
    FROM exits
    WHERE run_id = $run_id AND ($reason IS NULL OR reason = $reason)
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
),

grouped AS (
    SELECT
        reason,
        idle,
        detail_kind,
        detail,
        detail_name,
        count(*) AS exits,
        try_cast(sum(timed_ns) AS BIGINT) AS out_of_guest_ns,
        round(avg(timed_ns), 1) AS avg_ns,
        max(timed_ns) AS max_ns,
        count(timed_ns) AS timed,
        count(*) FILTER (WHERE suspect) AS suspect
    FROM chosen
    GROUP BY reason, idle, detail_kind, detail, detail_name
),

figures AS (
    SELECT
        g.*,
        format('0x{:x}', g.detail) AS detail_hex,
        round(g.exits / s.recorded_s, 3) AS rate_per_s
    FROM grouped AS g
    CROSS JOIN span AS s
)

SELECT
    reason,
    idle,
    detail_kind,
    detail,
    detail_hex,
    detail_name,
    exits,
    rate_per_s,
    out_of_guest_ns,
    avg_ns,
    max_ns,
    timed,
    suspect
FROM figures
ORDER BY
    idle ASC,
    out_of_guest_ns DESC NULLS LAST,
    exits DESC,
    reason ASC NULLS LAST,
    detail_kind ASC NULLS LAST,
    detail ASC NULLS LAST,
    detail_name ASC NULLS LAST
LIMIT $top
