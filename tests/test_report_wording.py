"""What a report says beside its figures."""

from __future__ import annotations

from typing import Any

import pytest
import report_samples as samples

from kvmtrace.exit_keys import By, Key
from kvmtrace.report import circumstances, text, wording
from kvmtrace.report.summary import Counter
from kvmtrace.store.manifest import Lost, StoredNote, Tracepoint


def test_a_sound_recording_has_no_warnings() -> None:
    assert wording.warnings(samples.exits(lost=())) == []


def test_lost_events_are_told_with_their_teller_records_and_cpus() -> None:
    assert wording.warnings(samples.exits()) == ["Lost events: 3,521 (LOST, 36 records, CPU 0 and 1)."]


def test_two_tellers_of_losses_are_never_added_up() -> None:
    lost = (Lost("LOST", 0, 3000, 1, 5, 9), Lost("LOST_SAMPLES", 0, 3100, 2, 5, 9), Lost("LOST", 1, 21, 1, 5, 9))
    [warning] = wording.warnings(samples.exits(lost=lost))
    assert warning == (
        "Lost events: 3,021 (LOST, 2 records, CPU 0 and 1) and 3,100 (LOST_SAMPLES, 2 records, CPU 0): "
        "perhaps the same events told twice, so not added up."
    )


def test_losses_without_a_time_are_said_to_make_no_exit_suspect() -> None:
    [told, untimed] = wording.warnings(samples.exits(lost=(Lost("LOST", None, 1, 1, None, None),)))
    assert told == "Lost events: 1 (LOST, 1 record, CPU not recorded)."
    assert untimed.startswith("When some of them were lost is not recorded")


def test_many_cpus_are_not_all_listed() -> None:
    lost = tuple(Lost("LOST", cpu, 1, 1, 5, 9) for cpu in range(64))
    assert "CPU 0, 1, 2, 3, 4, 5 and 58 more" in wording.warnings(samples.exits(lost=lost))[0]


@pytest.mark.parametrize(("period", "told"), [(100, "1 in 100"), (0, "1 in a varying number")])
def test_sampled_tracepoints_are_warned_of(period: int, told: str) -> None:
    tracepoints = (Tracepoint("kvm", "kvm_exit", 10, 10, period), Tracepoint("kvm", "kvm_entry", 10, 10))
    [warning] = wording.warnings(samples.exits(lost=(), tracepoints=tracepoints))
    assert f"kvm:kvm_exit ({told})" in warning
    assert "kvm_entry" not in warning


def test_trouble_in_the_source_is_summed_up() -> None:
    facts: dict[str, Any] = {
        "lost": (),
        "notes": (StoredNote("offset 1234", "expected a record, found \x1b", 3), StoredNote("offset 2000", "cut")),
        "notes_dropped": 5,
        "not_stored": {"events without a format": 3, "nothing": 0},
    }
    assert wording.warnings(samples.exits(**facts)) == [
        "Trouble in the source: 7 notes; the first at offset 1234: expected a record, found \x1b.",
        "Events of the source that are not stored: 3 (events without a format).",
    ]
    assert "\x1b" not in text.render([samples.exits(**facts)])


@pytest.mark.parametrize(
    ("tracepoints", "told"),
    [
        (samples.NO_EXIT_EVENTS, "kvm:kvm_exit was not recorded (it was not enabled)"),
        ((Tracepoint("kvm", "kvm_exit", 0, 0),), "kvm:kvm_exit was enabled and never fired"),
        ((Tracepoint("kvm", "kvm_exit", 7, 0),), "none of the 7 events of kvm:kvm_exit could be read"),
        ((), "does not tell which tracepoints were enabled"),
    ],
)
def test_a_recording_without_exits_says_why(tracepoints: tuple[Tracepoint, ...], told: str) -> None:
    [warning] = wording.warnings(samples.no_exits(tracepoints=tracepoints))
    assert warning.startswith("No exits: ")
    assert told in warning


def test_where_only_fired_tracepoints_are_told_no_other_is_said_to_have_been_off() -> None:
    summary = samples.no_exits(tells_enabled=False)
    assert wording.warnings(summary) == [
        "No exits: kvm:kvm_exit was not recorded (it never fired, or was not enabled)."
    ]
    assert wording.footnotes(summary) == ["What is not listed never fired, or was not enabled."]
    shown = text.render([summary])
    assert "3 tracepoints fired, 4,000,001 events; which others were enabled is not told" in shown
    unrecorded = samples.exits(
        rows=[samples.bucket_row(Key("io"), [1000], userspace=None)], tracepoints=(), tells_enabled=False
    )
    assert "(kvm:kvm_userspace_exit never fired, or was not enabled)" in text.render([unrecorded])


def test_the_other_recordings_of_a_session_are_named() -> None:
    guests = [{"name": "debian", "trace_id": "0x2", "vcpus": {"0": 7}}, {"name": "suse", "trace_id": "0x3"}]
    host = samples.exits(session={"trace_id": "0x1", "guests": guests})
    assert "session  " in text.render([host])
    assert circumstances.session_told(host.manifest) == "trace 0x1; guests debian 0x2 and suse 0x3"
    guest = samples.exits(session={"trace_id": "0x2", "peer_trace_id": "0x1"})
    assert circumstances.session_told(guest.manifest) == "trace 0x2; host 0x1"
    assert circumstances.session_told(samples.exits(session={"trace_id": "0x1"}).manifest) is None


def test_entries_are_those_of_the_tracepoints_where_no_architecture_is_told() -> None:
    untimed = [samples.bucket_row(Key("H_DATA_STORAGE"), [], n=10)]
    names = (("kvm_hv", "kvm_guest_exit"), ("kvm_hv", "kvm_guest_enter"))
    tracepoints = tuple(Tracepoint(*name, 10, 10) for name in names)
    assert wording.warnings(samples.exits(rows=untimed, lost=(), host={}, tracepoints=tracepoints)) == []


def test_exits_without_recorded_entries_say_why_they_have_no_latency() -> None:
    untimed = [samples.bucket_row(Key("msr"), [], n=10)]
    tracepoints = (Tracepoint("kvm", "kvm_exit", 10, 10),)
    assert wording.warnings(samples.exits(rows=untimed, lost=(), tracepoints=tracepoints)) == [
        "No latencies: kvm:kvm_entry was not recorded (it was not enabled)."
    ]
    assert wording.warnings(samples.exits(rows=untimed, lost=())) == []


def test_unrecorded_exits_to_userspace_are_said_and_never_shown_as_0() -> None:
    summary = samples.exits(rows=[samples.bucket_row(Key("io"), [1000], userspace=None)], tracepoints=())
    shown = text.render([summary])
    assert "Exits to userspace: not recorded (kvm:kvm_userspace_exit was not enabled)." in shown
    assert "userspace  " not in shown
    assert "  userspace  " in text.render([samples.exits()])


def test_exits_without_a_latency_are_explained_only_where_the_manifest_counts_the_same() -> None:
    def told(**closed: int) -> str:
        [footnote] = [f for f in wording.footnotes(samples.exits(exits=closed)) if "without a latency" in f]
        return footnote

    assert told(closed_by_end=1).endswith("(1 open at the end of the recording).")
    assert told(closed_by_end=1, closed_by_next_exit=4).endswith("outside latency figures.")


def test_vcpus_of_several_vms_counted_together_are_said_so() -> None:
    together = [samples.bucket_row(Key(vcpu=0), [1000])._replace(several_vms=True)]
    assert any("--by vm" in f for f in wording.footnotes(samples.exits(By.VCPU, rows=together)))
    assert not any("--by vm" in f for f in wording.footnotes(samples.exits(By.VCPU, By.VM, rows=together)))


def test_details_that_were_too_many_are_said_to_need_exact() -> None:
    assert any("--exact reads every exit" in f for f in wording.footnotes(samples.exits(By.DETAIL)))
    assert not any("--exact reads every exit" in f for f in wording.footnotes(samples.exits()))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"enabled_ns": 3_000_000_000},
            "3.000000 s enabled (rates are per second of it), 2.000000 s between the first and the last event",
        ),
        ({}, "2.000000 s between the first and the last event (rates are per second of it)"),
        ({"elapsed_ns": 0}, "0.000000 s between the first and the last event, so no rates"),
        ({"elapsed_ns": None}, "not recorded, so no rates"),
    ],
)
def test_the_time_that_rates_are_per_second_of_is_said(facts: dict[str, Any], told: str) -> None:
    summary = samples.exits(**facts)
    assert circumstances.time_told(summary.manifest, summary.rate_time) == told


def test_rates_use_the_enabled_time_where_it_is_told() -> None:
    both = samples.exits(enabled_ns=4_000_000_000)
    only_elapsed = samples.exits(elapsed_ns=4_000_000_000)
    for summary, which in ((both, "enabled"), (only_elapsed, "elapsed")):
        rate_time = summary.rate_time
        assert rate_time is not None
        assert (rate_time.which, rate_time.per_second(8)) == (which, 2.0)


def test_counters_per_injected_interrupt_are_of_the_same_scope() -> None:
    summary = samples.counters(
        Counter("CPU0", "kvm", "kvm_exit", None, None, 30.0, "counted"),
        Counter("CPU1", "kvm", "kvm_exit", None, None, 40.0, "counted"),
        Counter("CPU0", "kvm", "kvm_inj_virq", None, None, 10.0, "counted"),
        Counter("CPU1", "kvm", "kvm_inj_virq", None, None, 0.0, "counted"),
    )
    assert [summary.per_injection(counter) for counter in summary.counters] == [3.0, None, 1.0, None]


def test_exits_per_injected_interrupt_are_left_out_where_interrupts_were_not_recorded_or_sampled() -> None:
    assert samples.exits().injected_interrupts == 50
    for tracepoints in ((), (Tracepoint("kvm", "kvm_inj_virq", 5, 5, period=10),)):
        summary = samples.exits(tracepoints=tracepoints)
        assert summary.injected_interrupts is None
        assert "per injected interrupt" not in text.render([summary])


def test_counters_say_what_their_columns_are_of() -> None:
    summary = samples.counters(
        Counter(None, "kvm", "kvm_exit", None, None, 12.5, "counted", stderr_share=0.0125, repeats=5),
        Counter(None, "kvm", "kvm_pio", None, None, 9.0, "counted, not counted", source_rows=10, counted_rows=9),
    )
    shown = text.render([summary])
    assert "means of 5 repeats" in shown
    assert "sums over the intervals" in shown
    assert "9 of 10" in shown
    assert "12.50" in shown


def test_counters_of_intervals_are_rated_by_the_end_of_the_last_one_where_no_time_is_told() -> None:
    summary = samples.counters(
        Counter(None, "kvm", "kvm_exit", None, None, 10.0, "counted", source_rows=2, interval_end_ns=200_000_000),
        elapsed_ns=None,
    )
    assert summary.rate_time is not None
    assert (summary.rate_time.which, summary.rate_time.per_second(10)) == ("intervals", 50.0)
    assert "until the end of the last interval (rates are per second of it)" in text.render([summary])


@pytest.mark.parametrize(
    ("clock", "step_ns", "told"),
    [
        ("mono", 1, "mono"),
        (None, 1, None),
        (None, 1000, "not recorded, in steps of 1 µs"),
        ("local", 1000, "local, in steps of 1 µs"),
        ("uptime", 10_000_000, "uptime, in steps of 10 ms"),
    ],
)
def test_a_clock_says_how_coarse_it_is(clock: str | None, step_ns: int, told: str | None) -> None:
    assert circumstances.clock_told(samples.manifest(clock=clock, time_step_ns=step_ns)) == told


@pytest.mark.parametrize(
    ("host", "is_told"),
    [
        ({"arch": "ppc64le", "cpu": "POWER9, altivec supported", "kernel": "5.13.0-1-powerpc64le"}, True),
        ({"arch": "ppc64", "cpu": "POWER8NVL", "kernel": "6.1.0"}, True),
        ({"arch": "ppc64le", "kernel": "5.4.0"}, True),  # a trace.dat has no processor
        ({"arch": "ppc64le", "cpu": "POWER9, altivec supported", "kernel": "5.14.0"}, False),
        ({"arch": "ppc64le", "kernel": "6.1.0"}, False),
        ({"arch": "ppc64le", "cpu": "POWER9, altivec supported"}, False),  # which kernel is not recorded
        ({"arch": "x86_64", "kernel": "5.4.0"}, False),
    ],
)
def test_what_real_mode_handlers_answer_is_said_to_be_unseen(host: dict[str, str | int], *, is_told: bool) -> None:
    told = [each for each in wording.warnings(samples.exits(host=host)) if each.startswith("Not seen: hypercalls")]
    assert bool(told) is is_told
