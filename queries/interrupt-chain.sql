-- purpose: Each interrupt from its source over the accept by the local APIC and the injection to its EOI,
-- purpose: and what became of those that were not injected.
-- requires: exits, kvm_apic_accept_irq
-- field kvm_apic_accept_irq.apicid UBIGINT: Number of the vCPU that accepts: the kernel records its vcpu_id here.
-- field kvm_apic_accept_irq.dm UBIGINT: Delivery mode << 8.
-- field kvm_apic_accept_irq.vec UBIGINT: Vector.
-- field kvm_apic_accept_irq.coalesced BOOLEAN: The vector was pending already; up to Linux 3.14.
-- field kvm_apic_accept_irq.common_flags UBIGINT: Bits 3 and 4: the thread was interrupted.
-- field kvm_apicv_accept_irq.apicid UBIGINT: Number of the vCPU; fires right after the accept of what APICv takes over.
-- field kvm_apicv_accept_irq.vec UBIGINT: Vector.
-- field kvm_inj_virq.vector UBIGINT: Vector.
-- field kvm_inj_virq.irq UBIGINT: The same, as Linux 5.10 and older call it.
-- field kvm_inj_virq.soft BOOLEAN: INT n of the guest: no interrupt.
-- field kvm_inj_virq.reinjected BOOLEAN: The same interrupt again, as it did not get through; not in Linux 5.10.
-- field kvm_eoi.apicid UBIGINT: Number of the vCPU.
-- field kvm_eoi.vector BIGINT: Vector.
-- field kvm_pv_eoi.apicid UBIGINT: Number of the vCPU; fires right after the kvm_eoi of the same EOI.
-- field kvm_pv_eoi.vector BIGINT: Vector.
-- field kvm_set_irq.gsi UBIGINT: Interrupt line.
-- field kvm_set_irq.level BIGINT: Not 0: the line is raised.
-- field kvm_ioapic_set_irq.e UBIGINT: Redirection entry; the event ends what kvm_set_irq began.
-- field kvm_ioapic_set_irq.coalesced BOOLEAN: The line was raised already, so nothing was sent.
-- field kvm_ioapic_set_irq.common_flags UBIGINT: As above.
-- field kvm_msi_set_irq.data UBIGINT: Delivery mode << 8 and vector.
-- field kvm_msi_set_irq.common_flags UBIGINT: As above.
-- field kvm_apic_ipi.icr_low UBIGINT: Delivery mode << 8 and vector.
-- field kvm_hypercall.nr UBIGINT: 10: KVM_HC_SEND_IPI.
-- field kvm_hypercall.a3 UBIGINT: Its delivery mode << 8 and vector.
-- field kvm_hv_send_ipi.vector UBIGINT: Vector.
-- field kvm_hv_send_ipi_ex.vector UBIGINT: Vector.
-- param run_id VARCHAR: Run to report on.
-- column vm_id VARCHAR: VM.
-- column vcpu INTEGER: vCPU that the interrupt is for; null: none accepted it.
-- column vec BIGINT: Vector.
-- column delivery VARCHAR: Delivery mode, as the kernel calls it (Fixed, NMI, …); null: no accept.
-- column status VARCHAR: What became of it, see below; null: injections were not recorded.
-- column source_kind VARCHAR: msi, line, ipi, or self: the vCPU's own thread, for its timer mostly; null: not known.
-- column source_event VARCHAR: Tracepoint that tells the source.
-- column gsi BIGINT: Interrupt line, where the source is one.
-- column source_tid INTEGER: Thread that fired the source's event and the accept.
-- column source_vcpu INTEGER: vCPU that this thread runs.
-- column source_exit_id BIGINT: Exit in which it did; of an IPI sent right before its exit was recorded, that one.
-- column source_ts_ns BIGINT: Time of the source's event; that of an IPI may come after its accept.
-- column accept_ts_ns BIGINT: Time of kvm_apic_accept_irq.
-- column inject_ts_ns BIGINT: Time of kvm_inj_virq.
-- column eoi_ts_ns BIGINT: Time of kvm_eoi.
-- column pv_eoi BOOLEAN: The EOI made no exit: KVM saw it later than the guest wrote it; null: not recorded.
-- column source_to_accept_ns BIGINT: Time from the source to the accept.
-- column accept_to_inject_ns BIGINT: Time from the accept to the injection.
-- column inject_to_eoi_ns BIGINT: Time from the injection to the EOI.

-- status:
--   injected       by kvm_inj_virq
--   coalesced      the vector was pending already, in the local APIC or (no accept then) at its pin of the I/O APIC
--   posted         accepted, and left to APICv or AVIC, which injects without an event
--   no vector      an NMI, INIT, …, accepted: such are not injected by vector
--   not injected   accepted, and not injected until the end, though its vCPU entered the guest again
--   pending        accepted, and its vCPU did not enter the guest again until the end
--   unattributed   accepted: which of the VMs it is for is not known
--   no accept      injected: the recording has no accept for it (before its start, lost, unattributed, of the 8259)
--   not accepted   asked for by MSI or IPI: no local APIC accepted it in an event
-- Where events were lost (the table `lost`), a chain may hold together what does not belong together.
WITH
recorded AS (
    SELECT
        count(*) FILTER (WHERE event = 'kvm_inj_virq') > 0 AS injections,
        count(*) FILTER (WHERE event = 'kvm_pv_eoi') > 0 AS pv_eois,
        count(*) FILTER (WHERE event IN ('kvm_set_irq', 'kvm_ioapic_set_irq')) = 2 AS pins,
        pins AND count(*) FILTER (WHERE event IN ('kvm_msi_set_irq', 'kvm_apic_ipi')) = 2 AS sources
    FROM tracepoints
    WHERE run_id = $run_id AND system = 'kvm' AND period = 1
),

vcpu_threads AS (
    SELECT
        tid,
        vm_id,
        vcpu,
        max(entry_ts_ns) AS last_entry_ns
    FROM exits
    WHERE run_id = $run_id
    GROUP BY tid, vm_id, vcpu
),

vms AS (
    SELECT
        any_value(vm_id) AS vm_id,
        count(DISTINCT coalesce(vm_id, '')) = 1 AS alone
    FROM vcpu_threads
),

-- Before Linux 6.4 a vhost worker is a thread of the kernel, named after a thread of the VMM.
processes AS (
    SELECT
        t.tid,
        coalesce(o.pid, t.pid) AS pid
    FROM threads AS t
    LEFT JOIN threads AS o
        ON t.run_id = o.run_id AND o.tid = try_cast(regexp_extract(t.name, '^vhost-(\d+)$', 1) AS INTEGER)
    WHERE t.run_id = $run_id
),

process_vms AS (
    SELECT
        p.pid,
        any_value(v.vm_id) AS vm_id
    FROM processes AS p
    INNER JOIN vcpu_threads AS v ON p.tid = v.tid
    GROUP BY p.pid
    HAVING count(DISTINCT v.vm_id) = 1
),

-- A process of several VMs, or an id that threads of several had, tells none. The vCPU is for events that fired before
-- the first exit and entry of their thread told it.
thread_vms AS (
    SELECT
        t.tid,
        any_value(t.vm_id) AS vm_id,
        CASE WHEN count(DISTINCT t.vcpu) = 1 THEN any_value(t.vcpu) END AS vcpu
    FROM (
        SELECT
            tid,
            vm_id,
            vcpu
        FROM vcpu_threads
        UNION ALL BY NAME
        SELECT
            p.tid,
            v.vm_id
        FROM processes AS p
        INNER JOIN process_vms AS v ON p.pid = v.pid
    ) AS t
    GROUP BY t.tid
    HAVING count(DISTINCT t.vm_id) = 1
),

-- What threads do for interrupts. step: the order of what a coarse clock puts at one time. message: bits 0 to 10 of an
-- MSI's data, delivery mode << 8 and vector.
thread_events AS (
    SELECT
        'exit' AS kind,
        0 AS step,
        exit_ts_ns AS ts_ns,
        tid,
        exit_id
    FROM exits
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'line' AS kind,
        1 AS step,
        'kvm_set_irq' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        gsi::BIGINT AS gsi
    FROM kvm_set_irq
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'msi' AS kind,
        2 AS step,
        'kvm_msi_set_irq' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        common_flags AS flags,
        data & 2047 AS message
    FROM kvm_msi_set_irq
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'ipi' AS kind,
        2 AS step,
        'kvm_apic_ipi' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        icr_low & 2047 AS message
    FROM kvm_apic_ipi
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'ipi' AS kind,
        2 AS step,
        'kvm_hypercall' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        a3 & 2047 AS message
    FROM kvm_hypercall
    WHERE run_id = $run_id AND nr = 10
    UNION ALL BY NAME
    SELECT
        'ipi' AS kind,
        2 AS step,
        'kvm_hv_send_ipi' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        vector AS message
    FROM kvm_hv_send_ipi
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'ipi' AS kind,
        2 AS step,
        'kvm_hv_send_ipi_ex' AS tracepoint,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        vector AS message
    FROM kvm_hv_send_ipi_ex
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'accept' AS kind,
        3 AS step,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        common_flags AS flags,
        apicid::INTEGER AS target_vcpu,
        (dm & 1792) | vec AS message,
        coalesced
    FROM kvm_apic_accept_irq
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'apicv' AS kind,
        4 AS step,
        ts_ns,
        tid,
        apicid::INTEGER AS target_vcpu,
        vec AS message
    FROM kvm_apicv_accept_irq
    WHERE run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'pin' AS kind,
        5 AS step,
        ts_ns,
        tid,
        vcpu,
        exit_id,
        common_flags AS flags,
        e & 2047 AS message,
        coalesced
    FROM kvm_ioapic_set_irq
    WHERE run_id = $run_id
),

numbered AS (
    SELECT
        *,
        ['Fixed', 'LowPrio', 'SMI', 'Res3', 'NMI', 'INIT', 'SIPI', 'ExtINT'][1 + (message >> 8)::INTEGER] AS delivery,
        row_number() OVER (ORDER BY tid, ts_ns, step, message, target_vcpu, tracepoint) AS place
    FROM thread_events
),

causes AS (
    SELECT
        tid,
        place
    FROM numbered
    WHERE kind NOT IN ('accept', 'apicv')
),

exit_places AS (
    SELECT
        tid,
        place,
        exit_id
    FROM numbered
    WHERE kind = 'exit'
),

-- cause_place: the newest event of the thread that may cause an accept, or ends what did. An IPI is sent in an exit;
-- SVM's fast path for x2APIC sends before kvm_exit is recorded: there the next exit counts (-1: it was not recorded).
asked AS (
    SELECT
        n.*,
        c.place AS cause_place,
        coalesce(n.exit_id, e.exit_id, -1) AS asked_in
    FROM numbered AS n
    ASOF LEFT JOIN causes AS c ON n.tid = c.tid AND n.place > c.place
    ASOF LEFT JOIN exit_places AS e ON n.tid = e.tid AND n.place < e.place
    WHERE n.kind IN ('accept', 'ipi', 'msi', 'pin')
),

ipis AS (
    SELECT
        tid,
        asked_in,
        message,
        min(place) AS place
    FROM asked
    WHERE kind = 'ipi'
    GROUP BY tid, asked_in, message
),

accepts AS (
    SELECT
        a.place,
        a.ts_ns,
        a.tid,
        a.target_vcpu AS vcpu,
        a.message,
        a.delivery,
        c.place AS cause_place,
        c.tracepoint AS source_event,
        c.gsi,
        c.ts_ns AS source_ts_ns,
        n.place IS NOT NULL AS posted,
        coalesce(a.coalesced, FALSE) AS coalesced,
        coalesce(a.vcpu, t.vcpu) AS source_vcpu,
        CASE WHEN i.place IS NULL THEN a.exit_id ELSE nullif(a.asked_in, -1) END AS source_exit_id,
        CASE
            WHEN c.kind IS NOT NULL THEN c.kind
            WHEN r.sources AND coalesce(a.vcpu, t.vcpu) = a.target_vcpu AND coalesce(a.flags & 24, 0) = 0 THEN 'self'
        END AS source_kind,
        CASE WHEN v.alone THEN v.vm_id WHEN coalesce(a.flags & 24, 0) = 0 THEN t.vm_id END AS vm_id,
        v.alone OR (coalesce(a.flags & 24, 0) = 0 AND t.tid IS NOT NULL) AS attributed
    FROM asked AS a
    CROSS JOIN recorded AS r
    CROSS JOIN vms AS v
    LEFT JOIN thread_vms AS t ON a.tid = t.tid
    LEFT JOIN ipis AS i ON a.tid = i.tid AND a.asked_in = i.asked_in AND a.message = i.message
    LEFT JOIN numbered AS c
        ON
            coalesce(i.place, a.cause_place) = c.place
            AND (i.place IS NOT NULL OR (c.kind = 'line' AND r.pins) OR (c.kind = 'msi' AND a.message = c.message))
    LEFT JOIN numbered AS n
        ON
            a.place + 1 = n.place
            AND a.tid = n.tid
            AND a.target_vcpu = n.target_vcpu
            AND a.message & 255 = n.message
            AND n.kind = 'apicv'
    WHERE a.kind = 'accept'
),

answered AS (
    SELECT DISTINCT cause_place
    FROM accepts
),

injections AS (
    SELECT
        'injection' AS kind,
        2 AS step,
        i.ts_ns,
        CASE WHEN v.alone THEN v.vm_id ELSE t.vm_id END AS vm_id,
        coalesce(i.vcpu, t.vcpu) AS vcpu,
        coalesce(i.vector, i.irq)::BIGINT AS vec,
        i.reinjected
    FROM kvm_inj_virq AS i
    CROSS JOIN vms AS v
    LEFT JOIN thread_vms AS t ON i.tid = t.tid
    WHERE i.run_id = $run_id AND NOT coalesce(i.soft, FALSE)
    UNION ALL BY NAME
    SELECT
        'eoi' AS kind,
        0 AS step,
        e.ts_ns,
        CASE WHEN v.alone THEN v.vm_id ELSE t.vm_id END AS vm_id,
        e.apicid::INTEGER AS vcpu,
        e.vector::BIGINT AS vec
    FROM kvm_eoi AS e
    CROSS JOIN vms AS v
    LEFT JOIN thread_vms AS t ON e.tid = t.tid
    WHERE e.run_id = $run_id
    UNION ALL BY NAME
    SELECT
        'pv_eoi' AS kind,
        1 AS step,
        e.ts_ns,
        CASE WHEN v.alone THEN v.vm_id ELSE t.vm_id END AS vm_id,
        e.apicid::INTEGER AS vcpu,
        e.vector::BIGINT AS vec
    FROM kvm_pv_eoi AS e
    CROSS JOIN vms AS v
    LEFT JOIN thread_vms AS t ON e.tid = t.tid
    WHERE e.run_id = $run_id
),

-- A kernel may not tell `reinjected`: a vector in service is not injected before its EOI, so that would be one.
-- (A vector without any EOI is ended by itself, as Hyper-V's AutoEOI does.)
told_again AS (
    SELECT
        * EXCLUDE (reinjected),
        kind = 'injection' AND coalesce(
            reinjected,
            lag(kind) OVER in_time = 'injection' AND bool_or(kind = 'eoi') OVER (PARTITION BY vm_id, vcpu, vec),
            FALSE
        ) AS again
    FROM injections
    WINDOW in_time AS (PARTITION BY vm_id, vcpu, vec ORDER BY ts_ns, step)
),

ended AS (
    SELECT
        *,
        CASE WHEN lead(kind) OVER in_time = 'eoi' THEN lead(ts_ns) OVER in_time END AS eoi_ts_ns,
        CASE WHEN lead(kind) OVER in_time = 'eoi' THEN lead(kind, 2, '') OVER in_time = 'pv_eoi' END AS pv_eoi
    FROM told_again
    WHERE NOT again
    WINDOW in_time AS (PARTITION BY vm_id, vcpu, vec ORDER BY ts_ns, step)
),

waiting AS (
    SELECT
        'accept' AS kind,
        0 AS step,
        place,
        ts_ns,
        vm_id,
        vcpu,
        (message & 255)::BIGINT AS vec,
        coalesced
    FROM accepts
    WHERE attributed AND NOT posted AND message < 512
    UNION ALL BY NAME
    SELECT
        kind,
        1 AS step,
        ts_ns,
        vm_id,
        vcpu,
        vec,
        FALSE AS coalesced,
        eoi_ts_ns,
        pv_eoi
    FROM ended
    WHERE kind = 'injection'
),

-- turn: how many injections of the vector came before. All accepts of a turn are for the injection that ends it.
turns AS (
    SELECT
        *,
        count(CASE WHEN kind = 'injection' THEN 1 END) OVER (
            PARTITION BY vm_id, vcpu, vec
            ORDER BY ts_ns, step, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS turn
    FROM waiting
),

outcomes AS (
    SELECT
        place,
        kind,
        vm_id,
        vcpu,
        vec,
        coalesced OR row_number() OVER alike > 1 AS further,
        count(CASE WHEN kind = 'accept' AND NOT coalesced THEN 1 END) OVER one_turn AS accepts,
        max(CASE WHEN kind = 'injection' THEN ts_ns END) OVER one_turn AS inject_ts_ns,
        max(eoi_ts_ns) OVER one_turn AS eoi_ts_ns,
        bool_or(pv_eoi) OVER one_turn AS pv_eoi
    FROM turns
    WINDOW
        one_turn AS (PARTITION BY vm_id, vcpu, vec, turn),
        alike AS (PARTITION BY vm_id, vcpu, vec, turn, kind, coalesced ORDER BY ts_ns, place)
),

injected_vcpus AS (
    SELECT DISTINCT
        vm_id,
        vcpu
    FROM outcomes
    WHERE kind = 'injection'
),

vcpus AS (
    SELECT
        v.vm_id,
        v.vcpu,
        max(v.last_entry_ns) AS last_entry_ns,
        bool_or(o.vcpu IS NOT NULL) AS injected
    FROM vcpu_threads AS v
    LEFT JOIN injected_vcpus AS o ON v.vm_id IS NOT DISTINCT FROM o.vm_id AND v.vcpu = o.vcpu
    GROUP BY v.vm_id, v.vcpu
),

-- Where a vCPU has no injection at all, APICv or AVIC injects without an event: whether it coalesces is not known.
interrupts AS (
    SELECT
        a.vm_id,
        a.vcpu,
        (a.message & 255)::BIGINT AS vec,
        a.delivery,
        a.source_kind,
        a.source_event,
        a.gsi,
        a.tid AS source_tid,
        a.source_vcpu,
        a.source_exit_id,
        a.source_ts_ns,
        a.ts_ns AS accept_ts_ns,
        CASE
            WHEN a.message >= 512 THEN 'no vector'
            WHEN NOT a.attributed THEN 'unattributed'
            WHEN a.posted THEN 'posted'
            WHEN NOT r.injections THEN NULL
            WHEN o.further AND (a.coalesced OR o.inject_ts_ns IS NOT NULL OR v.injected) THEN 'coalesced'
            WHEN o.inject_ts_ns IS NOT NULL THEN 'injected'
            WHEN v.last_entry_ns > a.ts_ns THEN 'not injected'
            ELSE 'pending'
        END AS status,
        CASE WHEN status = 'injected' THEN o.inject_ts_ns END AS inject_ts_ns,
        CASE WHEN status = 'injected' THEN o.eoi_ts_ns END AS eoi_ts_ns,
        CASE WHEN status = 'injected' AND r.pv_eois THEN o.pv_eoi END AS pv_eoi
    FROM accepts AS a
    CROSS JOIN recorded AS r
    LEFT JOIN outcomes AS o ON a.place = o.place
    LEFT JOIN vcpus AS v ON a.vm_id IS NOT DISTINCT FROM v.vm_id AND a.vcpu = v.vcpu
    UNION ALL BY NAME
    SELECT
        o.vm_id,
        o.vcpu,
        o.vec,
        'no accept' AS status,
        o.inject_ts_ns,
        o.eoi_ts_ns,
        CASE WHEN r.pv_eois THEN o.pv_eoi END AS pv_eoi
    FROM outcomes AS o
    CROSS JOIN recorded AS r
    WHERE o.kind = 'injection' AND o.accepts = 0
    UNION ALL BY NAME
    SELECT
        CASE WHEN v.alone THEN v.vm_id WHEN coalesce(a.flags & 24, 0) = 0 THEN t.vm_id END AS vm_id,
        (a.message & 255)::BIGINT AS vec,
        a.delivery,
        coalesce(c.kind, a.kind) AS source_kind,
        coalesce(c.tracepoint, a.tracepoint) AS source_event,
        c.gsi,
        a.tid AS source_tid,
        coalesce(a.vcpu, t.vcpu) AS source_vcpu,
        CASE WHEN a.kind = 'ipi' THEN nullif(a.asked_in, -1) ELSE a.exit_id END AS source_exit_id,
        coalesce(c.ts_ns, a.ts_ns) AS source_ts_ns,
        CASE WHEN a.kind = 'pin' THEN 'coalesced' ELSE 'not accepted' END AS status
    FROM asked AS a
    CROSS JOIN vms AS v
    LEFT JOIN thread_vms AS t ON a.tid = t.tid
    LEFT JOIN numbered AS c ON a.kind = 'pin' AND c.kind = 'line' AND a.cause_place = c.place
    LEFT JOIN answered AS b ON a.place = b.cause_place
    WHERE (a.kind = 'pin' AND a.coalesced) OR (a.kind IN ('ipi', 'msi') AND b.cause_place IS NULL)
)

SELECT
    i.vm_id,
    i.vcpu,
    i.vec,
    i.delivery,
    i.status,
    i.source_kind,
    i.source_event,
    i.gsi,
    i.source_tid,
    i.source_vcpu,
    i.source_exit_id,
    i.source_ts_ns,
    i.accept_ts_ns,
    i.inject_ts_ns,
    i.eoi_ts_ns,
    i.pv_eoi,
    CASE WHEN i.accept_ts_ns >= i.source_ts_ns THEN i.accept_ts_ns - i.source_ts_ns END AS source_to_accept_ns,
    i.inject_ts_ns - i.accept_ts_ns AS accept_to_inject_ns,
    i.eoi_ts_ns - i.inject_ts_ns AS inject_to_eoi_ns
FROM interrupts AS i
ORDER BY
    coalesce(i.source_ts_ns, i.accept_ts_ns, i.inject_ts_ns) ASC,
    i.accept_ts_ns ASC NULLS LAST,
    i.vm_id ASC NULLS LAST,
    i.vcpu ASC NULLS LAST,
    i.vec ASC,
    i.source_tid ASC NULLS LAST
