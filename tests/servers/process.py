"""Server processes on free loopback ports, which tests start, stop and kill."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


#: Seconds that a server may take to start or to stop.
PATIENCE = 120


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that are alive."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


class Server:
    """A process of its own that a test may stop, kill and start again on the same port.

    Args:
        folder: where its data and its output go; made if it is not there.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What the server has written so far."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.is_running:
            return
        self._prepare()
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                user=self._user(),
                env=self._environment(),
                start_new_session=True,
            )
        self._wait_until(self._answers)

    def stop(self) -> None:
        """Ask the process to end (SIGTERM, or what this server takes for an orderly end) and wait for it."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End the process as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Keep connections open and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Answer nothing in the block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    _stop_signal = signal.SIGTERM
    _patience = PATIENCE

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.is_running:
            self._signal(number)
            self._signal(signal.SIGCONT)
        self._process.wait(self._patience)
        self._process = None

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            assert self.is_running, f"the server ended: {self.output}"
            assert time.monotonic() < deadline, f"the server does not answer: {self.output}"
            time.sleep(0.02)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def _user(self) -> str | None:
        return None

    def _environment(self) -> dict[str, str] | None:
        return None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class TemporaryServer(Server):
    """A server whose folder goes with the end of its `with` block."""

    @override
    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        shutil.rmtree(self.folder)


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"install {name}"
    return found


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"install {name}, or put its server on PATH"
    assert spec.origin is not None
    return Path(spec.origin).parent
