"""`kvmtrace watch` on a terminal: what is shown, keys, and the terminal afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_watch_command import ROUND, of_pipe, run_ids
from watch_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENTERED_ALTERNATE_SCREEN = "\x1b[?1049h"
LEFT_ALTERNATE_SCREEN = "\x1b[?1049l"
CURSOR_SHOWN = "\x1b[?25h"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, "watch", "-", "--store", "store", columns=40, environment={"NO_COLOR": "1"})
    opened.wait_for("waits for the first")
    yield opened
    opened.close()


def test_q_leaves_restores_the_terminal_and_stores_what_was_read(terminal: Terminal, tmp_path: Path) -> None:
    terminal.feed(of_pipe() + 2 * ROUND)  # everything is in order then
    terminal.wait_for("interrupt")
    terminal.press("?")
    terminal.wait_for("these keys")
    terminal.press("cq")
    assert terminal.ended() == 0
    assert terminal.settings() == terminal.before
    behind = terminal.screen.split(LEFT_ALTERNATE_SCREEN)[-1]
    assert CURSOR_SHOWN in terminal.screen
    assert "21,986 events" in behind
    assert "ended by the user" in behind
    assert len(run_ids(tmp_path)) == 1
    assert run_ids(tmp_path)[0] in behind


def test_ctrl_z_leaves_the_screen_and_all_is_there_again_when_it_goes_on(terminal: Terminal, tmp_path: Path) -> None:
    terminal.feed(of_pipe() + 2 * ROUND)
    terminal.wait_for("interrupt")
    for _ in range(2):
        terminal.press("\x1a")
        came = terminal.wait_for("[stopped]")
        assert LEFT_ALTERNATE_SCREEN in came
        assert CURSOR_SHOWN in came
        assert terminal.settings() == terminal.before
        terminal.press("\n")
        assert ENTERED_ALTERNATE_SCREEN in terminal.wait_for("interrupt")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.settings() == terminal.before
    assert len(run_ids(tmp_path)) == 1


def test_ctrl_c_does_as_q_does(terminal: Terminal, tmp_path: Path) -> None:
    terminal.feed(of_pipe() + 2 * ROUND)
    terminal.wait_for("interrupt")
    terminal.press("\x03")
    assert terminal.ended() == 0
    assert terminal.settings() == terminal.before
    assert len(run_ids(tmp_path)) == 1


def test_an_error_is_one_line_on_a_terminal_as_it_was(terminal: Terminal, tmp_path: Path) -> None:
    terminal.feed(b"no recording\n")
    terminal.end_input()
    assert terminal.ended() == 3
    assert terminal.settings() == terminal.before
    assert "kvmtrace: error: -: expected figures of KVM" in terminal.screen.split(LEFT_ALTERNATE_SCREEN)[-1]
    assert not run_ids(tmp_path)
