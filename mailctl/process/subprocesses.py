"""Runs a command of the operator, which may hang, print without end or leave processes behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds between two looks whether a command has ended that has left its output open.
_LOOK_SECONDS = 0.1


class CommandTooSlow(Exception):
    """A command has not ended in time."""


def run_command(arguments: Sequence[str], *, seconds: float, most_bytes: int) -> tuple[int, bytes]:
    """Run a command without a shell and without input; what it says on stderr is dropped.

    Args:
        arguments: the program and its arguments.
        seconds: how long it may take; then it is killed with the processes that it has started.
        most_bytes: how much output is read; a command that prints more is killed.

    Returns:
        The exit code, and the first bytes of the output.

    Raises:
        CommandTooSlow: it has not ended in time.
        OSError: it cannot be started.
        ValueError: an argument cannot be passed on.
    """
    until = time.monotonic() + seconds
    # A session of its own, so that all its processes can be killed together.
    with subprocess.Popen(  # noqa: S603 - the operator's own command
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            output = _read_output(process, until=until, most_bytes=most_bytes)
            if len(output) >= most_bytes:
                _kill(process)
                return 0, output
            return process.wait(max(0.0, until - time.monotonic())), output
        except subprocess.TimeoutExpired:
            raise CommandTooSlow from None
        finally:
            if process.poll() is None:
                _kill(process)


def _read_output(process: subprocess.Popen[bytes], *, until: float, most_bytes: int) -> bytes:
    """Read until the command ends, although a process that it has started may keep the output open."""
    assert process.stdout is not None
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) < most_bytes:
            has_ended = process.poll() is not None
            if selector.select(0 if has_ended else _LOOK_SECONDS):
                chunk = os.read(process.stdout.fileno(), most_bytes - len(output))
                if not chunk:
                    break
                output += chunk
            elif has_ended:
                break
            if time.monotonic() >= until:
                raise CommandTooSlow
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
