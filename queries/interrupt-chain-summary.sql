-- purpose: Interrupts by vector and source: how many were accepted, what became of them, and how long each step took.
-- uses: interrupt-chain
-- param run_id VARCHAR: Run to report on.
-- param by_vcpu BOOLEAN = false: Keep vCPUs apart.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU that the interrupts are for; null: not kept apart, or none accepted them.
-- column vec BIGINT: Vector.
-- column vec_hex VARCHAR: The same in hexadecimal.
-- column delivery VARCHAR: Delivery mode, as the kernel calls it; null: injected, and not accepted in the recording.
-- column source_kind VARCHAR: msi, line, ipi, or self: the vCPU's own thread, for its timer mostly; null: not known.
-- column accepts BIGINT: kvm_apic_accept_irq events: the sum of the next seven.
-- column injected BIGINT: Of these: injected; null: not recorded.
-- column coalesced BIGINT: Of these: one was pending already; null: not recorded.
-- column posted BIGINT: Of these: left to APICv or AVIC; null: not recorded.
-- column not_injected BIGINT: Of these: not injected, though their vCPU entered the guest again; null: not recorded.
-- column pending BIGINT: Of these: their vCPU did not enter the guest again until the end; null: not recorded.
-- column no_vector BIGINT: Of these: not injected by vector (NMI, INIT, …).
-- column unattributed BIGINT: Of these: it is not known which of the VMs they are for.
-- column no_accept BIGINT: Injected without an accept in the recording; null: not recorded.
-- column coalesced_at_pin BIGINT: Not sent by the I/O APIC, whose pin was up already; null: not recorded.
-- column not_accepted BIGINT: MSIs and IPIs that no event says to be accepted; null: neither was recorded.
-- column rate_per_s DOUBLE: Accepts per second of the recording.
-- column source_to_accept_p50_ns BIGINT: Time from the source to the accept: that of rank ceil(0.5 n).
-- column source_to_accept_max_ns BIGINT: The longest.
-- column accept_to_inject_p50_ns BIGINT: Time from the accept to the injection: that of rank ceil(0.5 n).
-- column accept_to_inject_p99_ns BIGINT: That of rank ceil(0.99 n).
-- column accept_to_inject_max_ns BIGINT: The longest.
-- column eois BIGINT: Injected, and their EOI came; null: not recorded.
-- column pv_eois BIGINT: Of these: EOIs without an exit; null: not recorded.
-- column inject_to_eoi_p50_ns BIGINT: Time from the injection to the EOI: that of rank ceil(0.5 n).
-- column inject_to_eoi_max_ns BIGINT: The longest.
WITH
span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
),

-- An event that was enabled and never fired counts 0; one that was not recorded counts nothing.
recorded AS (
    SELECT
        bool_or(event = 'kvm_apicv_accept_irq') AS posts,
        bool_or(event = 'kvm_ioapic_set_irq') AS pins,
        bool_or(event IN ('kvm_msi_set_irq', 'kvm_apic_ipi', 'kvm_hypercall', 'kvm_hv_send_ipi', 'kvm_hv_send_ipi_ex'))
            AS senders,
        bool_or(event = 'kvm_eoi') AS eois,
        bool_or(event = 'kvm_pv_eoi' AND period = 1) AS pv_eois
    FROM tracepoints
    WHERE run_id = $run_id AND system = 'kvm'
),

chosen AS (
    SELECT
        * EXCLUDE (vcpu),
        CASE WHEN $by_vcpu THEN vcpu END AS vcpu,
        accept_ts_ns IS NULL AS at_pin
    FROM interrupt_chain
),

counted AS (
    SELECT
        vm_id,
        vcpu,
        vec,
        delivery,
        source_kind,
        format('0x{:x}', vec) AS vec_hex,
        bool_and(status IS NOT NULL) AS told,
        count(accept_ts_ns) AS accepts,
        count(*) FILTER (WHERE status = 'injected') AS injected,
        count(*) FILTER (WHERE status = 'coalesced' AND NOT at_pin) AS coalesced,
        count(*) FILTER (WHERE status = 'posted') AS posted,
        count(*) FILTER (WHERE status = 'not injected') AS not_injected,
        count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'no vector') AS no_vector,
        count(*) FILTER (WHERE status = 'unattributed') AS unattributed,
        count(*) FILTER (WHERE status = 'no accept') AS no_accept,
        count(*) FILTER (WHERE status = 'coalesced' AND at_pin) AS coalesced_at_pin,
        count(*) FILTER (WHERE status = 'not accepted') AS not_accepted,
        quantile_disc(source_to_accept_ns, 0.5) AS source_to_accept_p50_ns,
        max(source_to_accept_ns) AS source_to_accept_max_ns,
        quantile_disc(accept_to_inject_ns, 0.5) AS accept_to_inject_p50_ns,
        quantile_disc(accept_to_inject_ns, 0.99) AS accept_to_inject_p99_ns,
        max(accept_to_inject_ns) AS accept_to_inject_max_ns,
        count(eoi_ts_ns) AS eois,
        count(*) FILTER (WHERE pv_eoi) AS pv_eois,
        quantile_disc(inject_to_eoi_ns, 0.5) AS inject_to_eoi_p50_ns,
        max(inject_to_eoi_ns) AS inject_to_eoi_max_ns
    FROM chosen
    GROUP BY vm_id, vcpu, vec, delivery, source_kind
),

figures AS (
    SELECT
        c.* REPLACE (
            CASE WHEN c.told THEN c.injected END AS injected,
            CASE WHEN c.told THEN c.coalesced END AS coalesced,
            CASE WHEN c.told THEN c.not_injected END AS not_injected,
            CASE WHEN c.told THEN c.pending END AS pending,
            CASE WHEN c.told THEN c.no_accept END AS no_accept,
            CASE WHEN r.posts THEN c.posted END AS posted,
            CASE WHEN r.pins THEN c.coalesced_at_pin END AS coalesced_at_pin,
            CASE WHEN r.senders THEN c.not_accepted END AS not_accepted,
            CASE WHEN r.eois THEN c.eois END AS eois,
            CASE WHEN r.eois AND r.pv_eois THEN c.pv_eois END AS pv_eois
        ),
        round(c.accepts / s.recorded_s, 3) AS rate_per_s
    FROM counted AS c
    CROSS JOIN span AS s
    CROSS JOIN recorded AS r
)

SELECT
    vm_id,
    vcpu,
    vec,
    vec_hex,
    delivery,
    source_kind,
    accepts,
    injected,
    coalesced,
    posted,
    not_injected,
    pending,
    no_vector,
    unattributed,
    no_accept,
    coalesced_at_pin,
    not_accepted,
    rate_per_s,
    source_to_accept_p50_ns,
    source_to_accept_max_ns,
    accept_to_inject_p50_ns,
    accept_to_inject_p99_ns,
    accept_to_inject_max_ns,
    eois,
    pv_eois,
    inject_to_eoi_p50_ns,
    inject_to_eoi_max_ns
FROM figures
ORDER BY
    vm_id ASC NULLS LAST,
    accepts DESC,
    vec ASC,
    vcpu ASC NULLS LAST,
    source_kind ASC NULLS LAST,
    delivery ASC NULLS LAST
