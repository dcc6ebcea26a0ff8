"""queries/whatif/interrupts.sql: which EOIs would exit with PV EOI too, by what was pending and in service."""

from __future__ import annotations

from pathlib import Path

import pytest
from eoi_samples import EOIS, add_eois
from query_samples import accept, answers

from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label

RECORDINGS = Path(__file__).parent / "data" / "recordings"
QUIET = (False, False, False, False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with interrupts of one vCPU, one after the other."""
    return add_eois(tmp_path)


def of_vectors(store: Path) -> dict[int, tuple[bool, ...]]:
    rows = {row.pop("exit_id"): tuple(row.values()) for row in answers(store, "whatif/interrupts", run_id="02dd")}
    return {vector: rows[exit_id] for vector, (exit_id, _) in EOIS.items() if exit_id in rows}


def test_an_interrupt_by_itself_needs_no_exit_for_its_eoi(store: Path) -> None:
    found = of_vectors(store)
    assert found[50] == QUIET
    assert found[80] == QUIET  # of two in service the newest


def test_an_interrupt_that_waited_when_the_guest_was_entered_makes_the_eoi_exit(store: Path) -> None:
    assert of_vectors(store)[60] == (True, False, False, False)


def test_an_interrupt_that_came_in_the_exit_is_told(store: Path) -> None:
    assert of_vectors(store)[61] == (False, False, False, True)


def test_the_eoi_of_what_another_interrupted_exits(store: Path) -> None:
    assert of_vectors(store)[70] == (False, True, False, False)


def test_an_interrupt_of_a_level_triggered_line_needs_the_exit(store: Path) -> None:
    assert of_vectors(store)[90] == (False, False, True, False)


@pytest.mark.parametrize("others", [[accept(15, 7, 1, 50, tm=1)], [accept(15, 7, 1, 90)]])
def test_a_line_of_another_vcpu_says_nothing_of_this_ones(tmp_path: Path, others: list[dict[str, object]]) -> None:
    found = of_vectors(add_eois(tmp_path, others=others))
    assert (found[50], found[90]) == (QUIET, (False, False, True, False))


def test_in_a_real_recording_with_pv_eoi_the_eois_that_exit_are_those_with_an_interrupt_pending(tmp_path: Path) -> None:
    (on,) = ingest(str(RECORDINGS / "pveoi-idletick-xapic-on.perf.data.zst"), tmp_path / "store", Label())
    rows = answers(tmp_path / "store", "whatif/interrupts", run_id=on.manifest.run_id)
    assert len(rows) == 43
    assert sum(row["interrupt_pending"] for row in rows) >= 40
