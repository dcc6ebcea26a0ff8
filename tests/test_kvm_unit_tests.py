from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED
from test_kvm_unit_tests_damage import survives_as

from kvmtrace.errors import InputError
from kvmtrace.formats.kvm_unit_tests import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

DATA = Path(__file__).parent / "data" / "kvm-unit-tests"
CONSOLES = sorted((SHARED / "captures" / "x86-svm" / "kut-vmexit-smp1").glob("console-*.txt"))
BOOT = "enabling apic\npaging enabled\ncr0 = 80010011\n"
MICRO_BENCH = f"{'name':30}{'total ns':>18}{'':13}{'avg ns':>18}\n{'-' * 92}\n"


def survives(content: bytes) -> None:
    survives_as(FORMAT, content)


def read(text: str) -> list[TableSet]:
    assert FORMAT.recognises(text)
    return list(FORMAT.read(text, "kut.txt"))


def rows(text: str) -> list[dict[str, Any]]:
    """Read a text of one table, without notes."""
    [table] = read(text)
    assert table.notes == ()
    found: list[dict[str, Any]] = table.rows.to_pylist()
    return found


def states(text: str) -> list[tuple[str | None, str, str]]:
    return [(row["test"], row["name"], row["state"]) for row in rows(text)]


def figures(table: TableSet) -> dict[str, float]:
    return {row["name"]: row["value"] for row in table.rows.to_pylist()}


def assert_is_a_console_of_vmexit(text: str) -> None:
    """Compare with what a reader sees: lines that end in a figure, or in (skipped)."""
    seen = [
        (line, match[1].strip(), None if match[2] == "(skipped)" else float(match[2]))
        for line, printed in enumerate(text.splitlines(), start=1)
        if (match := re.fullmatch(r"([\w: -]+) (\d+|\(skipped\))", printed)) and not printed.startswith("PM timer")
    ]
    found = rows(text)
    assert [(row["line"], row["name"], row["value"]) for row in found] == seen
    for row in found:
        assert (row["suite"], row["test"]) == ("kvm-unit-tests", "vmexit")
        if row["value"] is None:
            assert (row["state"], row["unit"], row["clock"]) == ("skip", None, None)
        else:
            assert (row["state"], row["unit"], row["statistic"], row["clock"]) == ("measured", "cycles", "mean", "TSC")


@pytest.mark.parametrize("name", ["vmexit-console.txt", "vmexit-console-short.txt"])
def test_each_figure_of_a_console_is_a_row(name: str) -> None:
    assert_is_a_console_of_vmexit((DATA / name).read_text())


def test_each_figure_of_the_captures_is_a_row() -> None:
    if not CONSOLES:
        pytest.skip(f"{SHARED} is not there")
    assert len(CONSOLES) == 5
    for path in CONSOLES:
        assert_is_a_console_of_vmexit(path.read_text())


def test_known_figures_of_a_console() -> None:
    found = {row["name"]: row for row in rows((DATA / "vmexit-console.txt").read_text())}
    assert len(found) == 41
    assert found["cpuid"]["value"] == 77115
    assert found["eoi self_ipi_tpr_sti_hlt"]["value"] == 143425
    assert found["mmio-wildcard-eventfd:pci-mem"]["value"] == 140933
    assert found["wr_ibpb_msr"]["state"] == "skip"


def test_the_mail_of_2013_gives_its_three_figures() -> None:
    seeds = sorted((SHARED / "seeds").glob("001_*"))
    if not seeds:
        pytest.skip(f"{SHARED} is not there")
    [table] = read(seeds[0].read_text())
    assert figures(table) == {
        "mmio-wildcard-eventfd:pci-mem": 3529,
        "mmio-pv-eventfd:pci-mem": 1878,
        "portio-wildcard-eventfd:pci-io": 1846,
    }
    assert table.notes == ()
    assert table.rows.column("line").to_pylist() == [116, 117, 118]
    assert set(table.rows.column("clock").to_pylist()) == {"TSC"}


def test_other_mails_of_figures_are_not_of_this_format() -> None:
    for path in (SHARED / "seeds").glob("*.txt"):
        assert FORMAT.recognises(path.read_text(errors="replace")) == path.name.startswith("001_")


def test_verdicts_have_their_states() -> None:
    kinds = ["PASS", "FAIL", "XPASS", "XFAIL", "KFAIL", "SKIP", "INFO", "ABORT"]
    text = "".join(f"{kind}: pre: fix: {kind.lower()} it\n" for kind in kinds) + "SUMMARY: 8 tests, 1 skipped\n"
    *found, summary = rows(text)
    assert [row["state"] for row in found] == [kind.lower() for kind in kinds]
    assert [row["name"] for row in found] == [f"pre: fix: {kind.lower()} it" for kind in kinds]
    assert {row["value"] for row in found} == {None}
    assert (summary["name"], summary["state"], summary["message"]) == ("SUMMARY", "info", "8 tests, 1 skipped")


def test_the_exit_status_is_kept_as_printed() -> None:
    *_, last = rows("PASS: a\nSUMMARY: 1 tests\n\nEXIT: STATUS=3\n")
    assert (last["name"], last["message"], last["line"]) == ("EXIT", "STATUS=3", 4)


def test_lines_of_run_tests_name_their_test_and_say_why() -> None:
    text = (
        "\x1b[32mPASS\x1b[0m apic (53 tests, 1 skipped)\n\x1b[31mFAIL\x1b[0m svm (timeout; duration=90s)\n"
        "PASS vmexit_cpuid \nSKIP taskswitch (i386 only)\n[31mFAIL[0m vmx (terminated on SIGABRT)\n"
    )
    found = rows(text)
    assert [(row["test"], row["state"], row["message"]) for row in found] == [
        ("apic", "pass", "53 tests, 1 skipped"),
        ("svm", "fail", "timeout; duration=90s"),
        ("vmexit_cpuid", "pass", None),
        ("taskswitch", "skip", "i386 only"),
        ("vmx", "fail", "terminated on SIGABRT"),
    ]


def test_run_tests_names_the_test_above_whose_summary_it_repeats() -> None:
    text = "PASS: a\nSUMMARY: 1 tests\nPASS smptest (1 tests)\nPASS: b\nSUMMARY: 2 tests\nPASS realmode (3 tests)\n"
    assert [(test, name) for test, name, _ in states(text)] == [
        ("smptest", "a"),
        ("smptest", "SUMMARY"),
        ("smptest", "smptest"),
        (None, "b"),
        (None, "SUMMARY"),
        ("realmode", "realmode"),
    ]


@pytest.mark.parametrize(
    ("command", "test"),
    [
        ("TESTNAME=vmexit_cpuid TIMEOUT=90s MACHINE= ACCEL= ./x86/run x86/vmexit.flat -smp 1", "vmexit_cpuid"),
        ("timeout -k 1s --foreground 90s /usr/bin/qemu -nodefaults -kernel x86/vmexit.flat -smp 1", "vmexit"),
        ("$ ./x86-run x86/vmexit.flat -append cpuid", "vmexit"),
    ],
)
def test_a_command_names_the_test_and_is_kept(command: str, test: str) -> None:
    [table] = read(f"{command}\ncpuid 1251\nPASS: x\nSUMMARY: 1 tests\n")
    assert set(table.rows.column("test").to_pylist()) == {test}
    assert table.facts.tool["cmdline"] == command.strip()


def test_the_name_that_run_tests_gives_is_better_than_that_of_the_kernel() -> None:
    text = "TESTNAME=vmexit_ipi TIMEOUT=90s ./x86/run\ntimeout 9 qemu -kernel x86/vmexit.flat\nipi 5\n"
    [(test, name, _)] = states(text)
    assert (test, name) == ("vmexit_ipi", "ipi")


def test_the_command_of_run_tests_tells_whose_verdicts_they_are() -> None:
    assert states("TESTNAME=apic TIMEOUT=90s ./x86/run\nPASS: x\n") == [("apic", "x", "pass")]
    assert not FORMAT.recognises("$ ./x86/run x86/apic.flat\nPASS: x\n")


def test_tap_is_read_and_its_plan_compared() -> None:
    text = "TAP version 13\nok 1 - apic: exists\nnot ok 2 - svm: timeout; duration=90s\nok 3 - apic: x # skip\n1..3\n"
    assert states(text) == [("apic", "exists", "pass"), ("svm", "timeout; duration=90s", "fail"), ("apic", "x", "skip")]
    [cut] = read(text.replace("1..3\n", ""))
    [short] = read(text.replace("1..3", "1..4"))
    assert "may be cut" in cut.notes[0].what
    assert "4 results, found 3" in short.notes[0].what


def test_tap_of_others_is_not_read() -> None:
    assert not FORMAT.recognises("TAP version 13\nok 1 - selftests: kvm: x\nok 2 - http: y\n1..2\n")
    assert not FORMAT.recognises("TAP version 13\n1..2\nok 1 selftests: kvm: dirty_log_test\nok 2 foo # SKIP\n")


def test_micro_bench_has_totals_and_means_and_no_decimals() -> None:
    first = f"{'hyp_call':<30}{'292':>15}.{'5':<15}{'4':>15}.{'0':<15}\n"
    second = f"{'ipi_hw':<30}{'87727475':>15}.{'0':<15}{'1338':>15}.{'12':<15}\n"
    total, mean, _, last, skipped = rows(MICRO_BENCH + first + second + "lpi test skipped\n")
    assert (total["value"], total["statistic"], total["message"]) == (292, "total", "remainder 5")
    assert (mean["value"], mean["statistic"], mean["message"]) == (4, "mean", "remainder 0")
    assert (last["value"], last["statistic"], last["message"], last["unit"]) == (1338, "mean", "remainder 12", "ns")
    assert (skipped["name"], skipped["state"], skipped["value"]) == ("lpi", "skip", None)
    assert total["test"] == skipped["test"] == "micro-bench"


def test_a_wrapped_and_quoted_printable_micro_bench_is_read() -> None:
    wrapped = "> name            total ns           avg\n> ns\n> ------------\n> hvc          87727475.0\n> 1338.0\n"
    assert [row["value"] for row in rows(wrapped)] == [87727475, 1338]
    encoded = "a =3D b\nname     total ns        av=\ng ns\nhvc     20095360.0          30=\n6.0\n"
    assert [(row["value"], row["line"]) for row in rows(encoded)] == [(20095360, 4), (306, 4)]


def test_a_second_micro_bench_is_a_second_table() -> None:
    row = "eoi      {}.0     {}.0\n"
    first, second = read(f"Baseline:\n{MICRO_BENCH}{row.format(50, 5)}\nPatch:\n{MICRO_BENCH}{row.format(40, 4)}")
    assert [(t.facts.part, t.rows.column("value").to_pylist()) for t in (first, second)] == [
        ("Baseline", [50, 5]),
        ("Patch", [40, 4]),
    ]


def test_exittime_has_four_figures_and_a_verdict() -> None:
    text = "PASS: exittime: diag9c(self): total/best/avg/worst 1.034/2.345/3.456/4.567 us\nSUMMARY: 1 tests\n"
    *figures_, verdict, _ = rows(text)
    assert [(row["statistic"], row["value"]) for row in figures_] == [
        ("total", 1.034),
        ("min", 2.345),
        ("mean", 3.456),
        ("max", 4.567),
    ]
    assert {(row["name"], row["unit"], row["test"]) for row in figures_} == {("diag9c(self)", "us", "exittime")}
    assert verdict["state"] == "pass"


def test_latencies_of_the_deadline_timer_are_samples() -> None:
    found = rows("breakmax=10\ntsc deadline timer enabled\nlatency: 55\nlatency: 57\nhit max: 10 < latency: 70\n")
    assert [row["value"] for row in found] == [55, 57, 70]
    assert found[-1]["message"] == "hit max: 10"
    assert {(row["unit"], row["clock"], row["statistic"]) for row in found} == {("cycles", "TSC", None)}


def test_before_and_after_in_a_mail_are_two_tables() -> None:
    text = "Hi,\n\nBefore:\n> cpuid 1000\n> vmcall 1100\n\nAfter:\n> cpuid 900\n> vmcall 950\n"
    before, after = read(text)
    assert (before.facts.part, figures(before)) == ("Before", {"cpuid": 1000, "vmcall": 1100})
    assert (after.facts.part, figures(after)) == ("After", {"cpuid": 900, "vmcall": 950})


def test_columns_below_a_heading_are_a_table_each() -> None:
    heading = "                before   after\n"
    before, after = read(f"{heading}    cpuid       14886    13142\n    vmcall      14918    13189\n\nPatches 1-6\n")
    assert (before.facts.part, figures(before)) == ("before", {"cpuid": 14886, "vmcall": 14918})
    assert (after.facts.part, figures(after)) == ("after", {"cpuid": 13142, "vmcall": 13189})
    assert not FORMAT.recognises("    cpuid       14886    13142\n    vmcall      14918    13189\n")
    assert not FORMAT.recognises(f"{heading}    cpuid       14886    13142\n")


def test_two_boots_in_one_file_are_two_tables() -> None:
    first, second = read(f"{BOOT}cpuid 1\nvmcall 2\n{BOOT}cpuid 3\nvmcall 4\n")
    assert (figures(first), figures(second)) == ({"cpuid": 1, "vmcall": 2}, {"cpuid": 3, "vmcall": 4})
    assert [first.facts.part, second.facts.part] == ["table 1", "table 2"]


def test_a_log_of_many_tests_is_one_table() -> None:
    commands = [f"TESTNAME=vmexit_{name} TIMEOUT=90s ./x86/run\n{BOOT}{name} 5\n" for name in ("cpuid", "vmcall")]
    assert [test for test, _, _ in states("".join(commands))] == ["vmexit_cpuid", "vmexit_vmcall"]


def test_a_word_and_a_number_count_only_in_a_known_place() -> None:
    assert not FORMAT.recognises("ipi 5\n")
    assert not FORMAT.recognises("This is about\ncpuid 5\nand not about\nvmcall 6\n")
    assert not FORMAT.recognises("apples 5\npears 6\n")
    assert FORMAT.recognises(f"{BOOT}ipi 5\n")
    assert FORMAT.recognises("ipi 5\ncpuid 6\n")
    assert FORMAT.recognises("mmio-pv-eventfd:pci-mem 1878\n")
    [table] = read("cpuid 5\nvmcall 6\n\nand then\n\ninvd 7\n")
    assert figures(table) == {"cpuid": 5, "vmcall": 6}
    assert [(note.where, "stands alone" in note.what) for note in table.notes] == [("line 6", True)]


def test_what_looks_like_a_figure_is_noted() -> None:
    [table] = read(f"{BOOT}cpuid 5\nmov_dr 5 (100%)\n")
    assert [(note.where, note.what) for note in table.notes] == [
        ("line 5", "looks like a figure of vmexit and is not read: 'mov_dr 5 (100%)'")
    ]


def test_a_figure_that_wrapped_around_is_kept_and_noted() -> None:
    [table] = read(f"{BOOT}vmcall -1294967296\n")
    assert figures(table) == {"vmcall": -1294967296}
    assert "32 bits" in table.notes[0].what


def test_a_kernel_that_hangs_gives_no_verdict() -> None:
    text = f"{BOOT}INFO: rcu_sched self-detected stall on CPU\nINFO: task qemu:12 blocked for more than 120 seconds.\n"
    assert states(f"{text}INFO: nr_cpus=2\nSUMMARY: 0 tests\n")[0] == (None, "nr_cpus=2", "info")


@pytest.mark.parametrize(
    "text",
    [
        "PASS: test-foo\nFAIL: test-bar\n# TOTAL: 2\n",  # automake
        "PASS: gcc.dg/a.c (test for excess errors)\nFAIL: gcc.dg/b.c execution test\n",
        "PASS foo\nFAIL bar\n",
        f"{BOOT}timeout\n",
        "ERROR SUMMARY: 1 errors from 1 contexts\n",
        "",
    ],
)
def test_the_like_of_other_programs_is_refused(text: str) -> None:
    assert not FORMAT.recognises(text)
    with pytest.raises(InputError, match=r"kut.txt: expected figures or verdicts of kvm-unit-tests, found"):
        FORMAT.read(text, "kut.txt")
