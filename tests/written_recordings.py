"""Recordings made event by event, as writers take them: blocks in the order of time, with the raw bytes of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.recording import EventBlock, EventKind, Facts, Notes
from kvmtrace.synth.event_formats import format_text, header_text
from kvmtrace.tracepoints import parse_format
from kvmtrace.tracepoints.records import DecodedFields, FieldLayout
from kvmtrace.writers.tracepoint_records import pack_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmtrace.writers.tracepoint_records import FieldValue

CPUS = 4
X86_HOST: dict[str, str | int] = {
    "hostname": "made",
    "kernel": "6.1.0-made",
    "arch": "x86_64",
    "cpu": "made processor",
    "cpuid": "GenuineIntel,6,143,8",
    "cpus_online": CPUS,
    "cpus_available": CPUS,
}
POWER_HOST: dict[str, str | int] = {
    **X86_HOST,
    "cpu": "POWER9, altivec supported",
    "cpuid": "004e1202",
}


@dataclass(slots=True)
class MadeRecording:
    """Events as (time, CPU, pid, tid, event, fields), in the order of time, `rows_of_block` in a block."""

    events: Sequence[str]
    host: dict[str, str | int]
    threads: Mapping[tuple[int, int], str] = field(default_factory=dict)
    rows_of_block: int = 100
    made: list[tuple[int, int, int, int, str, Mapping[str, FieldValue]]] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        """Say what is known of the machine."""
        names = [tuple(name.split(":", 1)) for name in self.events]
        texts = self.format_texts
        kinds = [EventKind(system, name, parse_format(texts[kind])) for kind, (system, name) in enumerate(names)]
        self.facts = Facts("made", kinds, dict(self.host), {"version": "6.1"}, "local", threads=dict(self.threads))

    def add(self, ts_ns: int, cpu: int, thread: tuple[int, int], event: str, **fields: FieldValue) -> None:
        """Add an event."""
        self.made.append((ts_ns, cpu, *thread, event, fields))

    @property
    def order(self) -> str:
        """The byte order."""
        return ">" if self.host["arch"] == "ppc64" else "<"

    @property
    def format_texts(self) -> dict[int, str]:
        """The format texts by kind."""
        texts = (format_text(str(self.host["arch"]), *name.split(":")) for name in self.events)
        return {kind: text for kind, text in enumerate(texts) if text is not None}

    @property
    def header_texts(self) -> dict[str, str]:
        """The texts of the ring buffer."""
        return {name: header_text(str(self.host["arch"]), name) for name in ("header_page", "header_event")}

    def blocks(self) -> Iterator[EventBlock]:
        """Yield the events."""
        kinds = self.facts.events
        layouts = [FieldLayout(kind.format, self.order) for kind in kinds]
        for first in range(0, len(self.made), self.rows_of_block):
            made = self.made[first : first + self.rows_of_block]
            numbers = np.array([self.events.index(event[4]) for event in made], np.uint16)
            rows = {kind: np.flatnonzero(numbers == kind) for kind in sorted(set(numbers.tolist()))}
            fields = {}
            for kind, own in rows.items():
                size = layouts[kind].gather_size
                raw = [self._raw(kinds[kind], *made[row][3:]).ljust(size, b"\0")[:size] for row in own]
                fields[kind] = DecodedFields(layouts[kind], np.frombuffer(b"".join(raw), layouts[kind].dtype), {})
            ts_ns, cpu, pid, tid = (np.array([event[part] for event in made]) for part in range(4))
            narrow = (cpu.astype(np.int32), pid.astype(np.int32), tid.astype(np.int32))
            yield EventBlock(ts_ns.astype(np.int64), *narrow, numbers, rows, fields)

    def _raw(self, kind: EventKind, tid: int, _: str, fields: Mapping[str, FieldValue]) -> bytes:
        own = {"common_type": kind.format.id, "common_pid": tid, **fields}
        return pack_fields(kind.format, own, self.order)


def x86_recording() -> MadeRecording:
    """Return two VMs of two vCPUs each on four CPUs: MSR writes, MMIO with an instruction, halts, interrupts."""
    names = (
        "kvm_exit",
        "kvm_entry",
        "kvm_msr",
        "kvm_emulate_insn",
        "kvm_mmio",
        "kvm_eoi",
        "kvm_pv_eoi",
        "kvm_hypercall",
    )
    vcpus = [((pid, pid + 10 + vcpu), vcpu) for pid in (1000, 2000) for vcpu in (0, 1)]
    threads = {thread: f"CPU {vcpu}/KVM" for thread, vcpu in vcpus} | {(1000, 1000): "qemu-system-x86"}
    events = [*(f"kvm:{name}" for name in names), "sched:sched_switch"]
    recording = MadeRecording(events, X86_HOST, threads)
    for turn in range(60):
        for cpu, (thread, vcpu) in enumerate(vcpus):
            start = 10**12 + 1_000_007 * turn + 50_003 * cpu
            _x86_turn(recording, turn, start, cpu, thread, vcpu)
    recording.made.sort(key=lambda event: event[0])
    return recording


def _x86_turn(recording: MadeRecording, turn: int, start: int, cpu: int, thread: tuple[int, int], vcpu: int) -> None:
    reason = (32, 48, 12, 1)[turn % 4]
    rip = 0xFFFF_FFFF_8100_0000 + 16 * turn
    own = {"exit_reason": reason, "isa": 1, "vcpu_id": vcpu, "guest_rip": rip, "info1": 0x783}
    recording.add(start, cpu, thread, "kvm:kvm_exit", common_flags=turn % 2, common_preempt_count=turn % 3, **own)
    if reason == 32:  # MSR_WRITE
        recording.add(start + 300, cpu, thread, "kvm:kvm_msr", write=1, ecx=0x830, data=0xFD)
    if reason == 48:  # EPT_VIOLATION
        insn = [0x89, 0x45, turn, *([0] * 12)]
        recording.add(start + 300, cpu, thread, "kvm:kvm_emulate_insn", rip=rip, len=3, insn=insn, flags=1 << 1)
        recording.add(start + 400, cpu, thread, "kvm:kvm_mmio", type=2, len=4, gpa=0xFEC0_0000, val=turn)
    if reason == 12:  # HLT
        switch: dict[str, FieldValue] = {
            "prev_comm": f"CPU {vcpu}/KVM",
            "prev_pid": thread[1],
            "prev_prio": 120,
            "prev_state": 1,
        }
        recording.add(start + 900, cpu, thread, "sched:sched_switch", next_comm="swapper/0", next_prio=120, **switch)
        back: dict[str, FieldValue] = {"next_comm": f"CPU {vcpu}/KVM", "next_pid": thread[1], "next_prio": 120}
        recording.add(start + 9_000, cpu, (0, 0), "sched:sched_switch", prev_comm="swapper/0", prev_prio=120, **back)
        recording.add(start + 9_500, cpu, thread, "kvm:kvm_pv_eoi", apicid=vcpu, vector=236)
    recording.add(start + 10_000 + turn, cpu, thread, "kvm:kvm_entry", vcpu_id=vcpu, rip=rip + 2)


def power_recording(arch: str) -> MadeRecording:
    """Return a VM of two vCPUs of POWER9: hypercalls, page faults, decrementer, ceding."""
    names = ("kvm_guest_exit", "kvm_guest_enter", "kvm_hcall_enter", "kvm_hcall_exit", "kvm_page_fault_enter")
    vcpus = [((1000, 1010 + vcpu), vcpu) for vcpu in (0, 1)]
    threads = {thread: f"CPU {vcpu}/KVM" for thread, vcpu in vcpus}
    recording = MadeRecording([f"kvm_hv:{name}" for name in names], {**POWER_HOST, "arch": arch}, threads)
    for turn in range(80):
        for cpu, (thread, vcpu) in enumerate(vcpus):
            start = 10**12 + 200_000_007 * turn + 50_003 * cpu  # further apart than a head's delta can tell
            own = {"vcpu_id": vcpu, "pc": 0xC000_0000_0000_1000 + turn, "msr": 0x8000_0000_0280_F033}
            trap = (0xC00, 0x980, 0xE00)[turn % 3]
            recording.add(start, cpu, thread, "kvm_hv:kvm_guest_exit", trap=trap, **own)
            if trap == 0xC00:  # a hypercall
                recording.add(start + 200, cpu, thread, "kvm_hv:kvm_hcall_enter", vcpu_id=vcpu, req=0x68, gpr4=turn)
                recording.add(start + 700, cpu, thread, "kvm_hv:kvm_hcall_exit", vcpu_id=vcpu, ret=0, hcall_rc=0)
            recording.add(start + 4_000 + turn, cpu, thread, "kvm_hv:kvm_guest_enter", vcpu_id=vcpu, pc=own["pc"])
    recording.made.sort(key=lambda event: event[0])
    return recording
