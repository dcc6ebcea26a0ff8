"""`kvmtrace record` with a perf that obeys and records nothing: order, streams, names, exit codes, what is said."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from made_recorders import MadePerf, exits, writing
from made_runs import KvmRecording

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from made_hosts import MadeHost


def record(*words: str) -> int:
    return run(["record", *words])


def test_a_command_runs_within_the_recording_and_keeps_its_streams(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(40))
    (tmp_path / "in").write_text("given\n")
    standard_input = os.dup(0)
    with (tmp_path / "in").open() as file:
        os.dup2(file.fileno(), 0)
    try:
        script = f"echo command >> {perf.folder}/log; cat; echo told >&2; exit 3"
        code = record("--label", "one", "--tag", "k=v", "--", "sh", "-c", script)
    finally:
        os.dup2(standard_input, 0)
        os.close(standard_input)
    out, err = capfd.readouterr()
    assert perf.log() == ["enable", "command", "stopped"]
    assert out == "given\n"
    assert err.startswith("told\n")
    assert "sh ended with exit code 3" in err
    assert code == ExitCode.CHECK_FAILED
    catalogue = Catalogue(tmp_path / "store")
    (manifest,) = catalogue.manifests()
    label = catalogue.label(manifest.run_id)
    assert (label.label, label.tags) == ("one", {"k": "v", "record_failed": "one", "exit_code": "3"})
    assert (manifest.exits["rows"], manifest.source.name) == (40, "record sh")
    assert manifest.source.size_bytes > 1000


def test_what_was_seen_of_the_host_is_in_sql_and_in_the_report(
    perf: MadePerf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(9))
    assert record("true") == ExitCode.OK
    with StoreConnection(tmp_path / "store") as connection:
        facts = dict(connection.query("SELECT name, value FROM environment").rows)
        vms = connection.query("SELECT pid, name, vmm, vcpus, cpu_max FROM vms ORDER BY pid").rows
        vcpus = connection.query("SELECT pid, vcpu, tid, name, cpus_allowed, policy FROM vcpus ORDER BY tid").rows
    assert (facts["kvm.halt_poll_ns"], facts["recorder"], facts["command"]) == ("7", "perf version 9.9", "true")
    assert (facts["purpose"], facts["governor"]) == ("exits", None)
    assert vms == [
        (100, "web,1", "qemu-system-x86_64", 2, "50000 100000"), (200, "fn-7", "firecracker", 1, None),
        (300, "arc", "crosvm", 1, None),
    ]  # fmt: skip
    assert vcpus[1] == (100, 1, 102, "CPU 1/KVM", "0-2", "other")
    capsys.readouterr()
    assert run(["report"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "halt_poll_ns 7" in out
    assert "web,1 (process 100, qemu-system-x86_64, 2 vCPUs on CPUs of their own)" in out


def test_two_commands_take_turns_and_end_in_a_verdict(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for turn in range(3):
        perf.hand_out(exits(200 + turn), exits(100 + turn, every_ns=2_000_000))
    log = perf.folder / "log"
    words = ["--label", "old", "--repeat", "3", "--", *writing(log, "A"), "--against", "new", "--", *writing(log, "B")]
    assert record(*words) == ExitCode.OK
    out, err = capfd.readouterr()
    assert [word for word in perf.log() if word in "AB"] == ["A", "B"] * 3
    assert out.startswith("exits per run fell from 201 to 101 ")
    assert "3 and 3 runs): " in out.splitlines()[0]
    assert "again: kvmtrace compare record=old --against record=new --per run --store " in err
    catalogue = Catalogue(tmp_path / "store")
    labels = [catalogue.label(m.run_id) for m in catalogue.manifests()]
    assert [label.label for label in labels] == ["old-1", "new-1", "old-2", "new-2", "old-3", "new-3"]
    assert len(catalogue.tagged("record=old")) == 3


def test_numbers_go_on_where_a_label_was_recorded_before(perf: MadePerf, tmp_path: Path) -> None:
    perf.hand_out(*map(exits, (5, 6, 7, 8)))
    for _ in range(2):
        assert record("--repeat", "2", "true") == ExitCode.OK
    catalogue = Catalogue(tmp_path / "store")
    assert [catalogue.label(m.run_id).label for m in catalogue.manifests()] == ["true-1", "true-2", "true-3", "true-4"]


def test_numbers_go_on_behind_the_highest_where_some_were_removed(perf: MadePerf, tmp_path: Path) -> None:
    perf.hand_out(*map(exits, (5, 6, 7)))
    assert record("--repeat", "2", "true") == ExitCode.OK
    assert run(["runs", "rm", "true-1"]) == ExitCode.OK
    assert record("--repeat", "1", "--label", "true-9", "true") == ExitCode.OK
    perf.hand_out(exits(8), exits(9))
    assert record("--repeat", "2", "true") == ExitCode.OK
    catalogue = Catalogue(tmp_path / "store")
    labels = [catalogue.label(m.run_id).label for m in catalogue.manifests()]
    assert labels == ["true-2", "true-9", "true-10", "true-11"]


def test_a_comparison_that_is_to_be_repeated_names_its_own_runs_only(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(*map(exits, (5, 6, 7, 8)))
    words = ["--label", "a", "--", "true", "--against", "b", "--", "true"]
    assert record(*words) == ExitCode.OK
    capfd.readouterr()
    assert record(*words) == ExitCode.OK
    err = capfd.readouterr().err
    assert "a run has the label a already: tell them apart by their ids; record=a means all" in err
    runs = [manifest.run_id for manifest in Catalogue(tmp_path / "store").manifests()]
    assert f"again: kvmtrace compare {runs[2]} --against {runs[3]} --per run" in err


def test_rates_are_of_the_time_that_was_recorded(perf: MadePerf, tmp_path: Path) -> None:
    perf.hand_out(exits(12, every_ns=10))
    assert record("sleep", "0.1") == ExitCode.OK
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    assert manifest.elapsed_ns is not None
    assert manifest.elapsed_ns < 10_000
    assert manifest.enabled_ns is not None
    assert manifest.enabled_ns >= 100_000_000


def test_a_store_that_cannot_be_written_is_said_before_anything_is_recorded(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert record("--store", str(tmp_path / "file/store"), "--", "echo", "ran") == ExitCode.BAD_INPUT
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"kvmtrace: error: {tmp_path}/file: expected the folder of a store, found a file\n")
    assert not (perf.folder / "log").exists()


def test_a_perf_that_dies_before_it_wrote_anything_is_quoted(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.behave("vanishes")
    assert record("--", "true") == ExitCode.BAD_INPUT
    assert "perf does not record (exit code 4): it is over" in capfd.readouterr().err


def test_a_command_that_a_signal_ends_is_told_as_a_shell_does(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(3))
    assert record("--label", "x", "--", "sh", "-c", "kill -SEGV $$") == ExitCode.CHECK_FAILED
    assert "sh ended with exit code 139" in capfd.readouterr().err
    catalogue = Catalogue(tmp_path / "store")
    assert catalogue.label(catalogue.manifests()[0].run_id).tags["exit_code"] == "139"


def test_words_that_lack_their_dashes_are_pointed_at(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.hand_out(exits(3))
    assert record("--label", "a", "true", "--against", "b", "true") == ExitCode.OK
    assert "--against is a word of true here; as ours it is: --against LABEL -- COMMAND_B" in capfd.readouterr().err


def test_a_run_whose_command_failed_is_kept_and_no_sample(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.hand_out(exits(30), exits(31))
    assert record("--label", "a", "--", "true", "--against", "b", "--", "false") == ExitCode.CHECK_FAILED
    out, err = capfd.readouterr()
    assert out == ""
    assert "false ended with exit code 1" in err
    assert "nothing is compared: all runs of one command failed" in err
    assert err.endswith("1 of 2 commands failed: the runs are kept, with the tag exit_code\n")


def test_ctrl_c_ends_a_recording_and_its_command_and_the_run_is_stored(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(12), exits(13))
    script = 'kill -INT "$PPID"; exec sleep 600'
    assert record("--repeat", "2", "--", "sh", "-c", script) == ExitCode.INTERRUPTED
    assert "interrupted" in capfd.readouterr().err
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    assert manifest.exits["rows"] == 12


def test_without_a_command_ctrl_c_is_the_end(
    perf: MadePerf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(12))
    perf.behave("interrupt")
    assert record("--for", "interrupts") == ExitCode.OK
    assert "recording until Ctrl-C" in capsys.readouterr().err
    assert len(Catalogue(tmp_path / "store").manifests()) == 1


def test_one_vm_is_recorded_by_its_process(perf: MadePerf, host: MadeHost) -> None:
    perf.hand_out(exits(3))
    assert host.root.is_dir()
    assert record("--vm", "fn-7", "--buffer", "3", "true") == ExitCode.OK
    words = perf.arguments()
    assert words[words.index("-p") + 1] == "200"
    assert words[words.index("-m") + 1] == "4096K"


def test_a_perf_that_refuses_is_quoted_and_nothing_is_left(
    perf: MadePerf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.behave("refuse")
    assert record("--", "sh", "-c", "echo ran") == ExitCode.BAD_INPUT
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "kvmtrace: error: perf does not record (exit code 255): Error: No permission to enable it.\n"
    assert not (tmp_path / "store").exists()


def test_a_perf_that_dies_is_said_and_the_command_goes_on(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.hand_out(exits(5))
    perf.behave("dies")
    os.mkfifo(perf.folder / "fifo")
    script = f"cat {perf.folder}/fifo; echo done"  # until perf has ended
    assert record("--", "sh", "-c", script) == ExitCode.OK
    out, err = capfd.readouterr()
    assert out == "done\n"
    assert "the recorder failed: exit code 3" in err


def test_nothing_recorded_and_losses_are_said(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.hand_out(KvmRecording(), exits(90, lost=10))
    assert record("--repeat", "2", "--", "true") == ExitCode.OK
    err = capfd.readouterr().err
    assert "nothing was recorded, though VM 100 (web,1), 200 (fn-7), 300 (arc) ran" in err
    assert (
        "lost 10 events (5.3% of all) on CPU 2 at 0.090 s, as LOST says; which ones is not told. Try --buffer 16 "
        "(MiB for each CPU, now 4) or one VM alone (--vm PID)" in err
    )


def test_a_dry_run_prints_a_line_for_a_shell_and_does_nothing(
    perf: MadePerf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["./bench", "a b", "$HOME"]
    assert record("--dry-run", "--vm", "100", "--for", "scheduling", "--", *command) == ExitCode.OK
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    words = shlex.split(line)
    assert words[:2] == ["perf", "record"]
    assert words[-3:] == command
    assert words[words.index("-o") + 1] == "perf.data"  # what goes to a terminal is of no use
    assert err == ""
    assert not (tmp_path / "store").exists()
    assert not (perf.folder / "arguments").exists()


def test_trace_cmd_records_into_a_file_that_is_read_afterwards(
    perf: MadePerf, host: MadeHost, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.add_trace_cmd(host.root / "sys/kernel/tracing/events/kvm")
    perf.hand_out(exits(21))
    assert record("--with", "trace-cmd", "--", *writing(perf.folder / "log", "command")) == ExitCode.OK
    assert perf.log() == ["enable", "command"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "trace-cmd writes a file first" in err
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    assert (manifest.exits["rows"], manifest.environment["recorder"]) == (21, "trace-cmd version 9.9")
    assert record("--with", "trace-cmd", "true") == ExitCode.BAD_INPUT  # its events are on still
    assert "somebody else traces these events" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "b", "--", "true"], "--against stands behind the command"),
        (["--", "true", "--against", "b", "--"], "--against needs a command on either side"),
        (["--", "true", "--against", "true", "--", "false"], "both commands have the label 'true'"),
        (["--repeat", "2"], "--repeat needs a command"),
        (["--repeat", "0", "true"], "Input should be greater than or equal to 1"),
        (["--label", "", "true"], "--label: expected a label, found an empty one"),
        (["--", "true", "--against", "", "--", "true"], "--against: expected a label, found an empty one"),
        (["--", "a", "--against", "b", "--", "c", "--against", "d", "--", "e"], "--against is there twice"),
        (["--", "true", "--against", "b\x1b[2J", "--", "true"], "expected a label or tag of printable characters"),
        (["--", "/etc/passwd"], "/etc/passwd: cannot be started: Permission denied"),
        (["--", "no-such-program-at-all"], "no-such-program-at-all: cannot be started: No such file"),
        (["--vm", "4444", "true"], "there is no process 4444"),
        (["--fro", "exits", "true"], "no such option: --fro"),
        (["--for", "exit", "true"], "'exit' is not one of"),
    ],
)
def test_what_the_user_must_change_is_said(
    perf: MadePerf, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    perf.hand_out(exits(1))
    assert record(*words) == ExitCode.USAGE
    assert said in capfd.readouterr().err


def test_words_of_a_command_that_look_like_ours_stay_its_own(perf: MadePerf, capfd: pytest.CaptureFixture[str]) -> None:
    perf.hand_out(exits(2))
    script = "import sys; print(sys.argv[1:])"
    assert record(sys.executable, "-c", script, "--label", "x", "--against", "y", "-z") == ExitCode.OK
    assert capfd.readouterr().out == "['--label', 'x', '--against', 'y', '-z']\n"
