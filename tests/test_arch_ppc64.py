"""What POWER makes of its tracepoints: traps, idle exits, hypercalls, and the runner of a POWER8 core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_runs import Thread, column, pick, stored

from benchmarks.recording_builder import Recording, format_text
from kvmtrace import arch
from kvmtrace.arch.base import NO_ROLE, ExitDetail, Reason, Role
from kvmtrace.arch.ppc64 import Ppc64
from kvmtrace.recording import EventKind, Facts
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from pathlib import Path

    from made_runs import Row, StoredRun
    from numpy.typing import NDArray

HV_DECREMENTER, SYSCALL, EXTERNAL, H_DATA_STORAGE, H_VIRT = 0x980, 0xC00, 0x500, 0xE00, 0xEA0
H_CEDE, H_RANDOM, H_ENTER_NESTED = 0xE0, 0x300, 0xF804
COMMON = format_text("kvm_hv", "kvm_guest_exit").split("\n\tfield:int vcpu_id")[0]
PPC_INSTR = f"""{COMMON.replace("kvm_guest_exit", "kvm_ppc_instr").replace("1295", "1285")}
	field:unsigned int inst;	offset:8;	size:4;	signed:0;
	field:unsigned long pc;	offset:16;	size:8;	signed:0;
	field:unsigned int emulate;	offset:24;	size:4;	signed:0;

print fmt: "inst %u pc 0x%lx emulate %u
", REC->inst, REC->pc, REC->emulate
"""
"""As tracefs gives it: the new line in the print fmt is one."""


def kind(event: str, text: str | None = None, system: str = "kvm_hv") -> EventKind:
    return EventKind(system, event, parse_format(format_text(system, event) if text is None else text))


def facts(*kinds: EventKind, **host: str | int) -> Facts:
    return Facts("perf.data", events=list(kinds), host=dict(host))


def reason(trap: int, ceded: int | None = 0, text: str | None = None) -> Reason:
    exit_kind = kind("kvm_guest_exit", text)
    return Ppc64(facts(exit_kind)).reason(exit_kind, ceded, trap)


@dataclass(frozen=True, slots=True)
class Columns:
    """Fields of a few exits."""

    values: dict[str, NDArray[np.integer]]

    def column(self, name: str) -> NDArray[np.integer]:
        return self.values[name]

    def arrow(self) -> dict[str, object]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("trap", "name"),
    [
        (SYSCALL, "SYSCALL"),
        (HV_DECREMENTER, "HV_DECREMENTER"),
        (0x502, "EXTERNAL_HV"),
        (0x0, "RETURN_TO_HOST"),  # from here on the print fmt has no name
        (H_VIRT, "H_VIRT"),
        (0xE80, "H_DOORBELL"),
        (0x5555, "HV_RM_HARD"),
        (0xC01, "0xc01"),  # no bit is masked
        (0xFFFFFFFF, "0xffffffff"),
    ],
)
def test_a_trap_is_named_as_the_print_fmt_names_it_else_by_us(trap: int, name: str) -> None:
    assert reason(trap) == Reason("trap", trap, name, idle=False)


def test_the_recordings_own_name_of_a_trap_counts() -> None:
    text = format_text("kvm_hv", "kvm_guest_exit")
    assert reason(SYSCALL, text=text.replace('"SYSCALL"', '"HCALL"')).name == "HCALL"
    assert reason(0, text=text.replace("{0x100,", '{0x0, "NOTHING"}, {0x100,')).name == "NOTHING"
    assert reason(SYSCALL, text=text.partition("print fmt")[0] + "print fmt: (((\n").name == "SYSCALL"


@pytest.mark.parametrize(
    ("trap", "ceded", "idle"),
    [
        (0, 1, True),  # H_CEDE
        (0, 0, False),  # one that was cut short, or another hypercall that was handled on the way out
        (0, None, False),
        (EXTERNAL, 1, True),  # POWER8: an interrupt of the host woke the processor, the vCPU still waits
        (SYSCALL, 0, False),
    ],
)
def test_a_vcpu_that_has_ceded_is_idle_in_h_cede(trap: int, ceded: int | None, *, idle: bool) -> None:
    exit_kind = kind("kvm_guest_exit")
    ppc64 = Ppc64(facts(exit_kind))
    told = ppc64.reason(exit_kind, ceded, trap)
    assert told.idle is idle
    detail = ppc64.exit_detail(exit_kind, told)
    assert detail == (ExitDetail(4, constant=H_CEDE) if idle else None)
    assert ppc64.details[4].origin == "kvm_guest_exit.ceded"


def test_the_group_of_a_reason_is_whether_the_vcpu_has_ceded() -> None:
    exit_kind = kind("kvm_guest_exit")
    fields = Columns({"ceded": np.array([0, 1, 255], np.uint8), "trap": np.array([0xC01, 0, 0x500], np.int32)})
    ceded, trap = Ppc64(facts(exit_kind)).reason_keys(exit_kind, fields)
    assert ceded is not None
    assert (ceded.tolist(), trap.tolist()) == ([0, 1, 1], [0xC01, 0, 0x500])


def test_whether_the_vcpu_has_ceded_may_not_be_recorded() -> None:
    lines = format_text("kvm_hv", "kvm_guest_exit").splitlines()
    head = "\n".join(line for line in lines if " ceded;" not in line and not line.startswith("print fmt"))
    exit_kind = kind("kvm_guest_exit", f'{head}\nprint fmt: "%d", REC->vcpu_id\n')
    ceded, _ = Ppc64(facts(exit_kind)).reason_keys(exit_kind, Columns({"trap": np.array([0])}))
    assert ceded is None
    assert exit_kind.format.integer_fields >= Ppc64(facts(exit_kind)).reason_fields(exit_kind)


def test_hypercalls_are_named_by_the_recording_else_by_us() -> None:
    text = format_text("kvm_hv", "kvm_hcall_enter").replace('"H_DISABLE_AND_GET"', '"H_DISABLE_AND_GETC"')
    names = Ppc64(facts(kind("kvm_hcall_enter", text))).detail_names("hcall")
    assert (names[0x1B0], names[H_CEDE]) == ("H_DISABLE_AND_GETC", "H_CEDE")
    assert (names[0x480], names[0xEF00]) == ("H_GUEST_RUN_VCPU", "H_SVM_PAGE_IN")  # which no print fmt names
    assert 0xF00C not in names
    ours = Ppc64(facts()).detail_names("hcall")
    assert (ours[0x1B0], ours[H_RANDOM]) == ("H_DISABLE_AND_GET", "H_RANDOM")
    assert Ppc64(facts()).detail_names("ea") == {}


def test_our_names_of_hypercalls_are_those_that_recordings_have() -> None:
    told = Ppc64(facts(kind("kvm_hcall_enter"))).detail_names("hcall")
    assert told == Ppc64(facts()).detail_names("hcall")


def test_a_hypercall_tells_more_than_an_address_and_that_more_than_an_instruction() -> None:
    assert [detail.origin for detail in Ppc64.details] == [
        "kvm_hcall_enter.req",
        "kvm_mmio.gpa",
        "kvm_page_fault_enter.ea",
        "kvm_ppc_instr.inst",
        "kvm_guest_exit.ceded",
    ]
    told = [*(kind(event) for event in ("kvm_hcall_enter", "kvm_page_fault_enter"))]
    told += [kind("kvm_mmio", system="kvm"), kind("kvm_ppc_instr", PPC_INSTR, "kvm")]
    for event_kind in told:
        (rule,) = (n for n, detail in enumerate(Ppc64.details) if detail.event == event_kind.name)
        roles = {role.role: role.value_field for role in Ppc64(facts()).event_roles(event_kind)}
        assert roles[Role.DETAIL + rule] == Ppc64.details[rule].field


@pytest.mark.parametrize(
    ("event", "roles"),
    [
        ("kvm_guest_exit", {Role.EXIT}),
        ("kvm_guest_enter", {Role.ENTRY}),
        ("kvm_hcall_enter", {Role.HCALL_ENTER, Role.DETAIL}),
        ("kvm_hcall_exit", {Role.HCALL_EXIT}),
        ("kvmppc_run_vcpu_enter", {Role.USER_RETURN}),
        ("kvmppc_vcore_blocked", {Role.OTHER, Role.SLEEP, Role.WAKE}),
        ("kvmppc_vcore_wakeup", {Role.OTHER, Role.POLLED, Role.BLOCKED}),
        ("kvmppc_run_core", {Role.OTHER}),
        ("kvmppc_run_vcpu_exit", {Role.OTHER}),
    ],
)
def test_what_an_event_says_of_its_exit(event: str, roles: set[Role]) -> None:
    event_kind = kind(event)
    assert set().union(*(role.possible for role in Ppc64(facts(event_kind)).event_roles(event_kind))) == roles


def test_an_event_that_lacks_the_field_of_its_role_has_none() -> None:
    text = format_text("kvm_hv", "kvm_guest_exit").replace("vcpu_id", "cpu_nr")
    bare = kind("kvm_guest_exit", text)
    assert Ppc64(facts(bare)).event_roles(bare) == (NO_ROLE,)
    assert arch.for_recording(facts(bare)) is None


@pytest.mark.parametrize("machine", ["ppc64", "ppc64le", None])
def test_a_recording_of_power_is_one_by_its_machine_and_its_tracepoints(machine: str | None) -> None:
    host = {} if machine is None else {"arch": machine}
    for event in ("kvm_guest_exit", "kvm_guest_enter"):
        assert isinstance(arch.for_recording(facts(kind(event), **host)), Ppc64)
    assert arch.for_recording(facts(kind("kvm_hcall_enter"), **host)) is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x", "riscv64", "ppc"])
def test_a_recording_of_another_machine_is_not_read_as_power(machine: str) -> None:
    assert arch.for_recording(facts(kind("kvm_guest_exit"), kind("kvm_guest_enter"), arch=machine)) is None


def test_kvm_pr_is_not_paired() -> None:
    """kvm_book3s_reenter also fires on the way to the VMM, and neither event names its vCPU."""
    pr_exit = "\tfield:unsigned int exit_nr;\toffset:8;\tsize:4;\tsigned:0;"
    reenter = "\tfield:unsigned int r;\toffset:8;\tsize:4;\tsigned:0;"
    kinds = [
        kind(event, f'{COMMON}\n{field}\n\nprint fmt: "%u", 1\n', "kvm_pr")
        for event, field in (("kvm_exit", pr_exit), ("kvm_book3s_reenter", reenter))
    ]
    assert arch.for_recording(facts(*kinds, arch="ppc64le")) is None


class PowerRecording(Recording):
    """A recording of a POWER machine, whose events are told in one line each."""

    def __init__(self, order: str = "<", *events: str) -> None:
        """Enable `events` of the system kvm_hv, by default those of most tests."""
        super().__init__(cpus=8, cpuid="0x004d0200", arch="ppc64le" if order == "<" else "ppc64", order=order)
        for event in events or HV_EVENTS:
            self.add_tracepoint("kvm_hv", event)
        self.add_tracepoint("kvm", "kvm_userspace_exit")

    def fire(self, event: str, ts_ns: int, by: Thread, vcpu: int | None = None, **fields: int) -> None:
        """Add an event that a thread fires, of its own vCPU if `vcpu` says no other."""
        if event != "kvm_userspace_exit" and "vcore" not in event:
            fields["vcpu_id"] = by.vcpu if vcpu is None else vcpu
        self.add_sample(event, ts_ns, cpu=by.tid % 8, pid=by.pid, tid=by.tid, fields=fields)


HV_EVENTS = (
    "kvm_guest_enter",
    "kvm_guest_exit",
    "kvm_hcall_enter",
    "kvm_hcall_exit",
    "kvmppc_run_vcpu_enter",
    "kvmppc_vcore_blocked",
    "kvmppc_vcore_wakeup",
)
CORE = [Thread(tid=101 + n, vcpu=n) for n in range(4)]
"""The threads of the vCPUs of one virtual core."""
OTHER_VM = Thread(tid=201, pid=200, vcpu=0)
TRAPS = [(HV_DECREMENTER, 0), (0, 1), (SYSCALL, 0), (EXTERNAL, 0)]
"""Trap and ceded of each vCPU when the core first leaves the guest."""


def enter_core(recording: PowerRecording, ts_ns: int, runner: Thread) -> None:
    """Let the runner fire the entries of all vCPUs of the core, 10 ns apart."""
    for vcpu in range(len(CORE)):
        recording.fire("kvm_guest_enter", ts_ns + 10 * vcpu, runner, vcpu)


def power8(order: str = "<") -> PowerRecording:
    """Return a core that is run by the thread of vCPU 0 and then by that of vCPU 3, beside a VM of one vCPU."""
    recording = PowerRecording(order)
    for thread in CORE:
        recording.fire("kvmppc_run_vcpu_enter", 1_000, thread)
    enter_core(recording, 2_000, CORE[0])
    recording.fire("kvm_guest_enter", 2_005, OTHER_VM)
    for vcpu, (trap, ceded) in enumerate(TRAPS):
        recording.fire("kvm_guest_exit", 10_000 + 100 * vcpu, CORE[0], vcpu, trap=trap, ceded=ceded)
    recording.fire("kvm_guest_exit", 10_150, OTHER_VM, trap=H_VIRT)
    recording.fire("kvm_hcall_enter", 11_000, CORE[2], req=H_RANDOM)
    recording.fire("kvm_guest_enter", 11_200, OTHER_VM)
    recording.fire("kvm_hcall_exit", 11_400, CORE[2])
    recording.fire("kvm_userspace_exit", 11_500, CORE[2])
    recording.fire("kvmppc_run_vcpu_enter", 13_500, CORE[2])
    recording.add_round()
    enter_core(recording, 20_000, CORE[3])
    for vcpu in range(4):
        recording.fire("kvm_guest_exit", 30_000 + 100 * vcpu, CORE[3], vcpu, ceded=1)
    recording.fire("kvmppc_vcore_blocked", 32_000, CORE[3], runner_vcpu=3, where=0)
    recording.fire("kvmppc_vcore_blocked", 38_000, CORE[3], runner_vcpu=3, where=1)
    recording.fire("kvmppc_vcore_wakeup", 38_100, CORE[3], ns=7_000, waited=1)
    enter_core(recording, 40_000, CORE[1])
    return recording


def exits_of(run: StoredRun, pid: int = 100) -> list[Row]:
    return [row for row in run.exits() if row["vm_id"] == str(pid)]


both_orders = pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])


@both_orders
def test_exits_of_a_runner_are_paired_by_vcpu(tmp_path: Path, order: str) -> None:
    run = stored(power8(order), tmp_path)
    first = [(n, 101, 10_000 + 100 * n, 20_000 + 10 * n, 8_000 + 90 * n) for n in range(4)]
    second = [(n, 104, 30_000 + 100 * n, 40_000 + 10 * n, 10_000 + 90 * n) for n in range(4)]
    told = [pick(row, "vcpu", "tid", "exit_ts_ns", "entry_ts_ns", "guest_ns") for row in exits_of(run)]
    assert told == first + second
    assert column(exits_of(run), "latency_ns") == [entry - left for _, _, left, entry, _ in first + second]
    assert run.closed_by() == {"entry": 9}
    assert not any(column(run.exits(), "suspect"))
    assert any("speaks for several vCPUs" in rule for rule in run.manifest.identity)


@both_orders
def test_another_vm_with_the_same_vcpu_numbers_is_apart(tmp_path: Path, order: str) -> None:
    (row,) = exits_of(stored(power8(order), tmp_path), OTHER_VM.pid)
    assert pick(row, "vcpu", "tid", "reason", "latency_ns", "guest_ns") == (0, 201, "H_VIRT", 1_050, 8_145)


@both_orders
def test_what_a_vcpus_own_thread_tells_belongs_to_the_exit_that_the_runner_told(tmp_path: Path, order: str) -> None:
    run = stored(power8(order), tmp_path)
    decremented, ceded, called, interrupted = exits_of(run)[:4]
    about = ("reason", "idle", "detail_kind", "detail_name", "detail_from", "userspace")
    assert pick(decremented, *about) == ("HV_DECREMENTER", False, None, None, None, False)
    assert pick(ceded, *about) == ("RETURN_TO_HOST", True, "hcall", "H_CEDE", "kvm_guest_exit.ceded", False)
    assert pick(called, *about) == ("SYSCALL", False, "hcall", "H_RANDOM", "kvm_hcall_enter.req", True)
    assert pick(interrupted, *about) == ("EXTERNAL", False, None, None, None, False)
    assert pick(called, "hcall_ns", "userspace_ns") == (400, 2_000)
    for event, system in (
        ("kvm_hcall_enter", "kvm_hv"),
        ("kvm_hcall_exit", "kvm_hv"),
        ("kvm_userspace_exit", "kvm"),
    ):
        (fired,) = run.events(event, system)
        assert pick(fired, "tid", "vcpu", "exit_id") == (103, 2, called["exit_id"])


@both_orders
def test_the_runner_sleeps_where_all_its_vcpus_have_ceded(tmp_path: Path, order: str) -> None:
    run = stored(power8(order), tmp_path)
    runner = exits_of(run)[-1]
    assert pick(runner, "vcpu", "idle", "blocked_ns", "polled_ns") == (3, True, 6_000, 1_000)
    assert all(column(exits_of(run)[4:], "idle"))
    assert {pick(row, "vcpu", "exit_id") for row in run.events("kvmppc_vcore_blocked", "kvm_hv")} == {
        (3, runner["exit_id"])
    }


@pytest.mark.parametrize(("waited", "blocked", "polled"), [(0, 0, 7_000), (1, 7_000, None)])
def test_the_wakeup_of_a_core_says_whether_it_slept_or_was_polled_for(
    tmp_path: Path, waited: int, blocked: int, polled: int | None
) -> None:
    """How much of a sleep was polling before it, kvmppc_vcore_wakeup does not say."""
    recording = PowerRecording("<", "kvm_guest_enter", "kvm_guest_exit", "kvmppc_vcore_wakeup")
    recording.fire("kvm_guest_exit", 1_000, CORE[0], ceded=1)
    recording.fire("kvmppc_vcore_wakeup", 9_000, CORE[0], ns=7_000, waited=waited)
    recording.fire("kvm_guest_enter", 10_000, CORE[0])
    assert pick(stored(recording, tmp_path).only_exit(), "blocked_ns", "polled_ns") == (blocked, polled)


@pytest.mark.parametrize(
    "event",
    [
        "kvmppc_run_vcpu_enter",
        "kvmppc_run_vcpu_exit",
        "kvm_hcall_enter",
        "kvm_hcall_exit",
        "kvm_page_fault_enter",
        "kvm_page_fault_exit",
    ],
)
def test_an_event_of_its_own_vcpu_tells_whose_exit_goes_to_the_vmm(tmp_path: Path, event: str) -> None:
    """kvm_userspace_exit names no vCPU, and the thread that fires it speaks for no exit."""
    recording = PowerRecording("<", "kvm_guest_enter", "kvm_guest_exit", event)
    enter_core(recording, 1_000, CORE[0])
    for vcpu in range(len(CORE)):
        recording.fire("kvm_guest_exit", 2_000 + vcpu, CORE[0], vcpu, trap=SYSCALL)
    recording.fire(event, 3_000, CORE[2])
    recording.fire("kvm_userspace_exit", 4_000, CORE[2])
    enter_core(recording, 5_000, CORE[0])
    assert column(stored(recording, tmp_path).exits(), "userspace") == [False, False, True, False]


@pytest.mark.parametrize("form", ["pipe", "zstd"])
def test_a_big_endian_recording_of_another_form_tells_the_same(tmp_path: Path, form: str) -> None:
    little, big = stored(power8(), tmp_path), stored(power8(">"), tmp_path, form)
    assert big.exits() == little.exits()
    assert big.manifest.host["arch"] == "ppc64"
    assert big.events("kvm_hcall_enter", "kvm_hv") == little.events("kvm_hcall_enter", "kvm_hv")


def test_a_vcpu_that_joins_a_running_core_enters_by_its_own_thread(tmp_path: Path) -> None:
    recording = PowerRecording()
    recording.fire("kvm_guest_enter", 1_000, CORE[0], 0)
    recording.fire("kvm_guest_enter", 1_010, CORE[0], 1)
    recording.fire("kvm_guest_enter", 3_000, CORE[2])
    for vcpu in range(3):
        recording.fire("kvm_guest_exit", 5_000 + vcpu, CORE[0], vcpu, trap=HV_DECREMENTER)
    recording.fire("kvm_guest_enter", 6_000, CORE[2])
    told = {row["vcpu"]: pick(row, "guest_ns", "latency_ns") for row in stored(recording, tmp_path).exits()}
    assert told == {0: (4_000, None), 1: (3_991, None), 2: (2_002, 998)}


def test_an_exit_of_a_vcpu_that_was_not_in_the_guest_is_no_time_of_it(tmp_path: Path) -> None:
    """A vCPU that is ready again while its core still leaves the guest gets a second exit without an entry before."""
    recording = PowerRecording()
    enter_core(recording, 1_000, CORE[0])
    recording.fire("kvm_guest_exit", 5_000, CORE[0], 1, trap=SYSCALL)
    recording.fire("kvm_guest_exit", 7_000, CORE[0], 1)
    enter_core(recording, 9_000, CORE[0])
    called, again = stored(recording, tmp_path).exits()
    assert pick(called, "closed_by", "suspect", "latency_ns") == ("next_exit", True, None)
    assert pick(again, "closed_by", "reason", "idle", "guest_ns") == ("entry", "RETURN_TO_HOST", False, None)


def test_a_guests_guest_on_bare_metal_runs_inside_a_hypercall(tmp_path: Path) -> None:
    recording, thread = PowerRecording(), CORE[0]
    recording.fire("kvm_guest_enter", 1_000, thread)
    recording.fire("kvm_guest_exit", 2_000, thread, trap=SYSCALL)
    recording.fire("kvm_hcall_enter", 2_100, thread, req=H_ENTER_NESTED)
    recording.fire("kvm_guest_enter", 3_000, thread)
    recording.fire("kvm_guest_exit", 4_000, thread, trap=H_DATA_STORAGE)
    recording.fire("kvm_hcall_exit", 4_600, thread)
    recording.fire("kvm_guest_enter", 5_000, thread)
    entered, left = stored(recording, tmp_path).exits()
    assert pick(entered, "reason", "detail_name", "latency_ns", "nested") == ("SYSCALL", "H_ENTER_NESTED", 1_000, None)
    assert pick(left, "reason", "detail", "latency_ns", "guest_ns") == ("H_DATA_STORAGE", None, 1_000, 1_000)


def test_a_fault_of_a_hash_guest_is_about_its_address_even_where_an_instruction_is_emulated(tmp_path: Path) -> None:
    recording, thread = PowerRecording(), CORE[0]
    recording.add_tracepoint("kvm_hv", "kvm_page_fault_enter")
    recording.add_tracepoint("kvm", "kvm_ppc_instr", PPC_INSTR)
    for ts_ns, event in ((3_000, "kvm_page_fault_enter"), (5_000, None)):
        recording.fire("kvm_guest_exit", ts_ns, thread, trap=H_DATA_STORAGE)
        if event is not None:
            recording.fire(event, ts_ns + 100, thread, ea=0x7000_0000, base_gfn=(1 << 64) - 1)
        recording.add_sample("kvm_ppc_instr", ts_ns + 200, pid=thread.pid, tid=thread.tid, fields={"inst": 0x82720000})
        recording.fire("kvm_guest_enter", ts_ns + 1_000, thread)
    about = [pick(row, "detail_kind", "detail", "detail_from") for row in stored(recording, tmp_path).exits()]
    assert about == [
        ("ea", 0x7000_0000, "kvm_page_fault_enter.ea"),
        ("instruction", 0x82720000, "kvm_ppc_instr.inst"),
    ]
