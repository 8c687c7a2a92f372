"""What takes messages from a source, as the ingester does."""

from __future__ import annotations

from mailctl.errors import LogUnavailable

DOWN = LogUnavailable("The delivery log is down.")


class Taken(list[tuple[bytes, str]]):
    """Takes messages with their envelope recipients; its next calls fail as often as `failures` says."""

    failures = 0

    def __call__(self, data: bytes, recipient: str = "") -> None:
        """Take a message."""
        if self.failures:
            self.failures -= 1
            raise DOWN
        self.append((data, recipient))
