-- purpose: Each IPI from the exit in which its sender asked for it to the injection into each vCPU that accepted it.
-- uses: interrupt-chain
-- param run_id VARCHAR: Run to report on.
-- column vm_id VARCHAR: VM.
-- column sender_vcpu INTEGER: vCPU that sent it.
-- column vcpu INTEGER: vCPU that accepted it; null: none did, so far as events tell.
-- column vec BIGINT: Vector.
-- column delivery VARCHAR: Delivery mode, as the kernel calls it (Fixed, NMI, INIT, SIPI, …).
-- column status VARCHAR: What became of it, as in interrupt-chain.
-- column sent_by VARCHAR: kvm_apic_ipi (the ICR), kvm_hypercall (KVM_HC_SEND_IPI), kvm_hv_send_ipi, kvm_hv_send_ipi_ex.
-- column sender_exit_id BIGINT: Exit in which it was sent.
-- column reason VARCHAR: Reason of that exit.
-- column exit_ts_ns BIGINT: Time of that exit; null: the IPI was sent before the exit was recorded (SVM's fast path).
-- column send_ts_ns BIGINT: Time of the event that tells of the IPI.
-- column accept_ts_ns BIGINT: Time of kvm_apic_accept_irq.
-- column inject_ts_ns BIGINT: Time of kvm_inj_virq.
-- column exit_to_accept_ns BIGINT: Time from the sender's exit to the accept.
-- column accept_to_inject_ns BIGINT: Time from the accept to the injection.
-- column exit_to_inject_ns BIGINT: Time from the sender's exit to the injection.

-- IPIs that the processor delivers by itself (AVIC, IPI virtualization) make no event, and none of these rows.
WITH
ipis AS (
    SELECT
        i.*,
        e.reason,
        CASE WHEN e.exit_ts_ns <= i.source_ts_ns THEN e.exit_ts_ns END AS sent_in_ns,
        i.accept_ts_ns - sent_in_ns AS exit_to_accept_ns,
        i.inject_ts_ns - sent_in_ns AS exit_to_inject_ns
    FROM interrupt_chain AS i
    LEFT JOIN exits AS e ON i.source_exit_id = e.exit_id AND e.run_id = $run_id
    WHERE i.source_kind = 'ipi'
)

SELECT
    vm_id,
    source_vcpu AS sender_vcpu,
    vcpu,
    vec,
    delivery,
    status,
    source_event AS sent_by,
    source_exit_id AS sender_exit_id,
    reason,
    sent_in_ns AS exit_ts_ns,
    source_ts_ns AS send_ts_ns,
    accept_ts_ns,
    inject_ts_ns,
    exit_to_accept_ns,
    accept_to_inject_ns,
    exit_to_inject_ns
FROM ipis
ORDER BY
    send_ts_ns ASC,
    accept_ts_ns ASC NULLS LAST,
    vm_id ASC NULLS LAST,
    sender_vcpu ASC NULLS LAST,
    vcpu ASC NULLS LAST,
    vec ASC
