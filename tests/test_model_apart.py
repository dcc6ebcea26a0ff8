"""A generator in a process of its own: the same items, its errors, and an early end."""

from __future__ import annotations

import multiprocessing
import os
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from kvmtrace.generating import run_of
from kvmtrace.recording import TableSet
from kvmtrace.synth import model_file
from kvmtrace.synth.apart import apart
from kvmtrace.synth.engines import interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator


def squares(n: int) -> Iterator[int]:
    yield from (number * number for number in range(n))


def endless() -> Iterator[bytes]:
    for _ in count():
        yield bytes(1 << 16)


def broken() -> Iterator[int]:
    yield 1
    raise ValueError("no more")


def ended_from_outside() -> Iterator[int]:
    yield 1
    os._exit(1)


def test_items_come_in_order_to_the_end() -> None:
    assert list(apart(squares, 100)) == list(squares(100))


def test_an_error_is_raised_where_the_items_are_wanted() -> None:
    items = apart(broken)
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_a_process_that_is_ended_is_an_error_and_not_the_end() -> None:
    with pytest.raises(RuntimeError, match="ended from outside"):
        list(apart(ended_from_outside))


def test_nobody_is_left_behind_when_no_more_is_wanted() -> None:
    items = apart(endless)
    assert len(list(islice(items, 3))) == 3
    items.close()
    assert not multiprocessing.active_children()


def test_interrupts_are_the_same_from_a_process_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_file.find("pv-eoi")

    def events() -> list[list[int]]:
        (recording,) = model.engine.contents(run_of(model, "on", seconds=0.05))
        assert not isinstance(recording, TableSet)
        return [[*block.ts_ns.tolist(), *block.kind.tolist()] for block in recording.blocks()]

    here = events()
    monkeypatch.setattr(interrupts, "LONG_EVENTS", 1)
    assert sum(map(len, here)) > 1000
    assert events() == here
