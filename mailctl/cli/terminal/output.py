"""The one sink of the command line: data to stdout, talk to stderr, for people or for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from mailctl.cli.terminal.progress import LiveDisplay
from mailctl.cli.terminal.streams import is_unicode
from mailctl.unicode_safety import (
    escape_controls,
    escape_controls_as_line,
    escape_json_controls,
    has_controls,
)
from mailctl.views import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text


class JsonObject(Protocol):
    """An object for programs, such as one of `mailctl.views`."""

    def as_json(self) -> Mapping[str, Any]:
        """Return the object with values that `json.dumps` accepts."""


@dataclass
class Output:
    r"""Writes results.

    Control characters in them are escaped, such as \x1b: values from outside must not control the terminal.
    Only raw data in a pipe or a file stays as it is.

    Args:
        as_json: one JSON object a line instead of text.
        with_color: whether colours are allowed at all.
    """

    as_json: bool = False
    with_color: bool = True
    #: What the command has done already: told where its results cannot be written.
    already_done: str = ""

    def record(self, view: JsonObject) -> None:
        """Print one object for programs."""
        # Where the locale lacks a character, JSON has another way to write it.
        is_ascii = not is_unicode(sys.stdout)
        with self._live_display.suspended():
            text = json.dumps({"schema": SCHEMA_VERSION, **view.as_json()}, ensure_ascii=is_ascii)
            sys.stdout.write(escape_json_controls(text) + "\n")
            sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """Print one line of text, whole: what can be copied is never folded."""
        self._print(self._stdout, escape_controls(text))

    def prose(self, text: str | Text, *, hang: int) -> None:
        """Print one line of text; a terminal that is too narrow gets it folded at words.

        Args:
            hang: cells before the words of the further lines.
        """
        from rich.text import Text

        from mailctl.cli.terminal.table import wrap_line

        line = text if isinstance(text, Text) else Text(escape_controls_as_line(text))
        self.lines(wrap_line(line, width=self.width, hang=hang))

    def raw(self, data: bytes) -> None:
        """Print bytes: unchanged into a pipe or a file, as text without control characters on a terminal."""
        if sys.stdout.isatty():
            text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
            self.line(text.removesuffix("\n"))
            if has_controls(text.replace("\n", "")):
                self.note(
                    "Control characters are escaped here. Redirect the output to a file for the exact bytes."
                )
            return
        with self._live_display.suspended():
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def state(self, state: str, text: str) -> None:
        """Print a line that begins with a state in its colour."""
        from rich.text import Text

        line = Text.assemble((state, COLORS.get(state.strip(), "")), "  ", escape_controls_as_line(text))
        self.prose(line, hang=len(state) + 2)

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, one below the other; empty values are left out."""
        shown = [(name, value) for name, value in rows if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.prose(f"{name:<{width}}  {escape_controls_as_line(value)}", hang=width + 2)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table: fitted to a terminal, or with whole rows into a pipe or file."""
        self.lines(self._table(columns, rows))

    @property
    def width(self) -> int | None:
        """The cells of a line of the terminal; None where results go into a pipe or a file."""
        if not sys.stdout.isatty():
            return None
        # Rich takes every terminal without escapes for one of 80 columns.
        return shutil.get_terminal_size().columns if self._stdout.is_dumb_terminal else self._stdout.width

    @property
    def has_screen(self) -> bool:
        """Whether results go to a terminal on which one can draw."""
        return sys.stdout.isatty() and not self.as_json and not self._stdout.is_dumb_terminal

    @contextmanager
    def full_screen(self) -> Iterator[Callable[[Callable[[int, int], Sequence[Text]]], None]]:
        """Take the whole terminal, and give it back as it was.

        Yields a function that shows what another draws: lines, for so many columns and rows.
        """
        from rich.console import Group
        from rich.live import Live

        with Live(console=self._stdout, screen=True, auto_refresh=False) as live:

            def show(draw: Callable[[int, int], Sequence[Text]]) -> None:
                size = self._stdout.size
                live.update(Group(*draw(size.width, size.height)[: size.height]), refresh=True)

            yield show

    @contextmanager
    def live_table(self, columns: Sequence[str]) -> Iterator[tuple[Any, Callable[[], int]]]:
        """Draw a table over and over on a terminal, which is left with the last one.

        Yields a function that takes the rows to draw now, and one that returns how many there is room for.
        """
        from rich.console import Group
        from rich.live import Live

        with Live(console=self._stdout, auto_refresh=False, vertical_overflow="crop") as live:
            yield (
                lambda rows: live.update(Group(*self._table(columns, rows)), refresh=True),
                lambda: max(1, self._stdout.height - 2),
            )

    def lines(self, lines: Iterable[Text]) -> None:
        """Print styled lines."""
        for line in lines:
            self._print(self._stdout, line)

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Text]:
        from mailctl.cli.terminal.table import table_lines

        return table_lines(columns, rows, width=self.width, colors=COLORS)

    def note(self, text: str) -> None:
        """Tell the operator something that is not data."""
        self._print(self._stderr, escape_controls(text))

    def error(self, text: str, fix: str = "") -> None:
        """Tell what is wrong, and what to do."""
        from rich.text import Text

        line = Text.assemble(
            ("error: ", "bold red"), escape_controls(text), f" {escape_controls(fix)}" if fix else ""
        )
        self._print(self._stderr, line)

    @contextmanager
    def spinner(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show on a terminal that the command works; yields a function that changes the text."""
        if not self._can_animate:
            yield lambda _: None
            return
        with self._live_display.spinner(text) as update:
            yield update

    @contextmanager
    def progress(self, text: str, *, total: Callable[[], int]) -> Iterator[Callable[[int], None]]:
        """Show on a terminal how far the command is, how fast, and how long it will take.

        Args:
            total: counts what is to be done; asked only where it is shown.

        Yields a function that takes how many more are done.
        """
        if not self._can_animate:
            yield lambda _: None
            return
        with self._live_display.progress(text, total=total()) as advance:
            yield advance

    @property
    def _can_animate(self) -> bool:
        """Whether people look at a terminal on which something may move."""
        return sys.stderr.isatty() and not self.as_json and self.has_color

    @property
    def has_color(self) -> bool:
        """Whether what is said may have colours, or anything else that is no text."""
        return not self._is_plain and not self._stderr.is_dumb_terminal

    @property
    def _is_plain(self) -> bool:
        return not self.with_color or bool(os.environ.get("NO_COLOR"))

    def _print(self, console: Console, line: str | Text) -> None:
        with self._live_display.suspended():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    @cached_property
    def _live_display(self) -> LiveDisplay:
        return LiveDisplay(self._stderr)

    @cached_property
    def _stdout(self) -> Console:
        return self._console(stderr=False)

    @cached_property
    def _stderr(self) -> Console:
        return self._console(stderr=True)

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console
        from rich.segment import Segment

        class Sink(Console):
            def render(
                self, renderable: RenderableType, options: ConsoleOptions | None = None
            ) -> Iterable[Segment]:
                # Live tables, spinners and styled text are rendered here, too.
                for each in super().render(renderable, options):
                    yield each if each.control else Segment(escape_controls(each.text), each.style)

            @property
            def encoding(self) -> str:
                # Rich believes every standard stream to be UTF-8.
                return str(getattr(self.file, "encoding", None) or "utf-8").lower()

            def show_cursor(self, show: bool = True) -> bool:
                # Whoever is killed while something moves leaves the cursor as it is: seen.
                return (show or self.is_alt_screen) and super().show_cursor(show)

            def on_broken_pipe(self) -> None:
                # Rich would end the process with exit code 1.
                raise

        is_plain = self._is_plain
        return Sink(stderr=stderr, no_color=is_plain, color_system=None if is_plain else "auto")


#: Styles of words that have one, such as states.
COLORS = {
    "sent": "green",
    "captured": "green",
    "ok": "green",
    "deferred": "yellow",
    "held": "yellow",
    "warn": "yellow",
    "failed": "bold red",
    "fail": "bold red",
    "expired": "red",
    "cancelled": "dim",
    "suppressed": "dim",
    "skip": "dim",
    "sending": "cyan",
    "queued": "blue",
    "pending": "blue",
}
