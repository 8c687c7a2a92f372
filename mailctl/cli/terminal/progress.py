"""Spinners and progress bars, which disappear while other lines are printed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.progress import ProgressColumn

#: Columns of a terminal that is too narrow for a bar.
_NARROW_WIDTH = 72
_BAR_WIDTH = 20
_REFRESHES_PER_SECOND = 12.5


@dataclass
class LiveDisplay:
    """The spinner or progress bar that is currently shown, if any.

    Args:
        console: the console to draw on.
    """

    console: Console
    _live: Live | None = None

    @contextmanager
    def spinner(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner; yields a function that changes its text."""
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        spinner = Spinner("dots" if self._is_unicode else "line", text=Text(text))
        live = Live(
            spinner,
            console=self.console,
            transient=True,
            redirect_stdout=False,
            refresh_per_second=_REFRESHES_PER_SECOND,
        )
        with self._shown(live):
            yield lambda text: spinner.update(text=Text(text))

    @contextmanager
    def progress(self, text: str, *, total: int) -> Iterator[Callable[[int], None]]:
        """Show a progress bar; yields a function that advances it by a number of items."""
        from rich.progress import Progress

        progress = Progress(*self._columns(), console=self.console, transient=True, redirect_stdout=False)
        task = progress.add_task(text, total=total)
        with self._shown(progress.live):
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Clear the display while something else is printed."""
        live = self._live
        if live is None:
            yield
            return
        live.stop()
        try:
            yield
        finally:
            if self._live is live:
                live.start(refresh=True)

    @contextmanager
    def _shown(self, live: Live) -> Iterator[None]:
        self._live = live
        try:
            live.start(refresh=True)
            yield
        finally:
            self._live = None
            live.stop()

    @property
    def _is_unicode(self) -> bool:
        return self.console.encoding.startswith("utf")

    def _columns(self) -> Iterator[ProgressColumn]:
        from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class Count(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.completed:,.0f} of {task.total or 0:,.0f}")

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                # Unknown before the first step.
                return Text("" if task.speed is None else f"{task.speed:,.0f}/s")

        yield TextColumn("{task.description}", markup=False)
        if self.console.width >= _NARROW_WIDTH:
            yield BarColumn(_BAR_WIDTH)
        yield from (Count(), Rate(), TimeRemainingColumn(compact=True))
