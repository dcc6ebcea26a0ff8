-- purpose: Time in the guest by the reason of the exit that ended it: what perf kvm stat shows on arm64 and riscv.
-- requires: exits
-- param run_id VARCHAR: Run to report on.
-- column reason VARCHAR: Exit reason.
-- column exits BIGINT: Exits.
-- column timed BIGINT: Exits whose entry before is known, and nothing lost since; the figures are of these.
-- column guest_ns BIGINT: Time in the guest: from the entry before to the exit.
-- column guest_share DOUBLE: Part of that time of all exits, 0 to 1.
-- column avg_ns DOUBLE: Mean time in the guest.
-- column stderr_ns DOUBLE: Standard error of that mean; null: of one exit.
-- column min_ns BIGINT: Shortest.
-- column p50_ns BIGINT: The one of rank ceil(0.5 timed).
-- column p99_ns BIGINT: The one of rank ceil(0.99 timed).
-- column max_ns BIGINT: Longest.
WITH
grouped AS (
    SELECT
        reason,
        count(*) AS exits,
        count(guest_ns) AS timed,
        try_cast(sum(guest_ns) AS BIGINT) AS guest_ns,
        round(avg(guest_ns), 1) AS avg_ns,
        round(stddev_samp(guest_ns) / sqrt(count(guest_ns)), 1) AS stderr_ns,
        min(guest_ns) AS min_ns,
        quantile_disc(guest_ns, 0.5) AS p50_ns,
        quantile_disc(guest_ns, 0.99) AS p99_ns,
        max(guest_ns) AS max_ns
    FROM exits
    WHERE run_id = $run_id
    GROUP BY reason
),

figures AS (
    SELECT
        *,
        round(guest_ns / sum(guest_ns) OVER (), 6) AS guest_share
    FROM grouped
)

SELECT
    reason,
    exits,
    timed,
    guest_ns,
    guest_share,
    avg_ns,
    stderr_ns,
    min_ns,
    p50_ns,
    p99_ns,
    max_ns
FROM figures
ORDER BY guest_ns DESC NULLS LAST, exits DESC, reason ASC NULLS LAST
