"""Guests that do operations one after the other: steps, peers, and what the guest prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from query_samples import answers

from kvmtrace.errors import InputError
from kvmtrace.generating import run_of, store_run
from kvmtrace.ingesting import Order
from kvmtrace.store.connection import StoreConnection
from kvmtrace.synth import model_file
from kvmtrace.synth.engines import operation_steps, operation_timeline
from kvmtrace.synth.engines.operation_steps import Streams
from kvmtrace.synth.engines.operation_workload import GIVEN
from kvmtrace.synth.engines.vmexit_loop import printed_cycles
from kvmtrace.synth.exit_scripts import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.engines.operation_workload import OperationLoopSetting
    from kvmtrace.synth.model_file import Model

Event = tuple[int, int, str, dict[str, int]]
"""Time in nanoseconds, vCPU of the thread, event, fields."""

HEAD = """
purpose = "a test"
engine = "operation-loop"
[[source]]
document = "none"
figures = "none"
[platform]
arch = "x86_64"
isa = "ISA"
cpu = "made"
kernel = "KERNEL"
clock_hz = 1_000_000_000
cpus = 8
vcpus = VCPUS
[effect]
scope = "local"
because = "a test"
[variants.off]
what = "without"
[variants.on]
what = "with"
[exits.cpuid]
reason = "CPUID"
cost = { mean = 2, unit = "us" }
[exits.msr]
reason = "MSR_READ"
cost = { mean = 3, unit = "us" }
"""
IPIS = """
[exits.send]
reason = "npf"
cost = { mean = 4, min = 3, max = 9, unit = "us" }
events = [
  { event = "kvm:kvm_apic_ipi", at = 0.5, fields = { icr_low = 0xfd, dest_id = "$peer" } },
  { event = "kvm:kvm_apic_accept_irq", at = 0.6, fields = { apicid = "$peer", vec = 0xfd } },
]
[exits.kicked]
reason = "interrupt"
cost = { mean = 2, min = 1, max = 5, unit = "us" }
events = [{ event = "kvm:kvm_inj_virq", at = 0.8, fields = { vector = 0xfd, irq = 0xfd } }]
[exits.halted]
reason = "hlt"
cost = { mean = 5, unit = "us" }
events = [
  { event = "kvm:kvm_vcpu_wakeup", at = 0.4, fields = { ns = "$waited_ns", waited = 1, valid = 1 } },
  { event = "kvm:kvm_inj_virq", at = 0.8, fields = { vector = 0xfd, irq = 0xfd } },
]
[exits.eoi]
reason = "npf"
cost = { mean = 1, unit = "us" }
events = [{ event = "kvm:kvm_eoi", at = 0.5, fields = { apicid = "$self", vector = 0xfd } }]
[workload.operations.to-running]
weight = 2
steps = [
  { guest = { mean = 1, unit = "us" } },
  { exit = "send" },
  { interrupts = "kicked", after = { mean = 0.5, unit = "us" } },
  { interrupts = "eoi", after = { mean = 0.7, unit = "us" } },
  { guest = { mean = 30, min = 20, max = 60, unit = "us" } },
]
[workload.operations.to-halted]
steps = [
  { guest = { mean = 1, unit = "us" } },
  { exit = "send" },
  { wakes = "halted", since = { mean = 12, unit = "us" } },
  { interrupts = "eoi", after = { mean = 0.7, unit = "us" } },
  { guest = { mean = 30, min = 20, max = 60, unit = "us" } },
]
"""


def model_of(text: str, kernel: str = "5.7.0", isa: str = "VMX", vcpus: int = 1) -> Model:
    head = HEAD.replace("KERNEL", kernel).replace("ISA", isa).replace("VCPUS", str(vcpus))
    if isa == "SVM":
        head = head.replace('"CPUID"', '"cpuid"').replace('"MSR_READ"', '"msr"')
    return model_file.parse(head + text, Path("made.toml"))


def ipi_model(vcpus: int = 4) -> Model:
    return model_of(IPIS, kernel="5.8.0", isa="SVM", vcpus=vcpus)


def events_of(model: Model, seconds: float, variant: str = "off") -> list[Event]:
    return list(_events(model, seconds, variant))


def _events(model: Model, seconds: float, variant: str) -> Iterator[Event]:
    recording: Any = model.engine.contents(run_of(model, variant, seconds=seconds))[0]
    kinds = recording.facts.events
    for block in recording.blocks():
        records: dict[int, dict[str, int]] = {}
        for number, rows in block.rows.items():
            columns = {name: column.to_pylist() for name, column in block.fields[number].arrow().items()}
            for place, row in enumerate(rows.tolist()):
                records[row] = {name: values[place] for name, values in columns.items()}
        for row, (ts_ns, tid, kind) in enumerate(
            zip(block.ts_ns.tolist(), block.tid.tolist(), block.kind.tolist(), strict=True)
        ):
            yield ts_ns, tid % 10_000 - 10, kinds[kind].name, records[row]


def of_vcpu(events: Sequence[Event], vcpu: int) -> list[Event]:
    return [event for event in events if event[1] == vcpu]


def starts(events: Sequence[Event], reason: int) -> list[int]:
    return [ts for ts, _, name, fields in events if name == "kvm_exit" and fields["exit_reason"] == reason]


def printed(model: Model, benchmark: str, variant: str = "off") -> int:
    setting: Any = model.setting(variant)
    chosen: OperationLoopSetting = setting
    steps = operation_steps.OperationSteps(chosen, compiled(chosen, GIVEN))
    return printed_cycles(chosen.workload.benchmarks[benchmark], chosen, steps, Streams(1, "a test"))


# --- steps ---

CPUID, MSR_READ = 10, 31


def test_steps_follow_each_other_for_as_long_as_each_takes() -> None:
    model = model_of("""
[workload.operations.both]
steps = [
  { guest = { mean = 5, unit = "us" } }, { exit = "cpuid" }, { guest = { mean = 7, unit = "us" } }, { exit = "msr" },
]
""")
    events = events_of(model, 0.001)
    assert [name for _, _, name, _ in events[:4]] == ["kvm_exit", "kvm_entry", "kvm_exit", "kvm_entry"]
    first = events[0][0]
    assert [ts - first for ts, *_ in events[:5]] == [0, 2_000, 9_000, 12_000, 17_000]
    assert np.diff(starts(events, CPUID)).tolist() == [17_000] * (len(starts(events, CPUID)) - 1)


def test_a_step_is_done_as_many_times_as_it_says() -> None:
    model = model_of("""
[workload.operations.both]
steps = [{ exit = "cpuid", times = 3 }, { guest = { mean = 1, unit = "us" } }, { exit = "msr" }]
""")
    reasons = [fields["exit_reason"] for _, _, name, fields in events_of(model, 0.0001) if name == "kvm_exit"]
    assert reasons[:8] == [CPUID, CPUID, CPUID, MSR_READ] * 2


def test_operations_are_as_frequent_as_their_weights() -> None:
    model = model_of("""
[workload.operations.often]
weight = 3
steps = [{ exit = "cpuid" }]
[workload.operations.seldom]
steps = [{ exit = "msr" }]
[workload.operations.never]
weight = 0
steps = [{ exit = "msr", times = 1000 }]
""")
    events = events_of(model, 0.02)
    often, seldom = len(starts(events, CPUID)), len(starts(events, MSR_READ))
    assert often / (often + seldom) == pytest.approx(0.75, abs=0.02)


def test_named_costs_come_on_top_and_alone_are_time_in_the_guest() -> None:
    model = model_of("""
[workload.costs.part]
mean = 400
unit = "ns"
[workload.operations.one]
steps = [
  { plus = ["part", "part"] },
  { guest = { mean = 1, unit = "us" }, plus = ["part"] },
  { exit = "cpuid", plus = ["part"] },
]
""")
    events = events_of(model, 0.0001)
    assert events[1][0] - events[0][0] == 2_400
    assert events[2][0] - events[1][0] == 2_200


def test_time_until_a_deadline_counts_from_the_operations_beginning_and_not_below_0() -> None:
    text = """
[workload.operations.timer]
steps = [
  { guest = { mean = 1, unit = "us" } }, { exit = "cpuid" },
  { until = { mean = DEADLINE, unit = "us" } }, { exit = "msr" },
]
"""
    late = events_of(model_of(text.replace("DEADLINE", "10")), 0.0002)
    assert starts(late, MSR_READ)[0] - starts(late, CPUID)[0] == 9_000
    assert np.diff(starts(late, MSR_READ)).tolist()[:3] == [13_000] * 3
    passed = events_of(model_of(text.replace("DEADLINE", "2")), 0.0002)
    assert starts(passed, MSR_READ)[0] - starts(passed, CPUID)[0] == 2_000


def test_a_sequence_fires_before_the_exit_that_it_leads_to() -> None:
    model = model_of(
        """
[sequences.early]
span = { mean = 2, unit = "us" }
events = [{ event = "kvm:kvm_apic_accept_irq", at = 0.5, fields = { apicid = "$peer", vec = 0xfd } }]
[workload.operations.send]
steps = [{ guest = { mean = 3, unit = "us" } }, { events = "early" }, { exit = "cpuid" }]
""",
        vcpus=3,
    )
    events = of_vcpu(events_of(model, 0.0001), 1)
    assert [name for _, _, name, _ in events[:3]] == ["kvm_apic_accept_irq", "kvm_exit", "kvm_entry"]
    assert events[1][0] - events[0][0] == 1_000
    assert events[0][3]["apicid"] == 2


def test_the_peer_of_the_last_vcpu_is_the_first() -> None:
    text = """
[exits.send]
reason = "MSR_WRITE"
cost = { mean = 2, unit = "us" }
events = [{ event = "kvm:kvm_msr", at = 0.5, fields = { write = 1, ecx = 0x830, data = "$icr" } }]
[workload.operations.send]
steps = [{ guest = { mean = 3, unit = "us" } }, { exit = "send" }]
"""
    events = events_of(model_of(text, vcpus=3), 0.0001)
    data = {vcpu: fields["data"] for _, vcpu, name, fields in events if name == "kvm_msr"}
    assert data == {0: 1 << 32 | 0xFD, 1: 2 << 32 | 0xFD, 2: 0xFD}


def test_an_exit_without_an_entry_is_closed_by_the_next(tmp_path: Path) -> None:
    text = """
[exits.fast]
reason = "MSR_WRITE"
cost = { mean = 1, unit = "us" }
entry = false
[workload.operations.one]
steps = [{ guest = { mean = 1, unit = "us" } }, { exit = "fast" }]
[workload.operations.slow]
steps = [{ guest = { mean = 1, unit = "us" } }, { exit = "cpuid" }]
"""
    rows = stored(
        model_of(text, kernel="5.8.0"), tmp_path, "SELECT reason, closed_by, suspect, count(*) FROM exits GROUP BY ALL"
    )
    assert {row[:3] for row in rows} >= {("MSR_WRITE", "next_exit", False), ("CPUID", "entry", False)}
    assert not [row for row in rows if row[0] == "MSR_WRITE" and row[1] == "entry"]
    assert not [row for row in rows if row[2]]


# --- peers ---


def stored(model: Model, folder: Path, sql: str, seconds: float = 0.005) -> list[tuple[Any, ...]]:
    store_run(model, run_of(model, "off", seconds=seconds), Order(folder / "store"))
    with StoreConnection(folder / "store") as connection:
        return [tuple(row) for row in connection.query(sql).rows]


def test_a_peer_takes_an_interrupt_after_it_was_sent() -> None:
    events = events_of(ipi_model(), 0.01)
    for sender in (0, 2):
        sent = [ts for ts, _, name, _ in of_vcpu(events, sender) if name == "kvm_apic_accept_irq"]
        taken = [ts for ts, _, name, _ in of_vcpu(events, sender + 1) if name == "kvm_inj_virq"]
        assert len(sent) > 100
        assert 0 <= len(sent) - len(taken) <= 1
        assert all(after > before for before, after in zip(sent, taken, strict=False))
        assert all(after < following for after, following in zip(taken, sent[1:], strict=False))


def test_a_peer_that_runs_exits_after_the_accept_and_ends_the_interrupt_later() -> None:
    events = events_of(ipi_model(), 0.01)
    accepts = np.array([ts for ts, vcpu, name, _ in events if name == "kvm_apic_accept_irq" and vcpu == 0])
    kicks = np.array(starts(of_vcpu(events, 1), 0x60))
    before = accepts[np.searchsorted(accepts, kicks) - 1]
    assert ((kicks - before > 0) & (kicks - before < 10_000)).all()
    names = [name for _, _, name, _ in of_vcpu(events, 1) if name in ("kvm_inj_virq", "kvm_eoi")]
    assert names[:6] == ["kvm_inj_virq", "kvm_eoi"] * 3


def test_a_peer_that_waits_has_begun_before_and_is_woken_after() -> None:
    events = events_of(ipi_model(), 0.01)
    mine = of_vcpu(events, 1)
    accepts = np.array([ts for ts, _, name, _ in of_vcpu(events, 0) if name == "kvm_apic_accept_irq"])
    halts = np.array(starts(mine, 0x78))
    woken = [(ts, fields["ns"]) for ts, _, name, fields in mine if name == "kvm_vcpu_wakeup"]
    assert len(woken) > 50
    for halt, (ts, waited) in list(zip(halts, woken, strict=False))[1:]:  # the first may begin with the recording
        told = accepts[np.searchsorted(accepts, ts) - 1]
        assert halt < told < ts
        assert waited == pytest.approx(12_000, abs=1)
        assert ts - halt == pytest.approx(waited + 0.4 * 5_000, abs=2)


def test_a_peer_that_waits_may_have_begun_so_long_after_its_last_entry() -> None:
    after = IPIS.replace("since = { mean = 12", "after = { mean = 4")
    events = of_vcpu(events_of(model_of(after, "5.8.0", "SVM", 2), 0.005), 1)
    entries = np.array([ts for ts, _, name, _ in events if name == "kvm_entry"])
    halts = np.array(starts(events, 0x78))
    before = entries[np.searchsorted(entries, halts[1:]) - 1]
    assert np.abs(halts[1:] - before - 4_000).max() <= 1


def test_the_chain_of_every_ipi_is_whole(tmp_path: Path) -> None:
    model = ipi_model()
    store_run(model, run_of(model, "off", seconds=0.005), Order(tmp_path / "store"))
    chains = answers(tmp_path / "store", "ipi-chain")
    status = Counter(row["status"] for row in chains)
    assert status["injected"] > 200
    assert status["injected"] >= len(chains) - 2  # the last of both senders may be cut
    injected = [row for row in chains if row["status"] == "injected"]
    assert all(row["vcpu"] == row["sender_vcpu"] + 1 for row in injected)
    assert all(row["exit_ts_ns"] < row["accept_ts_ns"] < row["inject_ts_ns"] for row in injected)


def test_peers_need_an_even_number_of_vcpus() -> None:
    with pytest.raises(InputError, match="even number of vCPUs"):
        ipi_model(vcpus=3)


# --- the whole ---


@pytest.mark.parametrize("steps_of_round", [64, 1_000, 1 << 16])
def test_how_much_is_done_at_once_changes_nothing(steps_of_round: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = IPIS.replace("vector = 0xfd } }]", "vector = { choose = [3, 4, 5] } } }]", 1).replace(
        "at = 0.8,", "at = 0.8, chance = 0.7,"
    )
    usual = events_of(model_of(text, "5.8.0", "SVM", 4), 0.01)
    monkeypatch.setattr(operation_timeline, "_STEPS_OF_ROUND", steps_of_round)
    changed = events_of(model_of(text, "5.8.0", "SVM", 4), 0.01)
    for vcpu in range(4):
        assert of_vcpu(changed, vcpu) == of_vcpu(usual, vcpu)
    assert [ts for ts, *_ in changed] == [ts for ts, *_ in usual]


def without_benchmarks(run: Run) -> Run:
    workload: Any = run.setting.workload
    silent = workload.model_copy(update={"benchmarks": {}})
    return replace(run, setting=run.setting.model_copy(update={"workload": silent}))


@pytest.mark.parametrize("name", ["mmio-eventfd", "ipi-fastpath", "tscdeadline-fastpath", "ipi-avic"])
def test_the_models_events_are_in_order_and_their_exits_in_turn(name: str, tmp_path: Path) -> None:
    model = model_file.find(name)
    for variant in model.settings:
        run = without_benchmarks(run_of(model, variant, seconds=0.002))
        recording: Any = model.engine.contents(run)[0]
        last = 0
        for block in recording.blocks():
            assert (np.diff(block.ts_ns) >= 0).all()
            if len(block.ts_ns):  # a stretch of time may hold nothing
                assert block.ts_ns[0] >= last
                last = block.ts_ns[-1]
        store_run(model, run, Order(tmp_path / variant))
        with StoreConnection(tmp_path / variant) as connection:
            [[exits, open_ones, suspect]] = connection.query(
                "SELECT count(*), count(*) FILTER (closed_by = 'end'), count(*) FILTER (suspect) FROM exits"
            ).rows
            [[lost]] = connection.query("SELECT sum(lost_events) FROM runs").rows
        assert exits > 100
        assert open_ones <= run.setting.platform.vcpus
        assert (suspect, lost or 0) == (0, 0)


# --- what the guest prints ---

BENCHMARK = """
[exits.write]
reason = "MSR_WRITE"
cost = { mean = 1000, unit = "cycles" }
events = [{ event = "kvm:kvm_msr", at = 0.25, fields = { write = 1, ecx = 0x6e0 } }]
[workload.operations.one]
steps = [{ guest = { mean = 100.5, unit = "cycles" } }, { exit = "write", times = 2 }]
[workload.benchmarks."a name: of the source"]
operation = "one"
goal_cycles = GOAL
"""


def test_the_printed_cycles_are_those_of_an_operation_cut_to_whole_ones() -> None:
    assert printed(model_of(BENCHMARK.replace("GOAL", "1_000_000")), "a name: of the source") == 2_100


def test_iterations_double_until_they_take_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    drawn = operation_steps.OperationSteps.drawn

    def counted(self: Any, operations: Any, streams: Any) -> Any:  # noqa: ANN401
        done.append(len(operations))
        return drawn(self, operations, streams)

    monkeypatch.setattr(operation_steps.OperationSteps, "drawn", counted)
    printed(model_of(BENCHMARK.replace("GOAL", "33_000")), "a name: of the source")
    assert done == [2, 4, 8, 16]


def test_a_benchmark_may_end_at_an_event() -> None:
    text = BENCHMARK.replace("GOAL", '1_000_000\nuntil = "kvm:kvm_msr"')
    assert printed(model_of(text), "a name: of the source") == 350


def test_the_printed_figures_are_in_the_store(tmp_path: Path) -> None:
    rows = stored(
        model_of(BENCHMARK.replace("GOAL", "1_000_000")), tmp_path, "SELECT name, value, unit FROM benchmarks"
    )
    assert rows == [("a name: of the source", 2_100.0, "cycles")]


# --- errors of a file ---


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ('{ exit = "cpui" }', "unknown exit 'cpui': did you mean cpuid"),
        ('{ events = "cpuid" }', "unknown sequence 'cpuid'"),
        ('{ exit = "cpuid", plus = ["part"] }', "unknown cost 'part'"),
        ('{ exit = "cpuid", events = "cpuid" }', "expected one of guest, until"),
        ("{ times = 2 }", "expected one of guest, until"),
        ('{ wakes = "cpuid" }', "wakes and one of after and since"),
        ('{ exit = "cpuid", after = { mean = 1, unit = "us" } }', "wakes and one of after and since"),
        ('{ until = { mean = 1, unit = "us" }, plus = ["given"] }', "expected plus beside"),
        ('{ exit = "cpuid", unseen = "x" }', "only time in the guest can be unseen"),
    ],
)
def test_a_wrong_step_is_an_error_with_its_place(step: str, message: str) -> None:
    with pytest.raises(InputError, match="made") as raised:
        model_of(
            f"[workload.costs.given]\nmean = 1\nunit = 'us'\n"
            f"[workload.operations.one]\nsteps = [{{ exit = 'msr' }},\n{step}]\n"
        )
    assert message in str(raised.value)
