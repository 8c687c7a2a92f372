"""`mailctl top` on a real terminal, and what is left of it there."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.screen import Screen

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal

TOP = ("top", "--interval", "0.3")


@pytest.mark.parametrize("columns", [60, 140])
def test_q_leaves_and_everything_is_as_before(terminal: Terminal, columns: int) -> None:
    """In a narrow and in a wide window; a change of size is followed."""
    terminal.send("welcome", "--user-id", "1")
    with Screen(terminal.folder, *TOP, columns=columns) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        assert "q quits" in screen.lines[0]
        assert screen.lines[1].startswith("fail  No worker is alive (1 email held up)")
        assert screen.modes != screen.modes_before
        screen.resize(columns + 20)
        screen.process.send_signal(signal.SIGWINCH)
        screen.wait_until(lambda: len(screen.lines[0]) == columns + 20)
        screen.press(b"x")
        screen.press(b"q")
        assert screen.wait_for_end() == 0
        screen.assert_as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_it_as_before_too(terminal: Terminal, number: signal.Signals) -> None:
    """Who watches and has seen enough is done: exit code 0."""
    terminal.send("welcome", "--user-id", "1")
    with Screen(terminal.folder, *TOP, columns=80) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        screen.process.send_signal(number)
        assert screen.wait_for_end() == 0
        screen.assert_as_before()


def test_a_log_that_goes_away_is_told_and_waited_for(terminal: Terminal) -> None:
    """What was seen last stays, and is said not to be current."""
    terminal.send("welcome", "--user-id", "1")
    log = terminal.folder / ".mailctl" / "mailctl.db"
    with Screen(terminal.folder, *TOP, columns=80) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        content = log.read_bytes()
        log.write_bytes(b"not a database" * 1000)
        screen.wait_until(lambda: "outdated" in "\n".join(screen.lines))
        assert any(line.startswith("celery ") for line in screen.lines)
        log.write_bytes(content)
        screen.press(b"q")
        assert screen.wait_for_end() == 0
        screen.assert_as_before()


def test_a_pipe_gets_one_look_or_as_many_lines_as_wished(terminal: Terminal) -> None:
    """Text once, or JSON a line a look, without a single control character."""
    terminal.send("welcome", "--user-id", "1")
    once = terminal.run("top")
    assert (once.code, "recorded       1/min" in once.out, "\x1b" in once.out) == (0, True, False)
    assert once.out.startswith("fail  No worker is alive (1 email held up)")
    twice = terminal.run("top", "--json", "--count", "2", "--interval", "0.1")
    assert [look["queues"][0]["depth"] for look in twice.lines] == [1, 1]
