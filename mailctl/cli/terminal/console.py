"""The Rich console that text is printed through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from mailctl.domain.unicode_safety import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


def make_console(*, stderr: bool, is_plain: bool) -> Console:
    """Return the console of stdout or stderr.

    Args:
        stderr: whether it writes to stderr instead of stdout.
        is_plain: whether it writes no colours.
    """
    return _SafeConsole(stderr=stderr, no_color=is_plain, color_system=None if is_plain else "auto")


class _SafeConsole(Console):
    """A console that escapes control characters and lets the caller handle a closed pipe."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # Live tables, spinners and styled text are rendered here, too.
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_controls(segment.text), segment.style)

    @property
    def encoding(self) -> str:
        # Rich assumes that every standard stream is UTF-8.
        return str(getattr(self.file, "encoding", None) or "utf-8").lower()

    def show_cursor(self, show: bool = True) -> bool:
        # A process that is killed during an animation must not leave the cursor hidden.
        return (show or self.is_alt_screen) and super().show_cursor(show)

    def on_broken_pipe(self) -> None:
        # Rich would end the process with exit code 1.
        raise
