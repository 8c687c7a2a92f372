"""What a log with partitions costs on PostgreSQL, beside a small one and beside the same log without them.

The rows are those of `ten-million`: a month of emails. The conversion is that of `mailctl db partition`.

`python -m tests.benchmarks.partitioned 10000000` takes another number of emails; so many need 45 GB of disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage.partitions.conversion import Conversion
from mailctl.delivery_log.storage.partitions.planning import plan_partitions
from tests.benchmarks.bench import Figure, at_most
from tests.benchmarks.ten_million import DAYS, SMALL, compared, filled
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.runtime import Runtime

LARGE = 1_000_000
#: The age of what is pruned: of a log without partitions as much as a test has time for.
OLD, OLD_BY_ROW = timedelta(days=DAYS - 10), timedelta(days=DAYS - 0.5)


def queries(folder: Path, *, rounds: int, rows: int = LARGE) -> Iterator[Figure]:
    """`status`, `list`, the relay and claims with partitions of a week; their conversion and pruning."""
    with PostgresServer() as server:
        small, plain, small_parted, parted = (
            filled(server, folder / name, number)
            for name, number in (("a", SMALL), ("b", rows), ("c", SMALL), ("d", rows))
        )
        _convert(small_parted)
        seconds = _convert(parted)
        yield _figure("conversion, s for 1,000,000 emails", seconds / rows * 1e6, 600)
        sizes = f"{rows:,} rows (other: {SMALL:,})"
        yield from compared(small, plain, rounds=rounds, what=f"{sizes}, plain")
        yield from compared(small_parted, parted, rounds=rounds, what=f"{sizes}, partitioned")
        yield from compared(plain, parted, rounds=rounds, what=f"{rows:,} rows, partitioned (other: plain)")
        by_row, by_partition = _prune(plain, older_than=OLD_BY_ROW), _prune(parted, older_than=OLD)
        yield at_most("prune, ms an email: dropped (other: deleted)", by_partition, by_row, 0.1)
        for log in (small, plain, small_parted, parted):
            log.close()


def _convert(runtime: Runtime) -> float:
    """Return the seconds that it takes to give a log partitions."""
    started = time.perf_counter()
    plan = plan_partitions(runtime.engine, now=runtime.clock(), days=None)
    for _ in Conversion(runtime.engine, ranges=plan.ranges).run():
        pass
    return time.perf_counter() - started


def _prune(runtime: Runtime, *, older_than: timedelta) -> float:
    """Return the seconds that it takes to prune an email of the oldest days."""
    end = runtime.clock() - older_than
    started = time.perf_counter()
    pruned = sum(Retention(runtime.engine).prune(contents_before=end, emails_before=end))
    return (time.perf_counter() - started) / pruned


def _figure(name: str, ours: float, bar: float) -> Figure:
    return Figure(
        name=name, ours=f"{ours:.1f}", other="", ratio=ours / bar, bar=f"<= {bar:g}", is_met=ours <= bar
    )


def main() -> None:
    """Print the figures of a log with the number of emails that the command line gives."""
    with tempfile.TemporaryDirectory(prefix="mailctl-bench-") as folder:
        for figure in queries(Path(folder), rounds=3, rows=int(sys.argv[1])):
            print(f"{figure.name:<60} {figure.ours:>10} {figure.other:>10} {figure.ratio:>6.2f} {figure.bar}")


if __name__ == "__main__":
    main()
