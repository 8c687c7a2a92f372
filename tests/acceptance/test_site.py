"""The documentation as a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a browser would fetch from elsewhere to show a page.
_ELSEWHERE = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]+\"")


def test_the_site_is_built_without_a_warning_and_needs_no_other(tmp_path: Path) -> None:
    """Links and anchors are checked; scripts, styles and fonts are its own."""
    words = (
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        ".ci/mkdocs.yml",
        "--site-dir",
        str(tmp_path),
    )
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    assert [found for page in pages for found in _ELSEWHERE.findall(page.read_text())] == []
    assert not (tmp_path / "generators").exists()
