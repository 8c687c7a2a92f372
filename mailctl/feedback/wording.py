"""How mail without a standard report is recognised (`wording.toml`); only this module reads its wording."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


def says(section: str, name: str, text: str) -> bool:
    """Whether a text matches any expression of the table.

    Args:
        section: the section of the table, such as `bounce`.
        name: the list in the section, such as `subjects`.
        text: the text, of any length.
    """
    return bool(_expression(section, name).search(text))


def auto_reply_headers() -> tuple[str, ...]:
    """Return the names of the header fields that only automatic replies have."""
    return tuple(_table()["auto_reply"]["headers"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("mailctl.feedback").joinpath("wording.toml").read_text(encoding="utf-8"))


@cache
def _expression(section: str, name: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in _table()[section][name]), re.IGNORECASE)
