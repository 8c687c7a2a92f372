"""Cases of a fuzz test: how many there were, and the most time and memory that one of them took."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The property of a report that carries a row of the table.
PROPERTY = "cases"
#: The number of cases in the short and in the long form.
FEW, MANY = 300, 100_000


@dataclass
class Cases:
    """What the cases of one parser took; memory is what Python allocated meanwhile."""

    parser: str
    count: int = 0
    seconds: float = 0.0
    octets: int = 0

    @contextmanager
    def measure(self, value: object = None) -> Iterator[None]:
        """Measure one case.

        Args:
            value: what an error is about, if the example has several cases.
        """
        # Not traced in between: it would slow down what makes the cases.
        tracemalloc.start()
        started = time.process_time()
        try:
            yield
        except Exception as error:
            error.add_note(f"with {value!r}"[:2000])
            raise
        finally:
            self.count += 1
            self.seconds = max(self.seconds, time.process_time() - started)
            self.octets = max(self.octets, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row of the table."""
        return (self.parser, f"{self.count:,}", f"{self.seconds * 1000:.1f}", f"{self.octets >> 10}")


def as_many(count: int, *, is_long: bool) -> settings:
    """Return the settings of hypothesis for a number of cases; the short form is the same in every run."""
    return settings(
        max_examples=count,
        derandomize=not is_long,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
