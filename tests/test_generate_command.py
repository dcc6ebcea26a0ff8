"""`kvmtrace generate`: runs in the store, files, and what it says where it cannot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.store.catalogue import Catalogue

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "kvm-hv-p9-null-hcall"
SHORT = ("--seconds", "0.001")
VARIANTS = ["try_real_mode", "upstream-virt", "cify-virt", "cify-opt-virt"]


def test_every_variant_is_a_run_in_the_store_and_what_is_printed_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", MODEL, *SHORT, "--store", str(tmp_path)]) == ExitCode.OK
    manifests = Catalogue(tmp_path).manifests()
    assert sorted(capsys.readouterr().out.split()) == sorted(manifest.run_id for manifest in manifests)
    names = {manifest.source.name for manifest in manifests}
    assert names == {f"{MODEL}-{variant}-seed1{part}" for variant in VARIANTS for part in ("", "-benchmarks")}


def test_a_label_names_the_recording_and_begins_the_name_of_what_is_printed(tmp_path: Path) -> None:
    options = ["--variant", "cify-virt", "--label", "after", "--tag", "kernel=5.14", "--format", "store"]
    assert run(["generate", MODEL, *SHORT, *options, "--store", str(tmp_path)]) == ExitCode.OK
    catalogue = Catalogue(tmp_path)
    labels = [catalogue.label(manifest.run_id) for manifest in catalogue.manifests()]
    assert sorted(str(label.label) for label in labels) == ["after", "after-benchmarks"]
    assert all(label.tags == {"kernel": "5.14"} for label in labels)


def test_a_file_is_written_whole_and_never_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "made"
    command = ["generate", MODEL, "--variant", "cify-virt", *SHORT, "--format", "perf.data", "-o", str(target)]
    assert run(command) == ExitCode.OK
    content = target.read_bytes()
    assert content.startswith(b"PERFILE2")
    assert run(command) == ExitCode.USAGE
    assert "is there already" in capsys.readouterr().err
    assert run([*command, "--force", "--seed", "2"]) == ExitCode.OK
    assert target.read_bytes() != content
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_link_stays_and_what_is_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link, real, fifo = tmp_path / "link", tmp_path / "real", tmp_path / "fifo"
    real.write_text("before")
    link.symlink_to(real)
    os.mkfifo(fifo)
    command = ["generate", MODEL, "--variant", "cify-virt", *SHORT, "--format", "perf-stat", "--force", "-o"]
    assert run([*command, str(link)]) == ExitCode.OK
    assert link.is_symlink()
    assert "kvm_guest_exit" in real.read_text()
    capsys.readouterr()
    for target in (fifo, tmp_path):
        assert run([*command, str(target)]) == ExitCode.USAGE
        assert "is no regular file" in capsys.readouterr().err
    assert fifo.is_fifo()


def test_the_time_of_a_recording_that_ends_with_its_events_is_that_of_its_events(tmp_path: Path) -> None:
    target = tmp_path / "stat"
    options = ["--variant", "cify-virt", "--events", "400", "--seconds", "100", "--format", "perf-stat"]
    assert run(["generate", MODEL, *options, "-o", str(target)]) == ExitCode.OK
    (line,) = [line for line in target.read_text().splitlines() if "seconds time elapsed" in line]
    assert 0 < float(line.split()[0]) < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "perf.data"], "-o and a --format of files go together"),
        (["-o", "x"], "-o and a --format of files go together"),
        (["--format", "ftrace", "-o", "x"], f"-o is for one variant, and {MODEL} has 4"),
        (["--label", "x"], f"--label is for one variant, and {MODEL} has 4"),
        (["--variant", "cify-vrt"], "has no variant 'cify-vrt'"),
        (["--compress"], "--compress: only with --format perf.data or trace.dat"),
        (["--format", "trace.dat", "--pipe", "-o", "x"], "--pipe: only with --format perf.data"),
        (["--variant", "cify-virt", "--format", "ftrace", "-o", "x", "--tag", "a=b"], "only with --format store"),
        (["--variant", "cify-virt", "--format", "vmexit", "-o", "x"], "expected rows of the test vmexit"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["generate", MODEL, *options]) == ExitCode.USAGE
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kvmtrace: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_lists_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "kvm-hv-p9-nul-hcall"]) == ExitCode.USAGE
    assert f"hint: known: {MODEL}" in capsys.readouterr().err
