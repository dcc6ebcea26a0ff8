"""`kvmtrace compare`: what goes where, what is refused, and real recordings from end to end."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import run_folder

if TYPE_CHECKING:
    from store_builder import Row

RECORDINGS = Path(__file__).parent / "data" / "recordings"
MAIL = """\
Before:

 Performance counter stats for 'sleep 1s':

             49849 kvm:kvm_exit                       [99.98%]
             21115 kvm:kvm_inj_virq                   [99.98%]
              5001 kvm:kvm_pio                        [99.99%]
                 0 kvm:kvm_pv_eoi                     [99.99%]

       1.002100578 seconds time elapsed

After:

 Performance counter stats for 'sleep 1s':

             29595 kvm:kvm_exit                       [99.98%]
             24884 kvm:kvm_inj_virq                   [99.98%]
              1347 kvm:kvm_pio                        [99.99%]
             26593 kvm:kvm_pv_eoi                     [99.99%]

       1.002039622 seconds time elapsed
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of a real pair, and of the two tables of counts of a mail."""
    folder = tmp_path_factory.mktemp("compared")
    for side in ("off", "on"):
        label = Label(side, {"pv_eoi": side})
        ingest(str(RECORDINGS / f"pveoi-idletick-xapic-{side}.perf.data.zst"), folder / "store", label)
    mail = folder / "mail.txt"
    mail.write_text(MAIL)
    ingest(str(mail), folder / "store", Label())
    return folder / "store"


def compare(store: Path, *arguments: str) -> int:
    return run(["compare", *arguments, "--store", str(store)])


def test_the_first_line_says_what_happened(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(store, "off", "--against", "on", "--per", "kvm_inj_virq") == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.startswith("exits per injected interrupt fell from 2.06 to 1.11 (")
    assert out.splitlines()[0].endswith("within one run a side): nearly halved")
    assert not err


def test_a_tag_means_all_runs_that_have_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = []
    for names in (("off", "on"), ("pv_eoi=off", "pv_eoi=on")):
        assert compare(store, names[0], "--against", names[1], "--format", "json") == ExitCode.OK
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]


def test_two_tables_of_counts_are_compared_in_three_ways_without_an_interval(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(store, "mail.txt#1", "--against", "mail.txt#2") == ExitCode.OK
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    carries_none = "two single figures carry no interval)"
    times = "\N{MULTIPLICATION SIGN}"
    assert first == f"exits per second: from 49,745 to 29,535 ({times}0.594; {carries_none}"
    assert second == f"exits per injected interrupt: from 2.36 to 1.19 ({times}0.504; {carries_none}"
    assert third == f"exits without port I/O per injected interrupt: from 2.12 to 1.14 ({times}0.534; {carries_none}"


def test_counters_and_a_recording_are_compared_by_every_event_that_both_tell(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(store, "mail.txt#2", "--against", "on") == ExitCode.OK
    out = capsys.readouterr().out
    assert "warning: Runs of different kinds are compared (counters against recording)" in out
    (row,) = [line for line in out.splitlines() if line.startswith("kvm:kvm_pv_eoi ")]
    assert "not recorded" not in row


def test_csv_has_a_row_for_each_figure_and_claims_are_said_beside_it(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = "ratio(kvm_exit / kvm_inj_virq) <= 0.7"
    assert compare(store, "off", "--against", "on", "--format", "csv", "--claim", claim) == ExitCode.OK
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["section"] for row in rows[:2]] == ["headline", "headline"]
    (npf,) = [row for row in rows if (row["section"], row["reason"]) == ("exits", "npf")]
    assert (npf["base_n"], npf["new_n"], npf["unit"], npf["verdict"]) == ("1123", "43", "per second", "fell")
    assert f"note: claim {claim}: supported: 0.540" in err


def test_json_has_everything(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--by", "reason", "--by", "detail", "--minimum-effect", "2%", "--level", "99%", "--with-idle")
    assert compare(store, "off", "--against", "on", "--format", "json", *options) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["options"]["minimum_effect"] == 0.02
    assert told["options"]["level"] == 0.99
    assert [run["label"] for side in told["sides"].values() for run in side] == ["off", "on"]
    steps, whole = told["waterfall"]["steps"], told["waterfall"]
    for what in ("exits", "time_ns"):
        change = whole[f"new_{what}"] - whole[f"base_{what}"]
        assert sum(step[what] for step in steps) == pytest.approx(change)
    assert {line["detail_name"] for line in told["sections"][0]["lines"]} >= {"APIC_EOI"}


def test_a_comparison_and_its_figure_go_to_files_that_are_overwritten_only_by_force(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, figure = tmp_path / "a.md", tmp_path / "a.png"
    arguments = ("off", "--against", "on", "--format", "markdown", "-o", str(page), "--plot", str(figure))
    assert compare(store, *arguments) == ExitCode.OK
    assert "### What made the change, per second" in page.read_text(encoding="utf-8")
    assert figure.read_bytes().startswith(b"\x89PNG\r\n")
    assert compare(store, *arguments) == ExitCode.USAGE
    assert "a.md is there already" in capsys.readouterr().err
    assert compare(store, *arguments, "--force") == ExitCode.OK


@pytest.mark.parametrize(("page", "figure"), [("a.md", "no/a.png"), ("no/a.md", "a.png"), ("a.png", "./a.png")])
def test_where_one_of_both_files_cannot_be_written_neither_is(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str, figure: str
) -> None:
    files = ("-o", str(tmp_path / page), "--plot", f"{tmp_path}/{figure}", "--force")
    assert compare(store, "off", "--against", "on", *files) == ExitCode.USAGE
    assert not list(tmp_path.iterdir())
    assert ("the same file" if page == "a.png" else "there is no folder") in capsys.readouterr().err


def test_nothing_to_draw_leaves_no_half_of_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        add_run(tmp_path / "store", name)
    files = ("-o", str(tmp_path / "a.txt"), "--plot", str(tmp_path / "a.png"))
    assert compare(tmp_path / "store", "a", "--against", "b", *files) == ExitCode.USAGE
    assert "nothing is recorded on both sides that could be drawn" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_of_a_tag_recordings_alone_are_compared_and_what_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(6):
        add_recording(tmp_path, f"a{n}", {"npf": 100 + n})
        add_recording(tmp_path, f"b{n}", {"npf": 50 + n})
    add_run(tmp_path, "aa", {"benchmarks": fixed_table("benchmarks", [])}, kind="benchmarks")
    (run_folder(tmp_path, "aa") / "label.json").write_text(json.dumps({"label": None, "tags": {"side": "a"}}))
    assert compare(tmp_path, "side=a", "--against", "side=b") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("exits per second fell from 102 to 52.5 (")
    said = "Of side=a recordings alone are compared; left out: aa (benchmarks)."
    assert f"warning: {said}" in out
    budget = tmp_path / "budget.toml"
    budget.write_text('[[budget]]\nname = "exits"\nmetric = "kvm_exit"\nscope = "ratio"\nat_most = 1.0\n')
    assert run(["check", "side=a", "--against", "side=b", "--budget", str(budget), "--store", str(tmp_path)]) == 0
    assert said in capsys.readouterr().out
    assert compare(tmp_path, "side=a", "aa", "--against", "side=b") == ExitCode.OK
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch", "--against", "on"), "no run is called 'nosuch'"),
        (("off", "--against", "pv_eoi=maybe"), "no run is called 'pv_eoi=maybe'"),
        (("off",), "missing option '--against'"),
        (("off", "--against", "on", "--per", "kvm_inj_vrq"), "--per kvm_inj_vrq: not recorded in any of the runs"),
        (("off", "--against", "on", "--per", "work=1"), "--per: expected work=N/M"),
        (("off", "--against", "on", "--claim", 'exits("nfp") < 1'), "has the exit reason 'nfp'"),
        (("off", "--against", "on", "--claim", "kvm_exit"), "--claim 'kvm_exit': expected"),
        (("off", "--against", "on", "--level", "95"), "--level: expected a share between 0 and 1, found '95'"),
        (("off", "--against", "on", "--minimum-effect", "little"), "--minimum-effect: expected a share such as 1%"),
        (("off", "--against", "on", "--plot", "a.pdf"), "expected a file name that ends in .png or .svg"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert compare(store, *arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert not out
    assert message in err.splitlines()[0]


def bucket(reason: str, n: int, latency_ns: int) -> Row:
    """Return the latency bucket of so many exits of one latency."""
    bounds = {"bucket_low_ns": latency_ns, "bucket_high_ns": latency_ns, "min_ns": latency_ns, "max_ns": latency_ns}
    sums = {"n": n, "sum_ns": n * latency_ns, "sum_sq_ns2": float(n * latency_ns**2)}
    return {"reason": reason, "detail_capped": False, "idle": False, "suspect": False, **bounds, **sums}


def add_recording(store: Path, run_id: str, counts: dict[str, int]) -> None:
    rows = [{"reason": reason, "latency_ns": 1000} for reason, n in counts.items() for _ in range(n)]
    tables = {
        "exits": exits(*rows),
        "latency_buckets": fixed_table("latency_buckets", [bucket(r, n, 1000) for r, n in counts.items()]),
        "events/kvm/kvm_exit": event({}, *[{}] * len(rows)),
    }
    add_run(store, run_id, tables, elapsed_ns=10**9)
    (run_folder(store, run_id) / "label.json").write_text(json.dumps({"label": None, "tags": {"side": run_id[0]}}))


def test_many_runs_are_samples_and_too_few_are_told_how_many_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(7):
        add_recording(tmp_path, f"a{n}", {"odd\x1b[2J": 100 + n})
        add_recording(tmp_path, f"b{n}", {"odd\x1b[2J": 50 + n})
    assert compare(tmp_path, "side=a", "--against", "side=b") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("exits per second fell from 103 to 53.0 (")
    assert "7 and 7 runs): " in out
    assert "within-run" not in out
    assert "\x1b" not in out
    assert "odd\\x1b[2J" in out
    assert compare(tmp_path, "a1", "a2", "--against", "b1", "--against", "b2") == ExitCode.OK
    assert "not enough runs: need 3 a side, found 2 and 2" in capsys.readouterr().out


def test_help_loads_nothing_that_is_heavy() -> None:
    code = (
        "import sys; from kvmtrace.cli import run; run(['compare', '--help'])\n"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'duckdb', 'matplotlib', 'tabulate'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == ["[]"]
