"""MkDocs loads this file by its path, and calls it for every page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).parents[2])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its generated parts; the name and the arguments are those of MkDocs."""
    if _ROOT not in sys.path:
        sys.path.insert(0, _ROOT)
    from docs.generators.parts import fill  # not found before

    return fill(markdown)
