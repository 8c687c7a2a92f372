"""Every command where something is missing: characters, colours, streams, a home, a folder."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailctl.cli.terminal import streams
from mailctl.errors import ExitCode
from tests.acceptance.every_command import ROWS, Office, Row
from tests.acceptance.forked import Forked, Start
from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.acceptance.terminal import Terminal

LONG = os.environ.get("MAILCTL_FAULTS") == "long"
#: A folder in which nobody can make anything, not even root.
NO_FOLDER = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a command finds where there is no terminal."""

    encoding: str = "utf-8"
    closed: tuple[int, ...] = ()
    has_home: bool = True
    has_folder: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


SURROUNDINGS = {
    "ascii, no stdin, no home": Surroundings(encoding="ascii", closed=(0,), has_home=False),
    "latin-1, no stderr": Surroundings(encoding="latin-1", closed=(2,)),
    "no stdout": Surroundings(closed=(1,)),
    "read-only folder, no streams": Surroundings(closed=(0, 1), has_home=False, has_folder=False),
}
#: What else can be asked of commands that are not at a terminal: they read what is there.
READING = [
    Row(command="status", arguments="-"),
    Row(command="hold", arguments="-"),
    Row(command="suppress import", arguments="-", code=2),
    Row(command="users import", arguments="-", code=2),
    Row(command="send welcome", arguments="--users-file -", code=2),
    Row(command="send reset", arguments="--user-id 1 --token-stdin", code=2),
    Row(command="workers stop", code=3),
    Row(command="hold", arguments="--campaign spring", code=4),
]


#: They serve pages until they are stopped, also where there is no log.
SERVING = {"web", "preview", "feedback serve"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A folder with emails of all sorts, which stays as it is."""
    return Office(tmp_path_factory.mktemp("office"))


def can_be_awaited(row: Row, surroundings: Surroundings) -> bool:
    """Whether one can see that a command which goes on has begun, or it ends where there is no log."""
    ends_by_itself = not surroundings.has_folder and row.command not in SERVING
    return not row.until or not {1, 2} & set(surroundings.closed) or ends_by_itself


#: One place decides what becomes of a stream that is closed: of two neighbours among the commands, one has no
#: stderr and the other no stdout.
TURNS = ("latin-1, no stderr", "no stdout")


def chosen() -> Iterator[tuple[Row, str]]:
    """Yield each command in its surroundings; with MAILCTL_FAULTS=long in all of them."""
    for where, surroundings in SURROUNDINGS.items():
        for number, row in enumerate([*ROWS, *READING]):
            is_its_turn = where not in TURNS or where == TURNS[number % 2]
            if can_be_awaited(row, surroundings) and (is_its_turn or LONG):
                yield row, where


@pytest.mark.parametrize(
    ("row", "where"), [pytest.param(row, where, id=f"{row}, {where}") for row, where in chosen()]
)
def test_it_does_what_it_does_elsewhere(office: Office, tmp_path: Path, row: Row, where: str) -> None:
    """Never a traceback; what cannot be written is replaced; what cannot be made is told."""
    surroundings = SURROUNDINGS[where]
    code, printed = run(office, tmp_path, row, surroundings)
    text = printed.decode(surroundings.encoding)
    assert "Traceback" not in text, text
    assert "\x1b" not in text
    assert code in list(ExitCode), text
    if surroundings.has_folder and row.command != "top":
        assert code == row.code, text


def run(office: Office, tmp_path: Path, row: Row, surroundings: Surroundings) -> tuple[int, bytes]:
    """Run a command; return its exit code and all that it has written."""
    folder = tmp_path / "work"
    office.copy_to(folder)
    written = tmp_path / "written"
    names: list[str | None] = [os.devnull, str(written), str(written)]
    for number in surroundings.closed:
        names[number] = None
    start = Start(
        arguments=row.words(office.ids),
        folder=str(folder if surroundings.has_folder else NO_FOLDER),
        environment=environment_of(surroundings),
        files=(names[0], names[1], names[2]),
    )
    process = Forked(start)
    if row.until and row.command != "top" and surroundings.has_folder:
        wait_until_written(written, row, process)
        process.send_signal(signal.SIGINT)
    code = process.wait(PATIENCE)
    return code, written.read_bytes() if written.exists() else b""


def environment_of(surroundings: Surroundings) -> dict[str, str]:
    """Return the variables, with those of the test's own process that have nothing to do with mailctl."""
    kept = {"PATH", "LANG", "TMPDIR", *(["HOME"] if surroundings.has_home else [])}
    inherited = {name: value for name, value in os.environ.items() if name in kept}
    return inherited | {"PYTHONIOENCODING": surroundings.encoding} | dict(surroundings.environment)


def wait_until_written(file: Path, row: Row, process: Forked) -> None:
    """Wait until a command that goes on has begun."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists() or row.until.encode() not in file.read_bytes():
        assert process.poll() is None, file.read_bytes()
        assert time.monotonic() < deadline, row
        time.sleep(0.02)


#: What decides about the encoding as the interpreter starts.
LOCALES: tuple[dict[str, str], ...] = (
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii", "HOME": ""},
)


@pytest.mark.parametrize("environment", LOCALES, ids=str)
def test_a_new_process_prints_what_the_locale_has(
    office: Office, terminal: Terminal, environment: dict[str, str]
) -> None:
    """A bar where it has one, else something like it; JSON loses nothing."""
    office.copy_to(terminal.folder / "work")
    terminal.set(MAILCTL_HOME="work/.mailctl")
    for words in ("stats", "show {pending}", "list --state failed", "status {failed} --json"):
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        ran = terminal.run(*words.format(**office.ids).split(), encoding=encoding, **environment)
        assert "Traceback" not in ran.err, ran.err
        assert ran.code == (1 if words.startswith("status") else 0), ran.err
    assert ran.data["smtp"]["text"] == "Nachricht zurückgewiesen — “spam” … 拒绝"


def test_what_stands_for_a_character_takes_as_many_cells() -> None:
    """So that tables stay tables."""
    streams.prepare()
    text = "…\N{LATIN SMALL LETTER E WITH ACUTE}—“x”█▏▁拒e\N{COMBINING ACUTE ACCENT}"
    assert text.encode("ascii", "mailctl.substitute") == b'.?-"x"#..??e'
    assert text.encode("latin-1", "mailctl.substitute") == b'.\xe9-"x"#..??e'
    assert "\udc80".encode("utf-8", "mailctl.substitute") == b"?"
