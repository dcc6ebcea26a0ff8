"""What a recording is for → the tracepoints it needs and the room that they take.

The lists hold what kernels 2.6.32 to 7.1 have, by architecture; a machine records those of them that its kernel has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmtrace.recorder.host_files import HostFiles


class Purpose(StrEnum):
    """What a recording is for."""

    EXITS = "exits"
    INTERRUPTS = "interrupts"
    SCHEDULING = "scheduling"
    EVERYTHING = "everything"


_COMMON_EXITS = "kvm_userspace_exit kvm_mmio kvm_halt_poll_ns kvm_vcpu_wakeup"
_COMMON_INTERRUPTS = "kvm_set_irq kvm_msi_set_irq kvm_ack_irq"
# What opens and closes an exit comes first: without them nothing is paired.
_BARE = {
    "x86": "kvm_exit kvm_entry",
    "ppc64": "kvm_hv:kvm_guest_exit kvm_hv:kvm_guest_enter kvm_hv:kvm_hcall_enter kvm_hv:kvm_hcall_exit",
    "arm64": "kvm_exit kvm_entry",
    "riscv": "kvm_exit kvm_entry",
    "s390": "kvm-s390:kvm_s390_sie_exit kvm:kvm_s390_sie_exit kvm-s390:kvm_s390_sie_enter kvm:kvm_s390_sie_enter",
    "loongarch": "kvm_exit kvm_enter kvm_reenter kvm_out",
}
_EXITS = {
    "x86": (
        "kvm_msr kvm_pio kvm_cr kvm_cpuid kvm_page_fault kvm_hypercall kvm_hv_hypercall kvm_xen_hypercall kvm_fpu "
        "kvm_eoi kvm_pv_eoi kvm_apic kvm_fast_mmio kvm_emulate_insn kvm_inj_virq kvm_nested_vmexit "
        "kvm_nested_vmexit_inject kvm_vmgexit_enter kvm_vmgexit_exit"
    ),
    "ppc64": (
        "kvm_hv:kvm_page_fault_enter kvm_hv:kvm_page_fault_exit kvm_hv:kvmppc_run_vcpu_enter "
        "kvm_hv:kvmppc_run_vcpu_exit kvm_hv:kvmppc_vcore_blocked kvm_hv:kvmppc_vcore_wakeup kvm_ppc_instr kvm_fpu"
    ),
    "arm64": (
        "kvm_guest_fault kvm_access_fault kvm_mmio_nisv kvm_mmio_emulate kvm_handle_sys_reg kvm_forward_sysreg_trap "
        "kvm_hvc_arm64 kvm_wfx_arm64 kvm_arm_clear_debug kvm_emulate_cp15_imp kvm_unmap_hva_range"
    ),
    "riscv": "",
    "s390": (
        "kvm_s390_intercept_instruction kvm_s390_intercept_prog kvm_s390_intercept_validity kvm_s390_handle_sigp "
        "kvm_s390_handle_sigp_pei kvm_s390_handle_diag kvm_s390_handle_operexc kvm_s390_handle_lctl "
        "kvm_s390_handle_prefix kvm_s390_handle_stap kvm_s390_handle_stfl kvm_s390_skey_related_inst "
        "kvm_s390_major_guest_pfault"
    ),
    "loongarch": "kvm_exit_idle kvm_exit_cache kvm_exit_gspr kvm_exit_csr kvm_exit_cpucfg kvm_iocsr kvm_aux",
}
_INTERRUPTS = {
    "x86": (
        "kvm_inj_virq kvm_inj_exception kvm_eoi kvm_pv_eoi kvm_apic kvm_apic_ipi kvm_apic_accept_irq "
        "kvm_apicv_accept_irq kvm_apicv_inhibit_changed kvm_avic_incomplete_ipi kvm_avic_unaccelerated_access "
        "kvm_avic_kick_vcpu_slowpath kvm_avic_doorbell kvm_avic_ga_log kvm_pi_irte_update kvm_ioapic_set_irq "
        "kvm_ioapic_delayed_eoi_inj kvm_pic_set_irq kvm_hv_send_ipi kvm_hv_send_ipi_ex kvm_hv_synic_set_irq "
        "kvm_hv_synic_send_eoi kvm_hv_timer_state kvm_hv_stimer_expiration kvm_wait_lapic_expire kvm_msr kvm_hypercall "
        "kvm_nested_intr_vmexit"
    ),
    "ppc64": "",
    "arm64": "vgic_update_irq_pending kvm_irq_line kvm_timer_update_irq kvm_timer_emulate kvm_timer_hrtimer_expire "
    "kvm_timer_save_state kvm_timer_restore_state kvm_get_timer_map kvm_wfx_arm64 kvm_handle_sys_reg",
    "riscv": "",
    "s390": "kvm_s390_inject_vm kvm_s390_inject_vcpu kvm_s390_deliver_interrupt kvm_s390_request_resets "
    "kvm_s390_stop_request kvm_s390_enable_css",
    "loongarch": "kvm_pch_pic_set_irq kvm_iocsr",
}
_SCHEDULING = "sched:sched_switch sched:sched_wakeup sched:sched_wakeup_new sched:sched_migrate_task"
_SYSTEMS = ("kvm", "kvm_hv", "kvm_pr", "kvm_booke", "kvm-s390")  # in which kernels keep events of KVM
_MIB = 1 << 20
_BUFFER_MIB = {Purpose.EXITS: 4, Purpose.INTERRUPTS: 8, Purpose.SCHEDULING: 8, Purpose.EVERYTHING: 16}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a purpose needs of a machine."""

    events: tuple[str, ...]  # system:name, or system:* for all of a system
    buffer_bytes: int  # for each CPU, a power of two

    @property
    def of_scheduler(self) -> bool:
        """Whether events are among them that happen on behalf of other threads than a VM's."""
        return any(event.startswith(("sched:", "irq:")) for event in self.events)


def architecture(machine: str) -> str | None:
    """Return which lists are those of a machine as `uname -m` names it; None: of none."""
    for beginning, name in (
        ("x86_64", "x86"), ("i386", "x86"), ("i686", "x86"), ("ppc64", "ppc64"), ("aarch64", "arm64"),
        ("riscv", "riscv"), ("s390", "s390"), ("loongarch", "loongarch"),
    ):  # fmt: skip
        if machine.startswith(beginning):
            return name
    return None


def needs(purpose: Purpose, machine: str, files: HostFiles) -> Needs:
    """Return the tracepoints of `purpose` that this kernel has, and the room for them; no events: it has none of KVM.

    `machine`: as `uname -m` names it. One that no list is of, and `everything`, get all events of KVM.
    """
    there = {system: files.tracepoints(system) for system in _SYSTEMS}
    of_kvm = {f"{system}:{name}" for system, names in there.items() for name in names}
    arch = architecture(machine)
    if purpose is Purpose.EVERYTHING or arch is None:
        events = [f"{system}:*" for system, names in there.items() if names]
    else:
        events = [event for event in dict.fromkeys(_wanted(purpose, arch)) if event in of_kvm]
    if not events:
        return Needs((), _BUFFER_MIB[purpose] * _MIB)
    return Needs((*events, *_beside_kvm(purpose, files)), _BUFFER_MIB[purpose] * _MIB)


def _wanted(purpose: Purpose, arch: str) -> list[str]:
    own = {Purpose.EXITS: [_EXITS[arch]], Purpose.INTERRUPTS: [_INTERRUPTS[arch], _COMMON_INTERRUPTS]}
    names = " ".join([_BARE[arch], *own.get(purpose, []), _COMMON_EXITS]).split()
    return [each for name in names for each in ([name] if ":" in name else _everywhere(name, arch))]


def _everywhere(name: str, arch: str) -> list[str]:
    """Return the names that an event may have: s390 kept some of its own in a system of their own."""
    return [f"kvm:{name}", *([f"kvm-s390:{name}"] if arch == "s390" else [])]


def _beside_kvm(purpose: Purpose, files: HostFiles) -> list[str]:
    if purpose not in (Purpose.SCHEDULING, Purpose.EVERYTHING):
        return []
    sched = [f"sched:{name}" for name in files.tracepoints("sched")]
    events = [event for event in _SCHEDULING.split() if event in sched]
    if purpose is Purpose.EVERYTHING:
        irq = files.tracepoints("irq")
        events += [f"irq:{name}" for name in ("irq_handler_entry", "irq_handler_exit") if name in irq]
    return events
