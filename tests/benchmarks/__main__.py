"""Runs the benchmarks and prints the table: `python -m tests.benchmarks [--rounds 5] [--json] [NAME...]`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import (
    bulk,
    delayed,
    durability,
    feedback,
    growth,
    memory,
    partitioned,
    priority,
    server_limits,
    single,
    startup,
    statements,
    stopping,
    ten_million,
    through_log,
    web,
)
from tests.benchmarks.bench import PROCESSES
from tests.benchmarks.peers import rows as peers
from tests.benchmarks.sink import sink_name

if TYPE_CHECKING:
    from tests.benchmarks.bench import Figure

BENCHMARKS = {
    "bulk": bulk.on_sqlite,
    "bulk-postgresql": bulk.on_postgresql,
    "drain": bulk.drain,
    "delayed": delayed.single_emails,
    "delayed-campaign": delayed.campaigns,
    "peers": peers.single_emails,
    "peers-recording": peers.recording,
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
    "partitioned": partitioned.queries,
    "through-log": through_log.claims,
    "pages": web.pages,
    "sign-ups": web.sign_ups,
    "few-sessions": server_limits.few_sessions,
    "few-messages": server_limits.few_messages,
    "rates": server_limits.rates_of_settings,
    "feedback": feedback.webhook_events,
    "feedback-log": feedback.large_log,
    "feedback-log-postgresql": feedback.large_log_on_postgresql,
    "feedback-why": feedback.time_to_why,
}


def main() -> int:
    """Return 0 if every bar is reached, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--json", action="store_true", help="print an object a line, for tests.benchmarks.compare"
    )
    chosen = parser.parse_args()
    if not chosen.json:
        python = sys.version.split()[0]
        print(f"median of {chosen.rounds}, {PROCESSES} processes, {sink_name()}, Python {python}")
        print(f"{'figure':<44} {'mailctl':>14} {'other':>14} {'ratio':>7}  bar (ratios of the rounds)")
    is_met = True
    for name in chosen.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="mailctl-bench-") as folder:
            for figure in BENCHMARKS[name](Path(folder), rounds=chosen.rounds):
                is_met &= figure.is_met
                print(_as_json(figure) if chosen.json else _as_row(figure), flush=True)
    return 0 if is_met else 1


def _as_row(figure: Figure) -> str:
    if figure.missing:
        return f"{figure.name:<44} not measured: {figure.missing}"
    columns = f"{figure.name:<44} {figure.ours:>14} {figure.other:>14} {figure.ratio:>7.2f}  {figure.bar}"
    spread = " ({:.2f} to {:.2f})".format(*figure.spread) if figure.spread else ""
    return columns + spread + ("" if figure.is_met else "  NOT REACHED")


def _as_json(figure: Figure) -> str:
    return json.dumps(asdict(figure) | ({"ratio": None} if math.isnan(figure.ratio) else {}))


if __name__ == "__main__":
    sys.exit(main())
