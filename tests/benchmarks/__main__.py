"""Runs the benchmarks and prints the table: `python -m tests.benchmarks [--rounds 5] [NAME...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import (
    bulk,
    delayed,
    durability,
    feedback,
    growth,
    memory,
    priority,
    single,
    startup,
    statements,
    stopping,
    ten_million,
    web,
)
from tests.benchmarks.bench import PROCESSES
from tests.benchmarks.sink import sink_name

BENCHMARKS = {
    "bulk": bulk.on_sqlite,
    "bulk-postgresql": bulk.on_postgresql,
    "drain": bulk.drain,
    "delayed": delayed.single_emails,
    "delayed-campaign": delayed.campaigns,
    "enqueue": bulk.enqueue,
    "latency": single.latency,
    "request": single.request,
    "recording": single.recording,
    "durability": durability.compared,
    "statements": statements.of_a_call,
    "priority": priority.resets,
    "memory": memory.workers,
    "startup": startup.commands,
    "hold": stopping.hold,
    "growth": growth.queries,
    "ten-million": ten_million.queries,
    "pages": web.pages,
    "sign-ups": web.sign_ups,
    "feedback": feedback.webhook_events,
    "feedback-log": feedback.large_log,
    "feedback-why": feedback.time_to_why,
}


def main() -> int:
    """Return 0 if every bar is reached, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"median of {chosen.rounds}, {PROCESSES} processes, {sink_name()}, Python {sys.version.split()[0]}")
    print(f"{'figure':<44} {'mailctl':>14} {'other':>14} {'ratio':>7}  bar")
    is_met = True
    for name in chosen.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="mailctl-bench-") as folder:
            for figure in BENCHMARKS[name](Path(folder), rounds=chosen.rounds):
                is_met &= figure.is_met
                verdict = "" if figure.is_met else "  NOT REACHED"
                columns = f"{figure.name:<44} {figure.ours:>14} {figure.other:>14} {figure.ratio:>7.2f}"
                print(f"{columns}  {figure.bar}{verdict}", flush=True)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
