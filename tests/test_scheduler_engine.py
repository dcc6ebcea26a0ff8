"""The scheduler engine: fairness, the lock's order, shootdowns that wait for all, directed yields, determinism."""

from __future__ import annotations

import pytest

from kvmtrace.synth.engines.scheduler.fair import ACKS, SPIN, WORK, RunQueue, Vcpu, Vm
from kvmtrace.synth.engines.scheduler.host import Host
from kvmtrace.synth.engines.scheduler.parameters import EXITS, Parameters, Policy
from kvmtrace.synth.engines.scheduler.simulation import Simulation

MS_NS = 10**6
ALONE = Parameters(
    vcpus=4,
    vms=1,
    busy_vcpus=(),
    exit_ns=(1_500, 2_000, 2_000, 2_000, 2_860, 1_500),
    stacked=0,
    busy_step=0,
    sockets=1,
    latency_ns=24_000_000,
    min_granularity_ns=3_000_000,
    wakeup_granularity_ns=4_000_000,
    sleeper_credit_ns=12_000_000,
    tick_ns=4_000_000,
    switch_ns=1_500,
    wake_ns=2_000,
    waker_ns=1_000,
    host_task_ns=0,
    host_task_gap_ns=10_000_000,
    ple_window_ns=2_000,
    ple_window_max_ns=200_000,
    work_ns=2_000_000,
    kernel_percent=90,
    rounds=1,
    hold_ns=4_000,
    shootdown_every=1,
    locked_shootdown=False,
    ipi_handle_ns=1_700,
    icr_gap_ns=200,
    ipi_cluster=16,
    spin_threshold_ns=2_700_000,
    first_check_ns=500,
    next_check_ns=8_500,
)
BOTH = Policy(boost_ipi=True, boost_queue_head=True)


def replace(parameters: Parameters, **values: object) -> Parameters:
    return parameters.model_copy(update=values)


def simulated(parameters: Parameters, policy: Policy = BOTH, *, ms: int, seed: int = 1) -> Simulation:
    simulation = Simulation(parameters, policy, seed)
    simulation.run(ms * MS_NS)
    return simulation


def exits_of(simulation: Simulation, name: str) -> int:
    return sum(vcpu.reasons.count(EXITS.index(name)) for vcpu in simulation.vcpus)


def ran_ns(simulation: Simulation, number: int) -> int:
    """Return how long a thread was the current one of its CPU."""
    total = 0
    for queue in simulation.queues:
        for switch, after in zip(queue.switches, queue.switches[1:], strict=False):
            total += (after.at_ns - switch.at_ns) * (switch.next == number)
    return total


def test_busy_vcpus_of_three_vms_share_a_cpu_equally() -> None:
    parameters = replace(ALONE, vcpus=1, vms=0, busy_vcpus=(1, 1, 1))
    simulation = simulated(parameters, ms=3000)
    shares = [ran_ns(simulation, number) / (3000 * MS_NS) for number in range(3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_woken_thread_preempts_only_one_that_is_far_ahead() -> None:
    queue = RunQueue(0, ALONE)
    runs, woken = Vcpu(0, Vm(), queue, WORK), Vcpu(1, Vm(), queue, WORK)
    queue.current = runs
    woken.vruntime_ns = 0
    runs.vruntime_ns = ALONE.wakeup_granularity_ns
    assert not queue.preempts(woken)
    runs.vruntime_ns += 1
    assert queue.preempts(woken)


def test_a_sleeper_has_no_more_credit_than_its_share() -> None:
    queue = RunQueue(0, ALONE)
    queue.min_vruntime_ns = 10**9
    woken = Vcpu(0, Vm(), queue, WORK)
    queue.add_woken(woken)
    assert woken.vruntime_ns == 10**9 - ALONE.sleeper_credit_ns


def test_a_yield_is_refused_where_it_would_be_too_unfair() -> None:
    queue = RunQueue(0, ALONE)
    first, target = Vcpu(0, Vm(), queue, WORK), Vcpu(1, Vm(), queue, WORK)
    queue.waiting = [first, target]
    target.vruntime_ns = ALONE.wakeup_granularity_ns
    queue.next = target
    assert queue.picked() is target
    target.vruntime_ns += 1
    queue.next = target
    assert queue.picked() is first


def test_the_lock_is_taken_in_order_of_arrival() -> None:
    parameters = replace(ALONE, vcpus=8, vms=2, work_ns=50_000)
    simulation = Simulation(parameters, BOTH, 1)
    queued: list[int] = []
    for now_ns in range(0, 60 * MS_NS, 10_000):
        simulation.run(now_ns)
        waits = []
        vcpu = simulation.vms[0].head
        while vcpu is not None:
            assert vcpu.phase == SPIN
            waits.append(vcpu.number)
            vcpu = vcpu.next
        stayed = [number for number in queued if number in waits]
        assert waits[: len(stayed)] == stayed == queued[len(queued) - len(stayed) :]
        queued = waits
    assert simulation.vms[0].records > 50


def test_a_shootdown_ends_only_when_every_target_has_answered() -> None:
    parameters = replace(ALONE, vcpus=8, vms=2, locked_shootdown=True)
    simulation = Simulation(parameters, Policy(), 1)
    waited = 0
    for now_ns in range(0, 40 * MS_NS, 20_000):
        simulation.run(now_ns)
        for vm in simulation.vms:
            holder = vm.holder
            if holder is not None and holder.phase == ACKS:
                owing = [vcpu for vcpu in vm.vcpus if holder in vcpu.pending]
                assert len(owing) == holder.acks
                assert not any(vcpu.running for vcpu in owing)
                waited += len(owing)
    assert waited > 0


def test_exits_and_switches_of_a_thread_are_in_order() -> None:
    simulation = simulated(replace(ALONE, vcpus=8, vms=3, host_task_ns=100_000), ms=100)
    for vcpu in simulation.vcpus:
        both = [time for pair in zip(vcpu.exits, vcpu.entries, strict=False) for time in pair]
        assert both == sorted(both)
        assert 0 <= len(vcpu.exits) - len(vcpu.entries) <= 1
    for queue in simulation.queues:
        for switch, after in zip(queue.switches, queue.switches[1:], strict=False):
            assert switch.at_ns < after.at_ns
            assert switch.next == after.previous


def test_nobody_yields_where_every_vcpu_has_a_cpu() -> None:
    simulation = simulated(ALONE, ms=50)
    assert all(len(queue.switches) < 5000 for queue in simulation.queues)
    assert {switch.state for queue in simulation.queues for switch in queue.switches} <= {0, 1}


def test_each_record_writes_the_icr_once_for_each_cluster() -> None:
    simulation = simulated(replace(ALONE, vcpus=8, ipi_cluster=3), ms=50)
    records = sum(simulation.records())
    assert records > 100
    assert 0 <= exits_of(simulation, "icr-write") - 3 * records < 3 * 8


def test_yields_to_ipi_targets_are_hypercalls() -> None:
    parameters = replace(ALONE, vcpus=8, busy_vcpus=(2,), locked_shootdown=True, wakeup_granularity_ns=12_000_000)
    without = simulated(parameters, Policy(), ms=400)
    yields = simulated(parameters, Policy(yield_to_ipi_target=True), ms=400)
    assert exits_of(without, "sched-yield") == 0
    assert exits_of(yields, "sched-yield") > 0
    assert sum(yields.records()) > sum(without.records())


def test_boosting_makes_overcommitted_vms_faster() -> None:
    host = replace(ALONE, latency_ns=4 * MS_NS, tick_ns=MS_NS, sleeper_credit_ns=MS_NS, ple_window_ns=40_000)
    parameters = replace(host, vcpus=16, busy_vcpus=(6,), rounds=4, work_ns=600_000)
    off, boosted = (sum(simulated(parameters, policy, ms=300).records()) for policy in (Policy(), BOTH))
    assert boosted > off


@pytest.mark.parametrize(
    ("preempted", "ready", "in_kernel", "pending", "off", "boosted"),
    [
        (True, True, True, False, True, True),
        (True, True, False, False, False, False),
        (True, True, False, True, False, False),
        (False, True, False, True, False, True),
        (False, False, True, True, False, False),
    ],
    ids=["preempted in the kernel", "preempted in user mode", "and interrupted", "woken", "halted"],
)
def test_who_may_be_yielded_to(
    *, preempted: bool, ready: bool, in_kernel: bool, pending: bool, off: bool, boosted: bool
) -> None:
    for policy, yielded in ((Policy(), off), (Policy(boost_ipi=True), boosted)):
        host = Host(ALONE, policy)
        queue = RunQueue(0, ALONE)
        vcpu = Vcpu(0, Vm(), queue, WORK)
        vcpu.preempted, vcpu.ready, vcpu.in_kernel = preempted, ready, in_kernel
        if pending:
            vcpu.pending.append(Vcpu(1, vcpu.vm, queue, ACKS))
        assert host.is_candidate(vcpu) is yielded


def test_who_spun_itself_is_yielded_to_every_other_time() -> None:
    host = Host(ALONE, Policy())
    vcpu = Vcpu(0, Vm(), RunQueue(0, ALONE), SPIN)
    vcpu.preempted = vcpu.ready = vcpu.in_kernel = vcpu.in_spin = True
    assert [host.is_candidate(vcpu) for _ in range(4)] == [False, True, False, True]


def test_only_some_records_end_with_a_shootdown() -> None:
    simulation = simulated(replace(ALONE, vcpus=8, ipi_cluster=8, shootdown_every=4), ms=200)
    records = sum(simulation.records())
    assert abs(exits_of(simulation, "icr-write") - records / 4) <= 8


def test_cpus_of_a_socket_are_in_a_row() -> None:
    parameters = replace(ALONE, vcpus=4, sockets=2)
    assert [parameters.same_socket(1, cpu) for cpu in range(4)] == [True, True, False, False]


def test_a_seed_decides_all() -> None:
    parameters = replace(ALONE, vcpus=8, vms=2)
    once, again, other = (simulated(parameters, ms=50, seed=seed) for seed in (1, 1, 2))
    assert [vcpu.exits for vcpu in once.vcpus] == [vcpu.exits for vcpu in again.vcpus]
    assert [vcpu.exits for vcpu in once.vcpus] != [vcpu.exits for vcpu in other.vcpus]


def test_it_does_not_matter_how_often_a_run_stops() -> None:
    parameters = replace(ALONE, vcpus=8, vms=2)
    whole = simulated(parameters, ms=50)
    parts = Simulation(parameters, BOTH, 1)
    for ms in range(1, 51):
        parts.run(ms * MS_NS)
    assert [vcpu.exits for vcpu in whole.vcpus] == [vcpu.exits for vcpu in parts.vcpus]


@pytest.mark.parametrize("number", range(len(EXITS)))
def test_a_cost_that_is_a_tenth_higher_moves_the_result(number: int) -> None:
    policy = BOTH.model_copy(update={"yield_to_ipi_target": True})
    parameters = replace(ALONE, vcpus=8, vms=2, rounds=2)
    costs = list(parameters.exit_ns)
    costs[number] += costs[number] // 10
    before = simulated(parameters, policy, ms=60)
    after = simulated(replace(parameters, exit_ns=tuple(costs)), policy, ms=60)
    assert [vcpu.exits for vcpu in before.vcpus] != [vcpu.exits for vcpu in after.vcpus]
