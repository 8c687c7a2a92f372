"""Compares two checkouts of mailctl: `python -m tests.benchmarks.versions CHECKOUT PYTHON [NAME...]`.

CHECKOUT is the older one, and PYTHON the interpreter in whose environment it is installed. Each pair runs a
benchmark once in either, in alternating order, and ratios are those of pairs, so that what else the computer
does in the meantime affects both sides alike.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.__main__ import BENCHMARKS

#: Name, mailctl's figure, the other one, their ratio and the bar, as the table of the benchmarks has them.
_ROW = re.compile(r"^(?P<name>.{44,}?) +(?P<ours>[\d.,]+) +[\d.,]+ +[\d.]+  (?P<bar>[<>]=)")


@dataclass(frozen=True)
class Checkout:
    """A checkout of mailctl, and the interpreter in whose environment it is installed."""

    folder: Path
    python: str

    def measure(self, benchmark: str) -> dict[str, tuple[float, str]]:
        """Run a benchmark once, and return mailctl's figures by name, each with the direction of its bar."""
        command = [self.python, "-m", "tests.benchmarks", benchmark, "--rounds", "1"]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        rows = [row for line in run.stdout.splitlines() if (row := _ROW.match(line))]
        if not rows:
            raise RuntimeError(f"{benchmark} measured nothing in {self.folder}:\n{run.stderr}")
        return {row["name"].strip(): (float(row["ours"].replace(",", "")), row["bar"]) for row in rows}


def compare(benchmark: str, older: Checkout, newer: Checkout, *, pairs: int) -> None:
    """Print the ratio of newer to older for each figure of a benchmark: median, quartiles and extremes."""
    ratios = defaultdict(list)
    bars = {}
    for turn in range(pairs):
        sides = (older, newer) if turn % 2 == 0 else (newer, older)
        found = {side: side.measure(benchmark) for side in sides}
        for name in found[older].keys() & found[newer].keys():
            (before, bars[name]), (after, _) = found[older][name], found[newer][name]
            ratios[name].append(after / before)
    for name, values in sorted(ratios.items()):
        low, middle, high = statistics.quantiles(values, n=4)
        better = "less is better" if bars[name] == "<=" else "more is better"
        spread = f"{low:.3f} to {high:.3f} ({min(values):.3f} to {max(values):.3f})"
        print(f"{name:<44} {middle:>7.3f}  {spread}  {better}", flush=True)


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.versions")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("python")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    parser.add_argument("--pairs", type=int, default=15)
    chosen = parser.parse_args()
    older = Checkout(chosen.checkout.resolve(), chosen.python)
    newer = Checkout(Path.cwd(), sys.executable)
    print(f"newer to older, {chosen.pairs} pairs: median, quartiles (extremes)")
    for name in chosen.names or BENCHMARKS:
        compare(name, older, newer, pairs=chosen.pairs)


if __name__ == "__main__":
    main()
