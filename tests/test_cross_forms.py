"""One recording in several forms gives one exits table, through the whole chain to the store.

perf.data and `perf script`; trace.dat of both versions and `trace-cmd report`; the pages of a ring buffer and the text
that the kernel prints of them. What a form cannot tell stands here by column, value and reason; all else is compared.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from cross_forms import Form, Forms, Untold, differences
from cross_forms_made import converted, perf_script, trace_cmd_report, trace_dat_of_pages, written
from perf_oracle import DATA, HAS_PERF, SHARED
from trace_dat_oracle import HAS_TRACE_CMD, algorithms

CAPTURES = SHARED / "captures"
TRACE_DATS = Path(__file__).parent / "data" / "trace-dat"
needs_perf = [pytest.mark.perf, pytest.mark.skipif(not HAS_PERF, reason="perf is not installed")]
needs_trace_cmd = pytest.mark.skipif(not HAS_TRACE_CMD, reason="trace-cmd is not installed")
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")

UNKNOWN_ENABLED = "enabled and never fired: a text does not tell that it was enabled, so this is not known"
NO_NESTED = (Untold("nested", {1}, UNKNOWN_ENABLED), Untold("reflected", {False}, UNKNOWN_ENABLED))
NO_WAKEUP = (Untold("polled_ns", {0}, UNKNOWN_ENABLED),)
NO_BLOCKED = (Untold("blocked_ns", {0}, UNKNOWN_ENABLED),)
NO_PERIOD = (Untold("suspect", {True}, "one exit of ten was sampled: a text does not tell the period", instead=False),)
_WFX = "libtraceevent prints `wf>c<`: WFI or WFE is not told"
NO_WFX = (
    Untold("detail_kind", {"wfx"}, _WFX),
    Untold("detail", {0, 1}, _WFX),
    Untold("detail_name", {"WFI", "WFE"}, _WFX),
    Untold("detail_from", {"kvm_wfx_arm64.is_wfe"}, _WFX),
)
CUT = Form(unit_ns=1000)
NS = Form()
ROUNDED = Form(unit_ns=1000, rounded=True)


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    return Forms(tmp_path_factory.mktemp("forms") / "store")


def assert_same(forms: Forms, binary: Path, other: Path, form: Form, clock_hz: int | None = None) -> None:
    assert differences(forms.exits(binary, clock_hz), forms.exits(other, clock_hz), form) == []
    (manifest,) = forms.manifests(other, clock_hz)
    assert manifest.notes == ()
    assert manifest.not_stored == {}


# --- perf.data and perf script ---

BUNDLED_SCRIPTS = {
    "callgraph": (),
    "clockmono": NO_NESTED,
    "mixed-sched-irq": NO_NESTED,
    "multi-vm": NO_NESTED,
    "overwrite-tail": (),
    "perf-kvm-stat-record": (),
    "pipe": NO_NESTED,
    "pveoi-idletick-xapic-off": NO_NESTED,
    "sparse": NO_PERIOD,
    "zstd": NO_NESTED,
}


@pytest.mark.parametrize("name", BUNDLED_SCRIPTS)
def test_perf_script_of_a_bundled_recording(name: str, forms: Forms) -> None:
    """The texts are those of `perf script --ns -F comm,pid,tid,cpu,time,event,trace`."""
    form = replace(NS, processes=True, untold=BUNDLED_SCRIPTS[name])
    assert_same(forms, DATA / f"{name}.perf.data.zst", DATA / f"{name}.perf-script.txt.xz", form)


CAPTURED_SCRIPTS = {
    "x86-svm/pveoi-idletick-xapic-off/perf-script.txt.gz": replace(CUT, untold=NO_NESTED),
    "x86-svm/mixed-sched-irq/perf-script.txt.gz": replace(CUT, untold=NO_NESTED),
    "x86-svm/multi-vm/perf-script.txt.gz": replace(CUT, untold=NO_NESTED),
    "x86-svm/perf-variants/callgraph.perf-script.txt.gz": CUT,
    "x86-svm/perf-variants/pipe.perf-script.txt.gz": replace(CUT, untold=NO_NESTED),
    "ppc64-p9/powernv9-perf-record-all/perf-script.txt.gz": replace(CUT, untold=NO_WAKEUP),
    "ppc64-p9/powernv9-perf-record-all/perf-script-ns.txt.gz": replace(NS, untold=NO_WAKEUP),
    "ppc64-p9/powernv9-perf-record-sched/perf-script.txt.gz": CUT,
    "ppc64-p9/powernv9-perf-record-nullhcall/perf-script.txt.gz": replace(CUT, untold=NO_WAKEUP + NO_BLOCKED),
    "ppc64-p9/powernv9-hpt-perf-record/perf-script.txt.gz": replace(CUT, untold=NO_WAKEUP),
    "ppc64-p9/powernv9-smp2-perf-record/perf-script.txt.gz": replace(CUT, untold=NO_WAKEUP),
    "ppc64-p9/nested-perf-record-all/perf-script-ns.txt.gz": replace(NS, untold=NO_WAKEUP),
    "arm64/perf-record-all/perf-script-guestcode.txt.gz": replace(CUT, untold=NO_WFX),
    "arm64/vhe-perf-record/perf-script-guestcode.txt.gz": replace(CUT, untold=NO_WFX),
    "arm64/perf-record-2vcpus/perf-script-guestcode.txt.gz": replace(CUT, untold=NO_WFX),
    "riscv64/perf-record/perf-script.txt.gz": CUT,
    "riscv64/perf-record/perf-script-ns.txt.gz": NS,
}


@needs_captures
@pytest.mark.parametrize("name", CAPTURED_SCRIPTS)
def test_perf_script_of_a_capture(name: str, forms: Forms) -> None:
    path = CAPTURES / name
    binary = path.with_name(path.name.split("perf-script")[0] + "perf.data")
    assert_same(forms, binary, path, CAPTURED_SCRIPTS[name])


PRINTED: dict[str, tuple[list[str], Form]] = {
    "as it is": ([], CUT),
    "ns": (["--ns"], NS),
    "process": (["-F", "+pid"], replace(CUT, processes=True)),
    "process, ns, losses": (["--show-lost-events", "-F", "+pid", "--ns"], replace(NS, processes=True)),
    "header, mode, period": (["--header", "-F", "+misc,+period"], CUT),
    "no name": (["-F", "-comm"], CUT),
}
PRINTED_OF = {
    "recordings/callgraph": (),
    "recordings/mixed-sched-irq": NO_NESTED,
    "other-architectures/arm64-all-events": NO_WFX,
}  # of these, perf of another architecture reads each


@pytest.mark.parametrize("options", PRINTED)
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_perf) for name in PRINTED_OF])
def test_what_perf_prints_here(name: str, options: str, forms: Forms, tmp_path: Path) -> None:
    (binary,) = DATA.parent.glob(f"{name}.perf.data*")
    given, form = PRINTED[options]
    assert_same(forms, binary, perf_script(binary, tmp_path, *given), replace(form, untold=PRINTED_OF[name]))


# --- losses ---

LOSSY = DATA / "lossy.perf.data.zst"


@pytest.mark.parametrize("given", [pytest.param(["-F", "+pid", "--ns"], marks=needs_perf)])
def test_a_text_with_its_losses_gives_the_same(given: list[str], forms: Forms, tmp_path: Path) -> None:
    text = perf_script(LOSSY, tmp_path, "--show-lost-events", *given)
    assert_same(forms, LOSSY, text, replace(NS, processes=True, untold=NO_NESTED))


def test_a_text_without_its_losses_cannot_say_which_exits_are_suspect(forms: Forms) -> None:
    """All that no loss hit is the same, but for the time in the guest before an exit, which a loss may hide."""
    binary, text = forms.exits(LOSSY), forms.exits(LOSSY.with_name("lossy.perf-script.txt.xz"))
    suspect = binary["suspect"].to_pylist()
    assert (sum(suspect), sum(text["suspect"].to_pylist())) == (51, 13)
    known = [row for row, is_suspect in enumerate(suspect) if not is_suspect]
    after_a_loss = Untold("guest_ns", {None}, "a loss lies before it", instead=5_746_436)
    form = replace(NS, processes=True, untold=(*NO_NESTED, after_a_loss))
    assert differences(binary.take(known), text.take(known), form) == []
    counted = ["tid", "exit_ts_ns", "reason_code", "cpu", "vcpu"]
    assert binary.select(counted) == text.select(counted)


# --- trace.dat ---

QUICK = {"trace-dat", "trace-cmd"}
FILES = sorted(TRACE_DATS.glob("*.dat*")) + sorted(CAPTURES.glob("**/trace*.dat"))
OF_FILES = [
    pytest.param(path, id="/".join(path.parts[-3:]), marks=[pytest.mark.slow] * (path.parts[-2] not in QUICK))
    for path in FILES
]
REPORTED: dict[str, tuple[list[str], Form]] = {
    "as it is": ([], ROUNDED),
    "ns": (["-t"], NS),
    "kernel's": (["-N"], ROUNDED),
    "kernel's, ns": (["-N", "-t"], NS),
}


def needs_compression_of(path: Path) -> None:
    """Skip what trace-cmd here cannot unpack: Debian's is built without zlib."""
    if path.name.startswith("riscv64") and "zlib" not in algorithms():
        pytest.skip("trace-cmd is built without zlib")


def ticks_of(path: Path) -> int | None:
    """Return the rate of a clock of ticks, taken as GHz: trace-cmd prints the ticks themselves."""
    return 10**9 if "tsc" in path.name or path.name.startswith("x86-svm.v6") else None


@needs_trace_cmd
@pytest.mark.parametrize("path", OF_FILES)
def test_versions_6_and_7_of_a_trace_dat(path: Path, forms: Forms, tmp_path: Path) -> None:
    """Convert there and back: not one column differs, nor the names of the threads."""
    needs_compression_of(path)
    form = Form(same_order=True)
    version7 = converted(path, tmp_path, 7)
    others = [version7]
    if (
        ".v7." not in path.name
    ):  # without an option CPUCOUNT, as those have none, trace-cmd writes a version 6 of no CPU
        others.append(converted(version7, tmp_path, 6))
    for other in others:
        assert_same(forms, path, other, form, ticks_of(path))
        assert forms.exits(path, ticks_of(path)) == forms.exits(other, ticks_of(path))
        assert forms.table(path, "threads", ticks_of(path)) == forms.table(other, "threads", ticks_of(path))


@needs_trace_cmd
@pytest.mark.parametrize("options", REPORTED)
@pytest.mark.parametrize("path", OF_FILES)
def test_trace_cmd_report(path: Path, options: str, forms: Forms, tmp_path: Path) -> None:
    needs_compression_of(path)
    given, form = REPORTED[options]
    ticks = ticks_of(path)
    text = trace_cmd_report(path, tmp_path, *given)
    untold = NO_WFX if "arm64" in str(path) else ()
    assert_same(forms, path, text, replace(NS if ticks else form, untold=untold), ticks)
    names = [{(row["tid"], row["name"]) for row in forms.table(p, "threads", ticks).to_pylist()} for p in (path, text)]
    assert names[1] - {(0, "<idle>")} <= names[0]  # which no recorder saves


# --- the kernel's own text, and the pages of the same ring buffer ---

RAW = {
    "arm64/raw-trace": ("arm64/formats", "local", None),
    "riscv64/raw-trace": ("riscv64/formats", "local", None),
    "ppc64-p9/powernv9-raw-trace": ("ppc64-p9/powernv9-formats", "local", None),
    "ppc64-p9/powernv9-raw-trace-ppc-tb": ("ppc64-p9/powernv9-formats", "ppc-tb", 512_000_000),
}


@needs_captures
@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("is_pipe", [False, True], ids=["trace", "trace_pipe"])
def test_ftrace_text_and_its_pages(name: str, is_pipe: bool, forms: Forms, tmp_path: Path) -> None:
    """trace_pipe prints the lines of `trace` without the comments at its head."""
    formats, clock, ticks = RAW[name]
    pages = (CAPTURES / name / "trace_pipe_raw-cpu0.bin").read_bytes()
    binary = written(trace_dat_of_pages(pages, CAPTURES / formats, clock), tmp_path / "pages.dat")
    (path,) = (CAPTURES / name).glob("trace.txt*")
    content = path.read_bytes() if path.suffix == ".txt" else gzip.decompress(path.read_bytes())
    if is_pipe:
        content = b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(b"#"))
    text = written(content, tmp_path / "trace.txt")
    assert_same(forms, binary, text, NS if ticks else ROUNDED, ticks)
