"""The one sink of the command line: data to stdout, talk to stderr, for people or for programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from mailctl.characters import has_controls, json_line, visible, visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

#: The version of every JSON object that is printed.
SCHEMA = "mailctl/1"


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

    def record(self, data: Mapping[str, Any]) -> None:
        """Print one object for programs."""
        typer.echo(json_line(json.dumps({"schema": SCHEMA, **data}, ensure_ascii=False)))

    def line(self, text: str = "") -> None:
        """Print one line of text, whole: what can be copied is never folded."""
        self._stdout.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def prose(self, text: str | Text, *, hang: int) -> None:
        """Print one line of text; a terminal that is too narrow gets it folded at words.

        Args:
            hang: cells before the words of the further lines.
        """
        from rich.text import Text

        from mailctl.cli.table import folded

        line = text if isinstance(text, Text) else Text(visible(text))
        self.lines(folded(line, width=self.width, hang=hang))

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
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def state(self, state: str, text: str) -> None:
        """Print a line that begins with a state in its colour."""
        from rich.text import Text

        line = Text.assemble((state, COLORS.get(state.strip(), "")), "  ", visible_line(text))
        self.prose(line, hang=len(state) + 2)

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, one below the other; empty values are left out."""
        shown = [(name, value) for name, value in rows if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.prose(f"{name:<{width}}  {visible_line(value)}", hang=width + 2)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table: fitted to a terminal, or with whole rows into a pipe or file."""
        self.lines(self._table(columns, rows))

    @property
    def width(self) -> int | None:
        """The cells of a line of the terminal; None where results go into a pipe or a file."""
        return self._stdout.width if sys.stdout.isatty() else None

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
    def redrawing(self, columns: Sequence[str]) -> Iterator[tuple[Any, Callable[[], int]]]:
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
            self._stdout.print(line, soft_wrap=True, highlight=False)

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Text]:
        from mailctl.cli.table import table_lines

        return table_lines(columns, rows, width=self.width, colors=COLORS)

    def note(self, text: str) -> None:
        """Tell the operator something that is not data."""
        self._stderr.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def error(self, text: str, fix: str = "") -> None:
        """Tell what is wrong, and what to do."""
        from rich.text import Text

        line = Text.assemble(("error: ", "bold red"), visible(text), f" {visible(fix)}" if fix else "")
        self._stderr.print(line, soft_wrap=True, highlight=False)

    @contextmanager
    def spinner(self, text: str) -> Iterator[Any]:
        """Show on a terminal that something goes on; yields a function that changes the text."""
        if self.as_json or not self._stderr.is_terminal:
            yield lambda _: None
            return
        with self._stderr.status(text) as status:
            yield status.update

    @contextmanager
    def progress(self, text: str, *, total: int) -> Iterator[Any]:
        """Show on a terminal how far something is, how fast, and how long it will take.

        Yields a function that takes how many more are done.
        """
        if self.as_json or not self._stderr.is_terminal:
            yield lambda _: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(text),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.speed:.0f}/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._stderr, transient=True) as shown:
            task = shown.add_task(text, total=total)
            yield lambda count: shown.advance(task, count)

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
                    yield each if each.control else Segment(visible(each.text), each.style)

            def on_broken_pipe(self) -> None:
                # Rich would end the process with exit code 1.
                raise

        is_plain = not self.with_color or bool(os.environ.get("NO_COLOR"))
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
