"""One recording that is looked on while it is read and stored, and what ends both."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.pipes import Stop
from kvmtrace.ingesting import ingest
from kvmtrace.watch.onlooker import Onlooker
from kvmtrace.watch.plain import Lines, block
from kvmtrace.watch.table import View, closing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from kvmtrace.formats.source import ReadOptions
    from kvmtrace.ingesting import Ingested
    from kvmtrace.store.label import Label
    from kvmtrace.watch.own_perf import OwnPerf
    from kvmtrace.watch.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants to see."""

    view: View
    last_ns: int
    interval_ns: int
    on_terminal: bool  # a live table, else blocks of lines
    unicode: bool = True


@dataclass(frozen=True, slots=True)
class Watched:
    """What was read and stored."""

    runs: list[Ingested]
    was_ended: bool  # by the user


def watch(
    path: str,
    store: Path,
    label: Label,
    wishes: Wishes,
    options: ReadOptions,
    perf: OwnPerf | None = None,
) -> Watched:
    """Read the input at `path` into `store`, show its last seconds on standard output, and return its runs.

    `perf`: what records it; it is told to end where the user leaves, and read to its end. Without it a pipe is
    read no further, and a file to its end all the same. Errors as of ingest; KeyboardInterrupt: asked for twice.
    """
    with ExitStack() as closed:
        stop = Stop()
        closed.callback(stop.close)
        end = _End(stop if perf is None else None, perf)
        onlooker = Onlooker(wishes.view.by, wishes.last_ns, wishes.interval_ns)
        closed.enter_context(end.on_signals())
        with _shown(onlooker, wishes, end.ask):
            if perf is None:
                runs = ingest(path, store, label, options=options, listener=onlooker, stop=stop)
            else:
                runs = _of_perf(perf, store, label, options, onlooker)
        return Watched(runs, end.asked)


def _of_perf(perf: OwnPerf, store: Path, label: Label, options: ReadOptions, onlooker: Onlooker) -> list[Ingested]:
    try:
        runs = ingest(
            perf.name,
            store,
            label,
            options=options,
            listener=onlooker,
            stream=perf.output,
            beside=perf.beside,
        )
    except InputError:
        perf.stop()
        perf.wait()
        perf.check_began()
        raise
    perf.wait()
    perf.check()
    return runs


class _End:
    """Ends the reading when it is asked to; a second signal ends the program."""

    def __init__(self, stop: Stop | None, perf: OwnPerf | None) -> None:
        self.asked = False
        self._stop = stop
        self._perf = perf

    def ask(self) -> None:
        self.asked = True
        if self._perf is not None:
            self._perf.stop()
        if self._stop is not None:
            self._stop.ask()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.ask()


@contextmanager
def _shown(onlooker: Onlooker, wishes: Wishes, leave: Callable[[], None]) -> Iterator[None]:
    """Show what the onlooker sees while the context lasts; at its end the last of it, and what there was in all."""
    lines = Lines(sys.stdout, leave)

    def show(snapshot: Snapshot) -> None:
        lines.write(block(snapshot, onlooker.totals, view, unicode=wishes.unicode))

    view = wishes.view
    if wishes.on_terminal:
        from kvmtrace.watch.display import Display  # noqa: PLC0415 - rich, and only for this

        with Display(onlooker, view, leave) as display:
            yield
        view = display.view
    else:
        onlooker.show_each(show)
        yield
    if not onlooker.shown_to_end:
        show(onlooker.snapshot())
    lines.write(closing(onlooker.totals) + "\n")
