"""Keys, timeouts and window changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.cli.terminal.keyboard import Keyboard

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipes:
    """A keyboard whose terminal and signals are pipes."""

    def __init__(self) -> None:
        self._keys_out, self.keys = os.pipe()
        self._wake_out, self.wake = os.pipe()
        self.keyboard = Keyboard(terminal=self._keys_out, wake=self._wake_out)

    def close(self) -> None:
        """Close the pipes."""
        for end in (self._keys_out, self.keys, self._wake_out, self.wake):
            if end >= 0:
                os.close(end)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """Keys and signals that a test can send."""
    found = Pipes()
    yield found
    found.close()


def test_a_key_is_returned_at_once(pipes: Pipes) -> None:
    """One at a time."""
    os.write(pipes.keys, b"ab")
    assert [pipes.keyboard.wait(60), pipes.keyboard.wait(60)] == ["a", "b"]


def test_no_key_is_an_empty_one(pipes: Pipes) -> None:
    """When the time is up."""
    assert pipes.keyboard.wait(0) == ""


def test_a_signal_ends_the_waiting(pipes: Pipes) -> None:
    """Before any key: the window has another size."""
    os.write(pipes.keys, b"q")
    os.write(pipes.wake, b"\x1c")
    assert pipes.keyboard.wait(60) is None
    assert pipes.keyboard.wait(60) == "q"


def test_only_q_quits(pipes: Pipes) -> None:
    """In either case; other keys are ignored."""
    os.write(pipes.keys, b"xyQ")
    assert pipes.keyboard.wait_for_quit(60) == "q"
    os.write(pipes.keys, b"xy")
    assert pipes.keyboard.wait_for_quit(0.01) == ""


def test_a_terminal_that_has_been_closed_ends_the_command(pipes: Pipes) -> None:
    """Nobody can press a key any more."""
    os.close(pipes.keys)
    pipes.keys = -1
    with pytest.raises(KeyboardInterrupt):
        pipes.keyboard.wait(60)


def test_without_a_terminal_only_signals_count(pipes: Pipes) -> None:
    """As with a pipe for stdin."""
    keyboard = Keyboard(terminal=None, wake=pipes.keyboard._wake)
    os.write(pipes.keys, b"q")
    assert keyboard.wait(0) == ""
