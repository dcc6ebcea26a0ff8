"""The live table of a terminal: a thread that shows the newest snapshot and takes keys."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from kvmtrace.watch.keyboard import Keyboard
from kvmtrace.watch.table import SORT_HEADINGS, Sort, View, headline, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from rich.console import RenderableType

    from kvmtrace.report.blocks import Table
    from kvmtrace.watch.onlooker import Onlooker

_EVERY_S = 0.25
_QUIET_S = 2.0  # after so long without anything new that is said
_LINES_BESIDE = 5  # of a table's rows: headline, which may take two, heading with its rule, keys
_SORTS = frozenset(sort.value for sort in Sort)
_KEYS = "q leaves, ? keys"
_HELP = (
    "q      leave: what was read is stored",
    "c t    sort by exits, by time out of the guest",
    "5 9 m  sort by p50, p99, max",
    "r      sort by name",
    "← →    sort by the column beside; the same key again: the other way round",
    "space  hold still, and go on",
    "?      these keys",
)


class Display:
    """Shows what an onlooker sees, in a thread of its own, until it is closed; `leave` is called where q is pressed.

    Ctrl-Z comes as a signal to the main thread, which may hold what this thread waits for, so neither waits for the
    other: the signal asks this thread to leave the screen; that sends the signal again, which then stops the program.
    """

    def __init__(
        self, onlooker: Onlooker, view: View, leave: Callable[[], None], console: Console | None = None
    ) -> None:
        self.view = view
        self.help = False
        self.held = False
        self._onlooker = onlooker
        self._leave = leave
        self._console = console or Console()
        self._keyboard = Keyboard()
        self._over = threading.Event()
        self._asked_away = False
        self._is_away = False  # the terminal is as it was before
        self._back = threading.Event()
        self._trouble: BaseException | None = None
        self._newest: tuple[int, float] = (-1, time.monotonic())  # events so far, and since when it is so many
        self._thread = threading.Thread(target=self._run, name="kvmtrace-display", daemon=True)

    def __enter__(self) -> Self:
        self._keyboard.take()
        self._before = signal.signal(signal.SIGTSTP, self._stop)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._back.set()
        self._keyboard.wake()
        self._thread.join()
        signal.signal(signal.SIGTSTP, self._before)
        self._keyboard.close()
        if error is None and self._trouble is not None:
            raise self._trouble

    def press(self, key: str) -> bool:
        """Take a key. Returns False where it asks to leave."""
        if key == "q":
            return False
        if key == "?":
            self.help = not self.help
        elif key == " ":
            self.held = not self.held
        elif key in ("left", "right"):
            self.view = self.view.moved(1 if key == "right" else -1)
        elif key in _SORTS:
            self.view = self.view.sorted_by(Sort(key))
        return True

    def renderable(self) -> RenderableType:
        """Return what is shown now, as large as the terminal is."""
        snapshot, totals = self._onlooker.snapshot(), self._onlooker.totals
        width, height = self._console.size
        help_lines = _HELP if self.help else (_KEYS,)
        shown = table(snapshot, self.view, width=width, rows=max(height - _LINES_BESIDE - len(help_lines), 1))
        head = Text(headline(snapshot, totals) + self._state(totals.events), style="bold")
        if totals.lost_events:
            head.stylize("yellow")
        return Group(head, _grid(shown, self.view), Text("\n".join(help_lines), style="dim"))

    def _state(self, events: int) -> str:
        count, since = self._newest
        if events != count:
            self._newest = (events, time.monotonic())
            return " (held)" if self.held else ""
        quiet = time.monotonic() - since
        return f"; nothing new for {quiet:.0f} s" if quiet > _QUIET_S else ""

    def _run(self) -> None:
        try:
            while not self._show():
                self._stay_away()
        except BaseException as error:  # noqa: BLE001 - raised again by who closes this; the recording goes on
            self._trouble = error
        if not self._over.is_set():
            self._leave()

    def _show(self) -> bool:
        """Show until it is over, and return True, or until it is to leave the screen for a while."""
        with Live(console=self._console, screen=True, auto_refresh=False, transient=True) as live:
            while not (self._over.is_set() or self._asked_away):
                if not self.held:
                    live.update(self.renderable(), refresh=True)
                if not all(map(self.press, self._keyboard.wait(_EVERY_S))):
                    return True
        return self._over.is_set()

    def _stay_away(self) -> None:
        """Have the program stopped, the terminal being as it was, and return when it goes on."""
        self._keyboard.give_back()
        self._is_away = True
        os.kill(os.getpid(), signal.SIGTSTP)
        self._back.wait()
        self._back.clear()
        self._is_away = self._asked_away = False
        self._keyboard.take()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if not self._is_away:
            self._asked_away = True
            self._keyboard.wake()
            return
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)  # here it stops, unless nobody could have it go on
        signal.signal(number, self._stop)
        self._back.set()


def _grid(shown: Table, view: View) -> RichTable:
    grid = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, heading in enumerate(shown.headings):
        is_name = place < shown.names
        sort = Sort.NAME if is_name else SORT_HEADINGS.get(heading)
        style = "bold underline" if sort is view.sort else "bold"
        grid.add_column(
            Text(heading, style=style),
            justify="left" if is_name else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if is_name else len(heading),
        )
    for row in shown.rows:
        grid.add_row(*(Text(cell) for cell in row), style="dim" if "(idle)" in row[0] else "")
    return grid
