"""Compares two outputs of `python -m tests.benchmarks --json`: `python -m tests.benchmarks.compare OLD NEW`.

The files may be of two versions or of two computers. Ratios are compared, as seconds depend on the computer.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_figures(lines: str) -> dict[str, Row]:
    """Return the figures of an output by name; without those that were not measured."""
    figures = [json.loads(line) for line in lines.splitlines() if line.strip()]
    return {figure["name"]: figure for figure in figures if not figure["missing"]}


def compare(old: dict[str, Row], new: dict[str, Row]) -> list[str]:
    """Return a line for each figure: both ratios, and whether the new one is outside of the old rounds."""
    lines = [_line(name, old[name], new[name]) for name in old if name in new]
    lines += [f"{name:<44} only in the older file" for name in old if name not in new]
    return lines + [f"{name:<44} only in the newer file" for name in new if name not in old]


def _line(name: str, old: Row, new: Row) -> str:
    return f"{name:<44} {old['ratio']:>8.2f} {new['ratio']:>8.2f}  {new['bar']}  {_verdict(old, new)}"


def _verdict(old: Row, new: Row) -> str:
    """Return whether a ratio has changed by more than its rounds differ."""
    low, high = old["spread"] or (old["ratio"], old["ratio"])
    if low <= new["ratio"] <= high:
        return "within the rounds"
    if new["bar"][:2] not in ("<=", ">="):
        return "different"
    return "better" if (new["ratio"] < low) is (new["bar"][:2] == "<=") else "WORSE"


def main() -> None:
    """Print the comparison of two files."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    files = parser.parse_args()
    sys.stdout.write(f"{'ratio':<44} {'older':>8} {'newer':>8}  bar\n")
    for line in compare(read_figures(files.old.read_text()), read_figures(files.new.read_text())):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
