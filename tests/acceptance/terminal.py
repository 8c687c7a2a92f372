"""What an operator has before them: a folder with a .env, commands, and workers in other windows."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from dotenv import dotenv_values

from mailctl.settings import Settings
from tests.acceptance.forked import PYTHON, Forked, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds that anything here may take.
PATIENCE = 120.0
#: What a shell does with a line besides cutting it into words.
_OF_A_SHELL = re.compile(r"[|&;<>()$`*?\[\]{}~#\n]")
#: Programs of the tests that import mailctl themselves.
_OF_MAILCTL = {"tests.foreign_worker", "tests.service.main:app", "service:app"}


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The one object that it printed."""
        [line] = self.out.splitlines()
        loaded: dict[str, Any] = json.loads(line)
        return loaded

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects that it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal:
    """Runs commands in a folder.

    Args:
        folder: where; its .env holds the settings.
        python: of the environment that mailctl is installed in; by default the one that runs the tests.
        forks: whether commands are forked from a process that has imported mailctl, which is faster. Not in
            a benchmark: such a process has more in memory, and collects its garbage for longer.
    """

    def __init__(self, folder: Path, *, python: str = sys.executable, forks: bool = True) -> None:
        self.folder = folder
        self.python = python
        self._forks = forks
        self.environment: dict[str, str] = {}
        self.windows: list[Window] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for window in self.windows:
            window.kill()

    def set(self, **settings: object) -> None:
        """Write settings to the .env."""
        with (self.folder / ".env").open("a") as stream:
            stream.writelines(f"{name}={value}\n" for name, value in settings.items())

    def settings_in_force(self) -> dict[str, str]:
        """Return what the .env says, for a process that runs elsewhere."""
        return {name: value or "" for name, value in dotenv_values(self.folder / ".env").items()}

    def run(
        self, *arguments: str, stdin: str | None = None, encoding: str = "utf-8", **environment: str
    ) -> Result:
        """Run a mailctl command to its end."""
        variables = self._environment(environment)
        if self._forks and self.python == sys.executable:
            return self._run_forked(arguments, variables, (stdin or "").encode(encoding), encoding)
        done = subprocess.run(
            [self.python, "-m", "mailctl", *arguments],
            cwd=self.folder,
            env=variables,
            input=stdin,
            capture_output=True,
            encoding=encoding,
            timeout=PATIENCE * 2,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def call(self, entry: str, stdin: str) -> Result:
        """Call MODULE:FUNCTION of the tests in a process that is forked as those of commands are."""
        return self._run_forked((), self._environment({}), stdin.encode(), "utf-8", entry=entry)

    def shell(self, command: str) -> tuple[int, str]:
        """Run a line of a shell; return its exit code, and what it printed on both streams."""
        if words := words_of_python(command):
            window = self.open(*words, name="shell")
            return window.process.wait(PATIENCE * 2), window.output
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        return done.returncode, done.stdout

    def send(self, *arguments: str, **options: Any) -> str:
        """Send an email and return its id."""
        result = self.run("send", *arguments, "--json", **options)
        assert result.code == 0, result.err
        return str(result.data["task_id"])

    def status(self, task_id: str) -> dict[str, Any]:
        """Return what `status --json` says."""
        result = self.run("status", task_id, "--json")
        assert result.code in (0, 1, 6), result.err
        return result.data

    def statuses(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return what `status --json` says of several emails."""
        result = self.run("status", *ids, "--json")
        assert result.code in (0, 1, 6), result.err
        return result.lines

    def wait_for(self, task_id: str, state: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until an email is in a state, and return its status."""
        return self.wait_for_all([task_id], state, seconds)[0]

    def wait_for_all(self, ids: Sequence[str], state: str, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Wait until emails are in a state, and return what `status` says of them."""
        deadline = time.monotonic() + seconds
        # A command takes a worker's time to start: the log is looked at until it is worth one.
        while not self._states_in_log(ids) <= {state} and time.monotonic() < deadline:
            time.sleep(0.05)
        while True:
            result = self.run("status", *ids, "--json")
            found = result.lines
            # A message of another program is recorded when a worker receives it.
            if len(found) == len(ids) and all(each["state"] == state for each in found):
                return found
            assert result.code in (0, 1, 3, 6), result.err
            assert time.monotonic() < deadline, (found, result.err)

    def open(self, *command: str, name: str = "window", **environment: str) -> Window:
        """Start a program in a window of its own; Python of the tests' own environment is forked."""
        variables = self._environment(environment)
        output = self.folder.parent / f"{name}-{time.monotonic_ns()}.txt"
        process: Forked | subprocess.Popen[bytes]
        if self._forks and _is_forked(command) and not _has_sitecustomize(variables):
            process = self._fork_python(command[1:], variables, output)
        else:
            with output.open("wb") as stream:
                process = subprocess.Popen(
                    command, cwd=self.folder, env=variables, stdout=stream, stderr=subprocess.STDOUT
                )
        window = Window(process, output)
        self.windows.append(window)
        return window

    def worker(self, *arguments: str, **environment: str) -> Window:
        """Start `mailctl worker` and wait until it is ready."""
        window = self.launch_worker(*arguments, **environment)
        window.wait_until_printed("ready.")
        return window

    def launch_worker(self, *arguments: str, **environment: str) -> Window:
        """Start `mailctl worker` and go on at once."""
        return self.open(self.python, "-m", "mailctl", "worker", *arguments, name="worker", **environment)

    def _run_forked(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        stdin: bytes,
        encoding: str,
        **start: str,
    ) -> Result:
        with TemporaryDirectory(dir=self.folder.parent) as folder:
            given, out, err = (Path(folder) / name for name in ("in", "out", "err"))
            given.write_bytes(stdin)
            code = self._fork(arguments, environment, given, out, err, **start).wait(PATIENCE * 2)
            return Result(code, out.read_text(encoding), err.read_text(encoding))

    def _fork_python(self, arguments: tuple[str, ...], environment: dict[str, str], output: Path) -> Forked:
        if arguments[:2] == ("-m", "mailctl"):
            return self._fork(arguments[2:], environment, os.devnull, output)
        is_of_mailctl = not _OF_MAILCTL.isdisjoint(arguments[:3])
        return self._fork(
            arguments, environment, os.devnull, output, entry=PYTHON, is_of_mailctl=is_of_mailctl
        )

    def _fork(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        stdin: Path | str,
        out: Path,
        err: Path | None = None,
        **start: Any,
    ) -> Forked:
        files = (str(stdin), str(out), str(err or out))
        folder = str(self.folder)
        return Forked(
            Start(arguments=arguments, folder=folder, environment=environment, files=files, **start)
        )

    def wait_until_relays_notice(self) -> None:
        """Wait until no worker promises that its relay publishes new emails at once; the log is in SQLite.

        A worker that cannot reach the broker tells so with its next heartbeat.
        """
        deadline = time.monotonic() + PATIENCE
        while _read(self._sqlite_log, "SELECT 1 FROM mailctl_workers WHERE publishes_at_once"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def suspend(self, *pids: int) -> None:
        """Stop processes by a signal, at a moment in which none of them has locked a log in SQLite.

        A process that is stopped with that lock keeps everybody from writing.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            # On another processor it goes on for a moment, and may lock the log.
            while not all(map(_is_stopped, pids)):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            if not self._is_log_locked():
                return
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _is_log_locked(self) -> bool:
        file = self._sqlite_log
        if not file.is_file():
            return False
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False

    @property
    def _sqlite_log(self) -> Path:
        """The file of a log in SQLite; of a log elsewhere, one that does not exist."""
        url = (self.settings_in_force() | self.environment).get("MAILCTL_DATABASE_URL", "sqlite:///")
        return self.folder / (url.removeprefix("sqlite:///") or ".mailctl/mailctl.db")

    def _states_in_log(self, ids: Sequence[str]) -> set[str]:
        """Return the states of those emails that a log in SQLite knows."""
        file = self._sqlite_log
        if not file.is_file():
            return set()
        query = f"SELECT DISTINCT state FROM mailctl_emails WHERE id IN ({','.join('?' * len(ids))})"
        return {str(state) for (state,) in _read(file, query, ids)}

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        # As on a machine where nobody has set anything; unbuffered output would hide what is lost at the end.
        foreign = {name.upper() for name in Settings.model_fields} | {"PYTHONUNBUFFERED"}
        inherited = {name: value for name, value in os.environ.items() if name not in foreign}
        return inherited | self.environment | more


def _read(file: Path, query: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        return connection.execute(query, values).fetchall()


def _is_stopped(pid: int) -> bool:
    """Whether all threads of a process are stopped by a signal; True where there is no /proc."""
    try:
        stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread has just ended
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def words_of_python(line: str) -> list[str]:
    """Return what runs a line of a shell that is one command in Python; [] where only a shell can."""
    if _OF_A_SHELL.search(line):
        return []
    [program, *rest] = shlex.split(line)
    if program in ("mailctl", "uvicorn"):
        return [sys.executable, "-m", program, *rest]
    return [sys.executable, *rest] if program in ("python", sys.executable) else []


def _is_forked(command: Sequence[str]) -> bool:
    """Whether a command is Python of the tests' own environment, without options of the interpreter."""
    return command[0] == sys.executable and (command[1] in ("-m", "-c") or not command[1].startswith("-"))


def _has_sitecustomize(environment: dict[str, str]) -> bool:
    """Whether a module changes Python at its start, which a process that is forked would not import."""
    folders = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    return any((Path(folder) / "sitecustomize.py").is_file() for folder in folders)


class Window:
    """A program that keeps running."""

    def __init__(self, process: Forked | subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def wait_until_printed(self, text: str) -> None:
        """Wait until it has printed something."""
        self.wait_until(lambda: text in self.output)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while it runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        return self._end(signal.SIGINT)

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process.poll() is None:
            self._end(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its own end, and return the exit code."""
        return self.process.wait(PATIENCE)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)
