"""Makes the manual pages when the wheel is built.

They are not kept beside the code: each change of a help text would have to be made twice, and a page that was
forgotten would be installed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPagesHook(BuildHookInterface):
    """Adds a manual page for each command, where `man` looks for it beside the `bin` of `mailctl`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's)
        """Write the pages into a temporary folder."""
        sys.path.insert(0, self.root)
        from docs.generators.man_pages import man_pages

        self._folder = Path(tempfile.mkdtemp(prefix="mailctl-man-"))
        for name, text in man_pages(self.metadata.version).items():
            path = self._folder / name
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = f"share/man/man1/{name}"

    def finalize(self, *_: object) -> None:
        """Remove the temporary folder."""
        shutil.rmtree(self._folder)
