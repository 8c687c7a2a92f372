"""The output of every command: data to stdout, messages to stderr, as text or as JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from mailctl.cli.terminal.interrupts import uninterrupted_drawing
from mailctl.cli.terminal.progress import LiveDisplay
from mailctl.cli.terminal.streams import is_unicode
from mailctl.cli.terminal.styles import COLORS
from mailctl.domain.unicode_safety import (
    escape_controls,
    escape_controls_as_line,
    escape_json_controls,
    has_controls,
    shorten_quotes,
)
from mailctl.views import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

    from mailctl.cli.terminal.tabular import OutputLayout


class JsonObject(Protocol):
    """An object that is printed as JSON, such as one of `mailctl.views`."""

    def as_json(self) -> Mapping[str, Any]:
        """Return the object with values that `json.dumps` accepts."""


@dataclass
class Output:
    r"""Prints results and messages.

    Control characters are escaped, such as \x1b, because values from outside must not control the terminal.
    Only raw data that goes to a pipe or a file is left as it is.

    Args:
        as_json: whether results are JSON objects, one per line, instead of text.
        with_color: whether colours are allowed.
    """

    as_json: bool = False
    with_color: bool = True
    #: What the command has already done; printed if its result cannot be written.
    already_done: str = ""
    #: How lists are printed if their fields are wanted as columns; None for the columns of the command.
    layout: OutputLayout | None = None

    def record(self, view: JsonObject) -> None:
        """Print one JSON object."""
        is_ascii = not is_unicode(sys.stdout)
        with self._live_display.suspended():
            text = json.dumps({"schema": SCHEMA_VERSION, **view.as_json()}, ensure_ascii=is_ascii)
            sys.stdout.write(escape_json_controls(text) + "\n")
            sys.stdout.flush()

    def result(self, make_view: Callable[[], JsonObject], text: str) -> None:
        """Print one result: a JSON object, or a line of text.

        Args:
            make_view: returns the object; called only for JSON.
            text: the line.
        """
        if self.as_json:
            self.record(make_view())
        else:
            self.line(text)

    def listing(
        self,
        views: Iterable[JsonObject],
        *,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
    ) -> None:
        """Print several results: JSON objects, or a table; only the one that is printed is consumed.

        Raises:
            InvalidInput: the layout has a column that the results do not have.
        """
        if self.as_json:
            for view in views:
                self.record(view)
        elif self.layout is None:
            self.table(columns, list(rows))
        else:
            self._print_fields(views, self.layout)

    def line(self, text: str = "") -> None:
        """Print a line of text without wrapping it, so that it can be copied."""
        self._print(self._stdout, escape_controls(text))

    def prose(self, text: str | Text, *, hang: int) -> None:
        """Print a line of text, wrapped at words if the terminal is too narrow.

        Args:
            hang: the indentation of the continuation lines, in cells.
        """
        from rich.text import Text

        from mailctl.cli.terminal.table import wrap_line

        line = text if isinstance(text, Text) else Text(escape_controls_as_line(text))
        self.lines(wrap_line(line, width=self.width, hang=hang))

    def fix(self, text: str, *, indent: str) -> None:
        """Print what to do; a command in it is never wrapped, so that it can be copied.

        Args:
            text: what to do, perhaps ending with a command of mailctl.
            indent: what precedes the first line; the others are indented by as many cells.
        """
        words, space, command = text.rpartition(": mailctl ")
        if self.width is None or len(indent + text) <= self.width or not space:
            self.prose(f"{indent}{text}", hang=len(indent))
            return
        self.prose(f"{indent}{words}:", hang=len(indent))
        self.line(f"{' ' * len(indent)}{space[2:]}{command}")

    def raw(self, data: bytes) -> None:
        """Print bytes: unchanged to a pipe or a file, as escaped text to a terminal."""
        if sys.stdout.isatty():
            self._raw_to_terminal(data)
            return
        with self._live_display.suspended():
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def state(self, state: str, text: str) -> None:
        """Print a line that begins with a state in its colour."""
        from rich.text import Text

        line = Text.assemble(
            (state, COLORS.get(state.strip(), "")), "  ", escape_controls_as_line(shorten_quotes(text))
        )
        self.prose(line, hang=len(state) + 2)

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values in two columns, without the empty values."""
        shown = [(name, value) for name, value in rows if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.prose(f"{name:<{width}}  {escape_controls_as_line(value)}", hang=width + 2)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, fitted to the terminal; a pipe or a file gets whole rows."""
        self.lines(self._table(columns, rows))

    def lines(self, lines: Iterable[Text]) -> None:
        """Print styled lines."""
        for line in lines:
            self._print(self._stdout, line)

    def note(self, text: str) -> None:
        """Print a message to stderr."""
        self._print(self._stderr, escape_controls(text))

    def error(self, text: str, fix: str = "") -> None:
        """Print what is wrong, and how to fix it, to stderr."""
        from rich.text import Text

        line = Text.assemble(
            ("error: ", "bold red"),
            escape_controls(shorten_quotes(text)),
            f" {escape_controls(shorten_quotes(fix))}" if fix else "",
        )
        self._print(self._stderr, line)

    @property
    def width(self) -> int | None:
        """The width of the terminal in cells; None if stdout is a pipe or a file."""
        if not sys.stdout.isatty():
            return None
        # Rich assumes 80 columns for every terminal without escape sequences.
        return shutil.get_terminal_size().columns if self._stdout.is_dumb_terminal else self._stdout.width

    @property
    def has_screen(self) -> bool:
        """Whether stdout is a terminal that supports drawing."""
        return sys.stdout.isatty() and not self.as_json and not self._stdout.is_dumb_terminal

    @property
    def has_color(self) -> bool:
        """Whether messages may contain colours and other escape sequences."""
        return not self._is_plain and not self._stderr.is_dumb_terminal

    @contextmanager
    def full_screen(self) -> Iterator[Callable[[Callable[[int, int], Sequence[Text]]], None]]:
        """Use the alternate screen, and restore the terminal afterwards.

        Yields a function that displays what a given function draws: lines for a number of columns and rows.
        """
        from rich.console import Group
        from rich.live import Live

        with Live(console=self._stdout, screen=True, auto_refresh=False) as live:

            def show(draw: Callable[[int, int], Sequence[Text]]) -> None:
                size = self._stdout.size
                lines = draw(size.width, size.height)[: size.height]
                with uninterrupted_drawing():
                    live.update(Group(*lines), refresh=True)

            yield show

    @contextmanager
    def live_table(self, columns: Sequence[str]) -> Iterator[tuple[Any, Callable[[], int]]]:
        """Draw a table repeatedly; the last one stays on the terminal.

        Yields a function that draws rows, and one that returns how many rows fit on the terminal.
        """
        from rich.console import Group
        from rich.live import Live

        with Live(console=self._stdout, auto_refresh=False, vertical_overflow="crop") as live:

            def show(rows: Sequence[Sequence[str]]) -> None:
                with uninterrupted_drawing():
                    live.update(Group(*self._table(columns, rows)), refresh=True)

            yield show, lambda: max(1, self._stdout.height - 2)

    @contextmanager
    def spinner(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner on a terminal; yields a function that changes its text."""
        if not self._can_animate:
            yield lambda _: None
            return
        with self._live_display.spinner(text) as update:
            yield update

    @contextmanager
    def progress(self, text: str, *, total: Callable[[], int]) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on a terminal; yields a function that advances it by a number of items.

        Args:
            total: returns the number of items; called only if a bar can be shown. There is none for no items.
        """
        count = total() if self._can_animate else 0
        if not count:
            yield lambda _: None
            return
        with self._live_display.progress(text, total=count) as advance:
            yield advance

    def _print_fields(self, views: Iterable[JsonObject], layout: OutputLayout) -> None:
        from mailctl.cli.terminal.tabular import TableFormat, format_rows, rows_of_objects

        columns, rows = rows_of_objects((view.as_json() for view in views), layout)
        if layout.format is TableFormat.TABLE:
            self.table(columns, rows)
        else:
            self.raw(format_rows(columns, rows, table_format=layout.format).encode())

    def _raw_to_terminal(self, data: bytes) -> None:
        text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        self.line(text.removesuffix("\n"))
        if has_controls(text.replace("\n", "")):
            self.note("Control characters are escaped. Redirect the output to a file for the exact bytes.")

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Text]:
        from mailctl.cli.terminal.table import table_lines

        return table_lines(columns, rows, width=self.width, colors=COLORS)

    @property
    def _can_animate(self) -> bool:
        return sys.stderr.isatty() and not self.as_json and self.has_color

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
        from mailctl.cli.terminal.console import make_console

        return make_console(stderr=stderr, is_plain=self._is_plain)
