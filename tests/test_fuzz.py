"""A few seconds of damaged inputs of every format; `make fuzz` goes on for longer."""

from __future__ import annotations

from itertools import islice

import pytest
from fuzz import corpus, patience, rounds, survive
from fuzz_made import made

from kvmtrace.formats import detect

PER_SEED = 120
MADE = made()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_inputs_end_in_rows_and_notes_or_in_one_line(seed: int) -> None:
    for damaged in islice(rounds(seed), PER_SEED):
        with patience():
            survive(damaged.content)


@pytest.mark.parametrize("name", MADE)
def test_what_once_did_harm_ends_in_rows_and_notes_or_in_one_line(name: str) -> None:
    with patience():
        survive(MADE[name])


@pytest.mark.parametrize("name", [format_.name for format_ in detect.formats()])
def test_what_is_of_another_format_is_refused_in_one_line(name: str) -> None:
    for whole in corpus():
        survive(whole.content[: 1 << 16], name)


@pytest.mark.parametrize("content", [b"", b"\0", b"\n" * 5000, b"\xff" * 5000, b"a" * 3_000_000, b"1 " * 500_000])
def test_next_to_nothing_is_refused_in_one_line(content: bytes) -> None:
    assert survive(content) == 0
    for format_ in detect.formats():
        assert survive(content, format_.name) == 0
