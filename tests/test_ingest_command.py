"""`kvmtrace ingest`: what it takes, what it says, what it returns, and that names from recordings do no harm."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import zstandard
from made_runs import MSR, KvmRecording, StoredRun, pick
from trace_dat_made import FORMATS, turns
from trace_dat_pages import PageWriter

from benchmarks.recording_builder import format_text
from kvmtrace.cli import run as run_program
from kvmtrace.commands.ingest import _bar
from kvmtrace.formats.pipes import UNKNOWN_SIZE
from kvmtrace.ingesting import ingest as read
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Manifest, run_folder
from kvmtrace.store.writer import RunWriter
from kvmtrace.writers.trace_dat_file import BufferContent, TraceDat

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
PERF_STAT = ROOT / "tests" / "data" / "perf-stat" / "x86-pv-eoi-on.txt"


class Said(NamedTuple):
    code: int
    out: list[str]  # run ids
    err: list[str]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def ingest(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*arguments: str | Path) -> Said:
        code = run_program(["ingest", *map(str, arguments), "--store", str(store)])
        shown = capsys.readouterr()
        return Said(code, shown.out.splitlines(), shown.err.splitlines())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return made(1_000).write(tmp_path / "kvm.data")


def made(start_ns: int) -> KvmRecording:
    recording = KvmRecording("kvm_msr")
    recording.exit(start_ns, MSR)
    recording.event("kvm_msr", start_ns + 10, ecx=0x10)
    recording.enter(start_ns + 100)
    return recording


def manifests(store: Path) -> list[Manifest]:
    return Catalogue(store).manifests()


def test_a_recording_is_told_by_its_run_and_what_was_in_it(
    ingest: Callable[..., Said], file: Path, store: Path
) -> None:
    said = ingest(file)
    (manifest,) = manifests(store)
    assert said == (0, [manifest.run_id], [f"kvmtrace: note: kvm.data: run {manifest.run_id}: 3 events, 1 exits"])
    assert (manifest.source.name, manifest.source.format, manifest.source.size_bytes) == (
        "kvm.data", "perf.data", file.stat().st_size,
    )  # fmt: skip
    assert manifest.kind == "recording"


def test_the_text_of_perf_stat_is_a_run_of_counters(ingest: Callable[..., Said], store: Path) -> None:
    said = ingest(PERF_STAT)
    (manifest,) = manifests(store)
    assert (said.code, said.out, manifest.kind) == (0, [manifest.run_id], "counters")
    assert said.err == [
        f"kvmtrace: note: {PERF_STAT.name}: run {manifest.run_id}: {manifest.tables['counters'].rows} counters"
    ]


def test_a_file_with_two_tables_is_two_runs(ingest: Callable[..., Said], store: Path) -> None:
    said = ingest(ROOT / "tests" / "data" / "perf-stat" / "mail-pv-eoi.txt")
    assert said.code == 0
    assert said.out == [manifest.run_id for manifest in manifests(store)]
    assert [manifest.source.part for manifest in manifests(store)] == ["#1", "#2"]
    again = ingest(ROOT / "tests" / "data" / "perf-stat" / "mail-pv-eoi.txt")
    assert again.out == said.out
    assert all("is in the store already" in line for line in again.err)


def test_the_same_file_twice_is_one_run(ingest: Callable[..., Said], file: Path, store: Path, tmp_path: Path) -> None:
    first = ingest(file)
    (before,) = manifests(store)
    copy = tmp_path / "copy of it"
    copy.write_bytes(file.read_bytes())
    for path in (file, copy):
        said = ingest(path)
        assert (said.code, said.out) == (0, first.out)
        assert said.err == [
            f"kvmtrace: note: {path}: run {before.run_id} is in the store already, since {before.ingested_at}"
        ]
    assert manifests(store) == [before]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("gz", gzip.compress), ("xz", lzma.compress), ("zst", zstandard.ZstdCompressor().compress)],
)
def test_a_compressed_file_is_the_same_run(
    ingest: Callable[..., Said], file: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = file.with_name(f"packed.{suffix}")
    packed.write_bytes(pack(file.read_bytes()))
    first = ingest(packed)
    assert first.code == 0
    assert ingest(file).out == first.out
    packed.write_bytes(pack(file.read_bytes())[:-20])
    cut = ingest(packed)
    assert (cut.code, cut.out) == (3, [])
    assert cut.err[0].startswith(f"kvmtrace: error: {packed}: expected")


def test_two_packed_files_behind_each_other_are_read_as_one(ingest: Callable[..., Said], file: Path) -> None:
    content = file.read_bytes()
    pack = zstandard.ZstdCompressor().compress
    for name, packed in (
        ("two.gz", gzip.compress(content[:1_000]) + gzip.compress(content[1_000:])),
        ("two.zst", pack(content[:1_000]) + pack(content[1_000:])),
    ):
        file.with_name(name).write_bytes(packed)
        assert ingest(file.with_name(name)).out == ingest(file).out


def test_standard_input_is_read(
    ingest: Callable[..., Said], file: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    said = ingest("-")
    assert said.code == 0
    assert [manifest.source.name for manifest in manifests(store)] == ["-"]
    assert ingest(file).out == said.out


def test_a_pipe_of_the_shell_is_read(file: Path, store: Path) -> None:
    program = f"{sys.executable} -m kvmtrace ingest --store {store}"
    command = f"gzip -c {file} | {program} - && {program} <(cat {file})"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, text=True, capture_output=True, check=True, timeout=60)
    (manifest,) = manifests(store)
    assert done.stdout.splitlines() == [manifest.run_id] * 2


def test_refresh_reads_a_file_again_and_keeps_its_label(ingest: Callable[..., Said], file: Path, store: Path) -> None:
    (run_id,) = ingest(file, "--label", "before", "--tag", "host=a").out
    (before,) = manifests(store)
    folder = run_folder(store, run_id)
    (folder / "exits" / "part-0.parquet").unlink()
    said = ingest(file, "--refresh", "--tag", "disk=b")
    (after,) = manifests(store)
    assert (said.code, said.out) == (0, [run_id])
    assert said.err == [f"kvmtrace: note: kvm.data: run {run_id}: 3 events, 1 exits"]
    assert after.ingested_at > before.ingested_at
    assert len(StoredRun(folder, after).exits()) == 1
    assert Catalogue(store).label(run_id) == Label("before", {"host": "a", "disk": "b"})


def test_refresh_replaces_the_run_that_an_older_schema_made(
    ingest: Callable[..., Said], file: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvmtrace.schema.VERSION", "0.9")
    (old,) = ingest(file, "--label", "mine").out
    monkeypatch.undo()
    (new,) = ingest(file).out
    assert {manifest.run_id for manifest in manifests(store)} == {old, new}
    assert old != new
    assert ingest(file, "--refresh").out == [new]
    assert [manifest.run_id for manifest in manifests(store)] == [new]
    assert Catalogue(store).label(new).label == "mine"


def test_a_run_whose_manifest_is_damaged_is_told_and_refreshed(
    ingest: Callable[..., Said], file: Path, store: Path
) -> None:
    (run_id,) = ingest(file).out
    (run_folder(store, run_id) / "run.json").write_text("{")
    said = ingest(file)
    assert (said.code, said.out) == (3, [])
    assert said.err[0].startswith(f"kvmtrace: error: {run_folder(store, run_id)}/run.json: expected a run's manifest")
    assert said.err[1] == "hint: --refresh puts the run in its place again"
    assert ingest(file, "--refresh").code == 0
    assert [manifest.run_id for manifest in manifests(store)] == [run_id]


def test_label_and_tags_are_stored_beside_the_run(ingest: Callable[..., Said], file: Path, store: Path) -> None:
    (run_id,) = ingest(file, "--label", "PV EOI off", "--tag", "kernel=6.1", "--tag", "note=a=b").out
    assert Catalogue(store).label(run_id) == Label("PV EOI off", {"kernel": "6.1", "note": "a=b"})
    ingest(file, "--tag", "kernel=6.2")
    assert Catalogue(store).label(run_id) == Label("PV EOI off", {"kernel": "6.2", "note": "a=b"})
    ingest(file, "--label", "on")
    assert Catalogue(store).label(run_id) == Label("on", {"kernel": "6.2", "note": "a=b"})


@pytest.mark.parametrize("options", [["--tag", "no pair"], ["--tag", "=x"], ["--label", "a\x1b[2J"]])
def test_a_wrong_label_or_tag_is_an_error_of_usage(
    ingest: Callable[..., Said], file: Path, store: Path, options: list[str]
) -> None:
    said = ingest(file, *options)
    assert (said.code, said.out) == (2, [])
    assert said.err[0].startswith("kvmtrace: error: ")
    assert not (store / "runs").exists() or manifests(store) == []


def test_good_files_are_ingested_where_another_one_is_bad(
    ingest: Callable[..., Said], file: Path, store: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing to read\n")
    second = made(5_000).write(tmp_path / "second.data")
    said = ingest(text, file, tmp_path / "missing", second)
    assert (said.code, said.out) == (3, [manifest.run_id for manifest in manifests(store)])
    assert len(said.out) == 2
    errors = [line for line in said.err if line.startswith(("kvmtrace: error: ", "hint: "))]
    unknown = "expected figures of KVM in a format that is known"
    assert errors == [
        f"kvmtrace: error: {text}: {unknown}, found a text that begins 'nothing to read'",
        "hint: `kvmtrace formats` lists what is read; --format NAME names one",
        f"kvmtrace: error: {tmp_path}/missing: cannot be opened: No such file or directory",
        "kvmtrace: error: 2 of 4 files: not ingested",
    ]


def test_what_is_no_readable_file_is_one_error(ingest: Callable[..., Said], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, error in (
        (tmp_path, f"{tmp_path}: expected a recording, found a folder"),
        (tmp_path / "missing", f"{tmp_path}/missing: cannot be opened: No such file or directory"),
        (empty, f"{empty}: expected figures of KVM, found an empty file"),
        (empty / "below", f"{empty}/below: cannot be opened: Not a directory"),
        (loop, f"{loop}: cannot be opened: Too many levels of symbolic links"),
    ):
        said = ingest(path)
        assert (said.code, said.out, said.err[0]) == (3, [], f"kvmtrace: error: {error}")
        assert all(line.startswith("hint: ") for line in said.err[1:])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_one_error(ingest: Callable[..., Said], file: Path) -> None:
    file.chmod(0)
    assert ingest(file) == (3, [], [f"kvmtrace: error: {file}: cannot be opened: Permission denied"])


def test_strict_fails_where_a_part_could_not_be_read(ingest: Callable[..., Said], file: Path, store: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])
    said = ingest(file, "--strict")
    notes = [line for line in said.err if line.startswith("kvmtrace: warning: kvm.data: offset ")]
    (manifest,) = manifests(store)
    assert len(notes) == len(manifest.notes) > 0
    assert (said.code, said.out) == (1, [manifest.run_id])
    assert said.err[-1] == f"kvmtrace: error: {len(notes)} note on what could not be read or stored (--strict)"
    assert ingest(file).code == 0


def test_strict_is_content_with_a_whole_file(ingest: Callable[..., Said], file: Path) -> None:
    assert ingest(file, "--strict").code == 0


def event_named(name: str, *, number: int, field: str = "ecx") -> str:
    """Return the format text of an event like kvm_msr under another name."""
    text = format_text("kvm", "kvm_msr").replace("name: kvm_msr", f"name: {name}").replace("ecx", field)
    return "".join(f"ID: {number}\n" if line.startswith("ID:") else line for line in text.splitlines(keepends=True))


EVIL_NAMES = (
    "../../evil",
    "..",
    ".",
    "/etc/evil",
    "a/b",
    "evil\x1b[2J",
    "new\\nline",
    "%2e%2e%2f",
    "~",
    "con:evil",
    "kvm_MSR",
    "kvm_msr",
    "é\u202e",
    'quote"OR(1=1);--',
    "x" * 255,
    "\U0001f600" * 255,
    "\U0001f600" * 254 + "!",
)


def test_names_of_events_stay_inside_the_runs_folder(ingest: Callable[..., Said], store: Path, tmp_path: Path) -> None:
    recording = KvmRecording()
    recording.exit(1_000)
    names = {}
    for number, (system, name) in enumerate([(s, n) for n in EVIL_NAMES for s in ("kvm", n)]):
        made_name = f"event {number}"
        recording.add_tracepoint(system, made_name, event_named(name, number=5_000 + number))
        recording.event(f"{system}:{made_name}", 1_001 + number, ecx=number)
        names[system, name] = number
    path = recording.write(tmp_path / "evil.data")
    outside = {entry for entry in tmp_path.rglob("*") if store not in entry.parents}
    said = ingest(path)
    assert (said.code, said.err[1:]) == (0, [])
    (manifest,) = manifests(store)
    assert {entry for entry in tmp_path.rglob("*") if store not in entry.parents} - {store} == outside
    run = StoredRun(run_folder(store, manifest.run_id), manifest)
    assert {(t.system, t.event): t.rows for t in manifest.tracepoints[2:]} == dict.fromkeys(names, 1)
    for (system, name), number in names.items():
        assert [pick(row, "ts_ns", "ecx", "exit_id") for row in run.events(name, system)] == [
            (1_001 + number, number, 0)
        ]
    folders = {entry.parent.relative_to(run.folder) for entry in run.folder.rglob("part-0.parquet")}
    assert all(len(folder.parts) in (1, 3) for folder in folders)
    assert all(part.isascii() and part.isprintable() for folder in folders for part in folder.parts)
    assert len(folders) == len(names) + 2


def test_two_events_of_one_name_are_both_accounted_for(
    ingest: Callable[..., Said], store: Path, tmp_path: Path
) -> None:
    recording = made(1_000)
    recording.add_tracepoint("kvm", "like it", event_named("kvm_msr", number=5_000))
    recording.add_tracepoint("kvm", "unlike it", event_named("kvm_msr", number=5_001, field="index"))
    recording.event("like it", 1_020, ecx=1)
    recording.event("unlike it", 1_030, index=2)
    said = ingest(recording.write(tmp_path / "twice.data"))
    assert said.code == 0, said
    (manifest,) = manifests(store)
    stored_rows = sum(t.rows for t in manifest.tracepoints)
    assert stored_rows + sum(manifest.not_stored.values()) == 5
    assert sum(t.rows for name, t in manifest.tables.items() if name.startswith("events/")) == stored_rows


@pytest.mark.parametrize("field", ["ts_ns", "exit_id", "run_id", "cpu", "vcpu", "ts_ns_", "CPU", "Ts_Ns"])
def test_a_field_that_bears_the_name_of_a_column_of_ours_is_kept(
    ingest: Callable[..., Said], store: Path, tmp_path: Path, field: str
) -> None:
    recording = KvmRecording()
    recording.add_tracepoint("kvm", "odd", event_named("odd", number=5_000, field=field))
    recording.add_sample("odd", 1_020, fields={field: 77})
    assert ingest(recording.write(tmp_path / "odd.data")).code == 0
    with StoreConnection(store) as connection:
        row = dict(zip(connection.query("FROM odd").names, connection.query("FROM odd").rows[0], strict=True))
    assert 77 in row.values()
    assert row["ts_ns"] == 1_020


def test_names_of_threads_and_hosts_are_kept_and_shown_without_their_control_characters(
    ingest: Callable[..., Said], store: Path, tmp_path: Path
) -> None:
    recording = made(1_000)
    recording.add_comm("evil\x1b[2J", pid=7, tid=8)
    recording.add_comm("nobody", pid=0xFFFFFFFF, tid=0xFFFFFFFF)
    path = recording.write(tmp_path / "evil\x1b[2J.data")
    said = ingest(path)
    assert said.code == 0
    assert said.err[0].startswith("kvmtrace: note: evil\\x1b[2J.data: run ")
    (manifest,) = manifests(store)
    threads = StoredRun(run_folder(store, manifest.run_id), manifest).table("threads").to_pylist()
    assert {pick(row, "pid", "tid"): row["name"] for row in threads}[7, 8] == "evil\x1b[2J"


def test_a_terminal_sees_progress_with_the_rate_and_the_time_left_and_standard_output_stays_data(
    tmp_path: Path,
) -> None:
    made = KvmRecording()
    made.exit(1_000, MSR)
    made.enter(1_100)
    path = made.write(tmp_path / "perf.data")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "kvmtrace", "ingest", str(path), "--store", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, check=True)
    shown = os.read(ours, 1 << 16).decode()
    assert re.search(r"perf\.data \d+ MB/s .*100%", shown), shown
    assert re.fullmatch(rb"[0-9a-f]{16}\n", done.stdout)
    os.close(ours)
    os.close(theirs)


def test_of_a_pipe_only_what_came_and_the_rate_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", shown)
    with _bar("-") as progress:
        assert progress is not None
        progress(5_000_000, UNKNOWN_SIZE)
        progress(9_000_000, 9_000_000)
    assert "%" not in shown.getvalue()
    assert re.search(r"- 9\.0 MB, [\d,]+ MB/s", shown.getvalue())


MAIL = ROOT / "tests" / "data" / "perf-stat" / "mail-pv-eoi.txt"


def test_a_label_for_a_file_of_several_runs_is_an_error_of_usage_and_nothing_is_stored(
    ingest: Callable[..., Said], store: Path
) -> None:
    said = ingest(MAIL, "--label", "x")
    assert (said.code, said.out) == (2, [])
    assert said.err[0] == f"kvmtrace: error: --label names one run, and {MAIL} holds several"
    assert not (store / "runs").exists()
    assert ingest(MAIL, "--tag", "host=a").code == 0
    assert [Catalogue(store).label(manifest.run_id).tags for manifest in manifests(store)] == [{"host": "a"}] * 2


def test_runs_that_are_stored_before_an_error_are_printed(
    ingest: Callable[..., Said], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = RunWriter.finish

    def fail_at_the_second(writer: RunWriter, manifest: Manifest, *arguments: Label, replace: bool = False) -> bool:
        if manifest.source.part == "#2":
            raise OSError(errno.ENOSPC, "No space left on device")
        return finish(writer, manifest, *arguments, replace=replace)

    monkeypatch.setattr(RunWriter, "finish", fail_at_the_second)
    said = ingest(MAIL)
    (first,) = manifests(store)
    assert (said.code, said.out) == (3, [first.run_id])
    assert said.err[0].startswith(f"kvmtrace: note: {MAIL.name}#1: run {first.run_id}: ")
    assert said.err[-2].endswith("No space left on device; the run was not added")


def test_files_and_files_of_archives_that_failed_are_counted_apart(
    ingest: Callable[..., Said], file: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as output:
        for name in ("one", "two", "three"):
            output.writestr(name, b"PERFILE2")
        output.writestr("good", file.read_bytes())
    said = ingest(packed, file)
    assert (said.code, len(said.out)) == (3, 2)
    assert said.err[-1] == "kvmtrace: error: 3 files in archives: not ingested"
    said = ingest(packed, file, tmp_path / "missing")
    assert said.err[-1] == "kvmtrace: error: 1 of 3 files and 3 files in archives: not ingested"


def test_a_rate_of_ticks_makes_another_run_only_where_it_makes_other_times(
    ingest: Callable[..., Said], file: Path, store: Path, tmp_path: Path
) -> None:
    assert ingest(file).out == ingest(file, "--clock-hz", "1000").out
    assert ingest(MAIL).out == ingest(MAIL, "--clock-hz", "1000").out
    pages = PageWriter()
    turns(pages, 3)
    ticks = tmp_path / "ticks.dat"
    ticks.write_bytes(TraceDat(FORMATS, [BufferContent({0: pages.content()}, clock="x86-tsc")]).content())
    slow, fast = ingest(ticks, "--clock-hz", "1000000000").out, ingest(ticks, "--clock-hz", "2000000000").out
    assert slow != fast
    told = {manifest.run_id: manifest for manifest in manifests(store)}
    assert [told[run].source.clock_hz for run in (*slow, *fast)] == [1_000_000_000, 2_000_000_000]
    assert [told[run].elapsed_ns for run in (*slow, *fast)] == [2_600, 1_300]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_progress_of_a_trace_dat_goes_on_to_its_end(tmp_path: Path, store: Path, compression: str) -> None:
    pages = {}
    for cpu in range(2):
        writer = PageWriter(page_bytes=1 << 16)
        turns(writer, 1_000)
        pages[cpu] = writer.content() + bytes(1 << 16) * 400
    buffers = [BufferContent(pages, page_bytes=1 << 16), BufferContent(pages, name="more", page_bytes=1 << 16)]
    path = tmp_path / "trace.dat"
    path.write_bytes(TraceDat(FORMATS, buffers, compression=compression).content())
    seen: list[tuple[int, int]] = []
    read(str(path), store, Label(), progress=lambda *place: seen.append(place))
    size = path.stat().st_size
    places = [place for place, _ in seen]
    assert {whole for _, whole in seen} == {size}
    assert places == sorted(places)
    assert len(set(places)) > 4
    assert 0 < places[0] < size
    assert places[-2] > size // 2 or compression != "none"  # between packed pages there is nothing but padding
    assert places[-1] == size
