-- purpose: What was pending and in service when the guest went on to each exit that ended an interrupt by a write of
-- purpose: its EOI register, and what came in while it was out.
-- requires: kvm_eoi, kvm_inj_virq
-- uses: interrupt-chain
-- field kvm_apic_accept_irq.tm UBIGINT: Not 0: level-triggered, so that the I/O APIC wants its EOI.
-- param run_id VARCHAR: Run to report on.
-- column exit_id BIGINT: Exit.
-- column interrupt_pending BOOLEAN: An accepted interrupt waited for its injection when the guest was entered before.
-- column interrupt_nested BOOLEAN: An EOI came since the newest injection: others are in service below it.
-- column interrupt_level BOOLEAN: The interrupt that the exit ended is of a level-triggered line.
-- column interrupt_accepted BOOLEAN: An interrupt was accepted in the exit, and injected.

-- The chain of each interrupt is that of interrupt-chain, with its rules for recordings of several VMs. A vCPU that was
-- not seen to take an interrupt yet says nothing: its exits are left out.
WITH
eois AS (
    SELECT
        exit_id,
        max(vector)::BIGINT AS vec
    FROM kvm_eoi
    WHERE run_id = $run_id AND exit_id IS NOT NULL
    GROUP BY exit_id
),

ending AS (
    SELECT
        e.exit_id,
        x.vm_id,
        x.vcpu,
        e.vec,
        x.exit_ts_ns,
        coalesce(x.entry_ts_ns, x.exit_ts_ns) AS entry_ts_ns,
        x.exit_ts_ns - x.guest_ns AS entered_ts_ns
    FROM eois AS e
    INNER JOIN exits AS x ON e.exit_id = x.exit_id AND x.run_id = $run_id
),

-- An accept is found again by what interrupt-chain says of it: only there stands which VM it is for.
lines AS (
    SELECT
        i.vcpu,
        i.vec,
        i.accept_ts_ns,
        a.tm <> 0 AS level_triggered,
        coalesce(i.vm_id, '') AS vm
    FROM interrupt_chain AS i
    INNER JOIN kvm_apic_accept_irq AS a
        ON i.accept_ts_ns = a.ts_ns AND i.source_tid = a.tid AND i.vcpu = a.apicid AND i.vec = a.vec
    WHERE a.run_id = $run_id
),

-- A vCPU does not sleep while an interrupt can be injected.
halts AS (
    SELECT
        vcpu,
        exit_ts_ns,
        entry_ts_ns,
        coalesce(vm_id, '') AS vm
    FROM exits
    WHERE run_id = $run_id AND idle
),

-- open_until_ns: the latest injection of those that were accepted up to here; what never was is open to the end.
-- What slept through a halt was held back or is for another: it does not wait for an injection.
accepted AS (
    SELECT
        w.vm,
        w.vcpu,
        w.accept_ts_ns,
        max(w.open_ns) OVER (PARTITION BY w.vm, w.vcpu ORDER BY w.accept_ts_ns) AS open_until_ns
    FROM (
        SELECT
            vcpu,
            accept_ts_ns,
            coalesce(vm_id, '') AS vm,
            coalesce(inject_ts_ns, 9223372036854775807) AS open_ns
        FROM interrupt_chain
        WHERE status IN ('injected', 'pending') AND accept_ts_ns IS NOT NULL
    ) AS w
    ASOF LEFT JOIN halts AS h ON w.vm = h.vm AND w.vcpu = h.vcpu AND w.accept_ts_ns <= h.exit_ts_ns
    WHERE h.entry_ts_ns IS NULL OR w.open_ns <= h.entry_ts_ns
),

came AS (
    SELECT
        vcpu,
        accept_ts_ns,
        inject_ts_ns,
        coalesce(vm_id, '') AS vm
    FROM interrupt_chain
    WHERE status = 'injected' AND accept_ts_ns IS NOT NULL
),

taken AS (
    SELECT
        vcpu,
        vec,
        inject_ts_ns,
        eoi_ts_ns,
        coalesce(vm_id, '') AS vm
    FROM interrupt_chain
    WHERE inject_ts_ns IS NOT NULL
),

-- The newest EOI before each exit stands in the order of the EOIs themselves.
ended AS (
    SELECT
        vcpu,
        eoi_ts_ns,
        coalesce(vm_id, '') AS vm
    FROM interrupt_chain
    WHERE eoi_ts_ns IS NOT NULL
)

SELECT
    e.exit_id,
    coalesce(a.open_until_ns > e.entered_ts_ns, FALSE) AS interrupt_pending,
    coalesce(d.eoi_ts_ns > t.inject_ts_ns, FALSE) AS interrupt_nested,
    coalesce(l.level_triggered, FALSE) AS interrupt_level,
    coalesce(c.accept_ts_ns >= e.exit_ts_ns, FALSE) AS interrupt_accepted
FROM ending AS e
ASOF LEFT JOIN taken AS t ON coalesce(e.vm_id, '') = t.vm AND e.vcpu = t.vcpu AND e.exit_ts_ns > t.inject_ts_ns
ASOF LEFT JOIN accepted AS a ON coalesce(e.vm_id, '') = a.vm AND e.vcpu = a.vcpu AND e.entered_ts_ns >= a.accept_ts_ns
ASOF LEFT JOIN ended AS d ON coalesce(e.vm_id, '') = d.vm AND e.vcpu = d.vcpu AND e.exit_ts_ns > d.eoi_ts_ns
ASOF LEFT JOIN came AS c ON coalesce(e.vm_id, '') = c.vm AND e.vcpu = c.vcpu AND e.entry_ts_ns > c.accept_ts_ns
ASOF LEFT JOIN lines AS l
    ON coalesce(e.vm_id, '') = l.vm AND e.vcpu = l.vcpu AND e.vec = l.vec AND e.exit_ts_ns >= l.accept_ts_ns
WHERE t.inject_ts_ns IS NOT NULL AND e.entered_ts_ns IS NOT NULL
ORDER BY e.exit_id
