"""A histogram of latencies, from which percentiles follow within 5 %, however many emails it counts."""

from __future__ import annotations

import math
from collections import Counter

from mailctl.delivery_log.queries.stat_models import Latency

#: Each bin ends at so many times its beginning: the greatest error of a percentile.
_BIN_RATIO = 1.05
#: Latencies up to this, in seconds, share the first bin.
_SHORTEST = 0.001
#: The percentiles of latencies.
PERCENTILES = (0.5, 0.95, 0.99)


def bin_of(seconds: float) -> int:
    """Return the number of the bin that a latency falls into, counted from 0."""
    if seconds <= _SHORTEST:
        return 0
    return math.ceil(math.log(seconds / _SHORTEST) / math.log(_BIN_RATIO))


def bin_end(number: int) -> float:
    """Return the longest latency of a bin, in seconds."""
    return float(_SHORTEST * _BIN_RATIO**number)


class LatencyHistogram:
    """Counts latencies in bins whose lengths grow with the latency."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._longest = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count emails with a latency; a negative number takes them out again."""
        self.add_bin(bin_of(seconds), count, longest=seconds if count > 0 else 0.0)

    def add_bin(self, number: int, count: int, *, longest: float) -> None:
        """Count emails whose latencies fall into a bin.

        Args:
            number: of the bin.
            count: how many emails.
            longest: their longest latency, in seconds.
        """
        self._counts[number] += count
        self._longest = max(self._longest, longest)

    def summarize(self) -> Latency:
        """Return the percentiles: that share of the emails was accepted within the time, or a little less."""
        counts = [(number, count) for number, count in sorted(self._counts.items()) if count > 0]
        total = sum(count for _, count in counts)
        if not total:
            return Latency(count=0)
        p50, p95, p99 = (self._percentile(counts, math.ceil(share * total)) for share in PERCENTILES)
        return Latency(count=total, p50=p50, p95=p95, p99=p99, longest=self._longest)

    def _percentile(self, counts: list[tuple[int, int]], rank: int) -> float:
        for number, count in counts:
            rank -= count
            if rank <= 0:
                return min(bin_end(number), self._longest)
        return self._longest
