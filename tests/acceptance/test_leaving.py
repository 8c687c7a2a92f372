"""Ctrl-C where nothing is under way: at a question, and in front of what only watches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.screen import Screen

if TYPE_CHECKING:
    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal

#: Commands that ask, and the end of their question.
ASKING = {
    "send welcome --all-users --campaign spring": "[y/N]:",
    "send reset --user-id 1 --token-stdin": "token:",
    "hold --kind welcome": "[y/N]:",
    "queue purge celery": "[y/N]:",
}
#: Commands that watch, and what they show.
WATCHING = {
    "list --watch": "pending",
    "status {id} --watch": "recorded",
    "queue list --watch": "depth",
    "events --follow --since 1h": "recorded",
    "top": "q quits",
}
#: The same in a pipe.
PIPED = {
    "list --watch --json": "pending",
    "status {id} --watch": "recorded",
    "queue list --watch": "depth",
    "events --follow --since 1h": "recorded",
    "top --interval 60": "recorded",
}


def leave(screen: Screen, key: bytes) -> None:
    """Press a key at a question, again if need be: just before it reads, the interpreter misses a signal."""
    for _ in range(10):
        screen.press(key)
        until = time.monotonic() + 5
        screen.wait_until(lambda until=until: "Nothing was done" in screen.text or time.monotonic() > until)
        if "Nothing was done" in screen.text:
            return


@pytest.mark.parametrize("key", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_question_may_be_left_unanswered(terminal: Terminal, desk: Desk, key: bytes) -> None:
    """What is said then, and the shell after it, stand on lines of their own; nothing was done."""
    desk.send()
    before = desk.run("list")[1]
    for words, question in ASKING.items():
        with Screen(terminal.folder, *words.split(), is_forked=True) as screen:
            screen.wait_for(question)
            leave(screen, key)
            assert screen.wait_for_end() == 130, screen.text
            *_, asked, said = screen.lines[: screen.lines.index("")]
            assert question in asked, screen.text
            assert said == "error: Nothing was done.", screen.text
            screen.assert_as_before()
    assert desk.run("list")[1] == before


def test_who_has_seen_enough_is_done(terminal: Terminal, desk: Desk) -> None:
    """Exit code 0 of everything that watches, on a terminal and in a pipe; nothing is said."""
    task_id = desk.send()
    for words, shown in WATCHING.items():
        with Screen(terminal.folder, *words.format(id=task_id).split(), is_forked=True) as screen:
            screen.wait_for(shown)
            screen.press(b"\x03")
            assert screen.wait_for_end() == 0, (words, screen.text)
            assert "interrupted" not in screen.text
            screen.assert_as_before()
    for words, shown in PIPED.items():
        window = terminal.open(sys.executable, "-m", "mailctl", *words.format(id=task_id).split())
        window.wait_until_printed(shown)
        assert window.interrupt() == 0, (words, window.output)
