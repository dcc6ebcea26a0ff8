-- purpose: Exits of two runs by key, each key's figures by block of time and latency: what a comparison is made of.
-- requires: exits
-- param base_run_id VARCHAR: Run before.
-- param new_run_id VARCHAR: Run after.
-- param blocks BIGINT: Blocks of equal length that each run is cut into.
-- param top BIGINT: Details that are kept apart, those of most exits.
-- param by_detail BOOLEAN: Keep details (MSR, port, address, …) apart.
-- param by_vm BOOLEAN: Keep VMs apart.
-- param by_vcpu BOOLEAN: Keep vCPU numbers apart.
-- param by_cpu BOOLEAN: Keep CPUs apart.
-- param by_latency BOOLEAN: Keep latencies apart that differ by more than 1.1%.
-- column run_id VARCHAR: Run.
-- column idle BOOLEAN: The exits are idle.
-- column reason VARCHAR: Exit reason.
-- column detail_kind VARCHAR: What the detail is.
-- column detail UBIGINT: The MSR, port, address, … of the exits.
-- column detail_name VARCHAR: Name of the detail.
-- column detail_capped BOOLEAN: Details that are not kept apart, together.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU number within its VM.
-- column cpu INTEGER: CPU of the exit.
-- column block BIGINT: Number of the block, from 0.
-- column timed BOOLEAN: The exits have a latency and are not suspect; others are not in sum_ns.
-- column n BIGINT: Exits, of one bucket of latency where these are kept apart.
-- column userspace BIGINT: Those that went to the VMM; null: not recorded.
-- column sum_ns DOUBLE: Sum of the latencies.
-- column guest_ns DOUBLE: Sum of the time in the guest before these exits; null: not recorded.
WITH
spans AS (
    SELECT
        run_id,
        first_ts_ns,
        greatest(last_ts_ns::DOUBLE - first_ts_ns, 1) AS length_ns
    FROM runs
    WHERE run_id IN ($base_run_id, $new_run_id)
),

details AS (
    SELECT
        reason,
        detail_kind,
        detail,
        any_value(detail_name) AS detail_name
    FROM latency_buckets
    WHERE run_id IN ($base_run_id, $new_run_id) AND $by_detail AND NOT detail_capped
    GROUP BY reason, detail_kind, detail
    ORDER BY sum(n) DESC, reason ASC, detail_kind ASC, detail ASC
    LIMIT $top
),

cut AS (
    SELECT
        e.run_id,
        e.idle,
        e.reason,
        e.guest_ns,
        e.userspace,
        CASE WHEN $by_detail THEN e.detail_kind END AS detail_kind,
        CASE WHEN $by_detail THEN e.detail END AS detail,
        CASE WHEN $by_vm THEN e.vm_id END AS vm_id,
        CASE WHEN $by_vcpu THEN e.vcpu END AS vcpu,
        CASE WHEN $by_cpu THEN e.cpu END AS cpu,
        (e.exit_ts_ns::DOUBLE - s.first_ts_ns) / s.length_ns AS place,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS latency_ns,
        CASE WHEN e.userspace THEN 1 WHEN NOT e.userspace AND NOT e.suspect THEN 0 END AS to_userspace
    FROM exits AS e
    INNER JOIN spans AS s ON e.run_id = s.run_id
    WHERE e.run_id IN ($base_run_id, $new_run_id)
),

-- 64 buckets of latency for each power of two, each 1.1% wide.
placed AS (
    SELECT
        * EXCLUDE (place),
        least(floor(least(greatest(place, 0), 1) * $blocks)::BIGINT, $blocks - 1) AS block,
        latency_ns IS NOT NULL AS timed,
        CASE WHEN $by_latency THEN floor(64 * log2(greatest(latency_ns, 1)))::INTEGER END AS bucket
    FROM cut
),

counted AS (
    SELECT
        run_id,
        idle,
        reason,
        detail_kind,
        detail,
        vm_id,
        vcpu,
        cpu,
        block,
        timed,
        bucket,
        count(*) AS n,
        sum(to_userspace) AS userspace,
        sum(latency_ns::DOUBLE) AS sum_ns,
        sum(guest_ns::DOUBLE) AS guest_ns
    FROM placed
    GROUP BY ALL
),

named AS (
    SELECT
        c.run_id,
        c.idle,
        c.reason,
        d.detail_kind,
        d.detail,
        d.detail_name,
        c.vm_id,
        c.vcpu,
        c.cpu,
        c.block,
        c.timed,
        c.bucket,
        c.n,
        c.userspace,
        c.sum_ns,
        c.guest_ns,
        c.detail IS NOT NULL AND d.detail IS NULL AS detail_capped
    FROM counted AS c
    LEFT JOIN details AS d
        ON c.reason IS NOT DISTINCT FROM d.reason AND c.detail_kind = d.detail_kind AND c.detail = d.detail
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
    block,
    timed,
    n,
    userspace::BIGINT AS userspace,
    sum_ns,
    guest_ns
FROM named
ORDER BY
    run_id ASC,
    idle ASC,
    reason ASC NULLS LAST,
    detail_kind ASC NULLS LAST,
    detail ASC NULLS LAST,
    detail_capped ASC,
    vm_id ASC NULLS LAST,
    vcpu ASC NULLS LAST,
    cpu ASC NULLS LAST,
    block ASC,
    timed ASC,
    bucket ASC NULLS LAST,
    n ASC,
    sum_ns ASC NULLS LAST,
    guest_ns ASC NULLS LAST,
    userspace ASC NULLS LAST
