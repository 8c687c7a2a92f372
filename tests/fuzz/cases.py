"""Cases of a fuzz test: how many there were, and the most time and memory that one of them took."""

from __future__ import annotations

import random
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import SearchStrategy

#: The property of a report that carries a row of the table.
PROPERTY = "cases"
#: The number of cases in the short and in the long form.
FEW, MANY = 100, 100_000
#: Values in one example of the long form, and cases that become of them: to make a value takes hypothesis
#: longer than most parsers take to read it.
_VALUES, _VARIANTS = 20, 500
#: Of so many cases in the long form, the memory of one is measured.
_TRACED = 10


@dataclass
class Cases:
    """What the cases of one parser took; memory is what Python allocated meanwhile.

    Args:
        parser: its name in the table.
        traced: of how many cases the memory of one is measured: to trace it takes longer than most parsers.
    """

    parser: str
    traced: int = 1
    count: int = 0
    seconds: float = 0.0
    octets: int = 0

    @contextmanager
    def measure(self, value: object = None, *, cases: int = 1) -> Iterator[None]:
        """Measure one case, or several at the same time as if they were one.

        Args:
            value: what an error is about, if the example has several cases.
            cases: how many they are.
        """
        # Not traced in between: it would slow down what makes the cases.
        if is_traced := self.count % self.traced == 0:
            tracemalloc.start()
        started = time.process_time()
        try:
            yield
        except Exception as error:
            error.add_note(f"with {value!r}"[:2000])
            raise
        finally:
            self.count += cases
            self.seconds = max(self.seconds, time.process_time() - started)
            if is_traced:
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


def try_cases(
    parser: str, inputs: SearchStrategy[Any], parse: Callable[[Any], None], *, is_long: bool
) -> Cases:
    """Give a parser many inputs, and return what they took.

    Args:
        parser: its name in the table.
        inputs: what it is given.
        parse: parses one input, and raises if it should not have done what it did.
        is_long: whether to try as many as in the long form.
    """
    cases = Cases(parser, traced=_TRACED if is_long else 1)
    values, count = (_VALUES, _VARIANTS) if is_long else (1, 1)

    @as_many((MANY if is_long else FEW) // count, is_long=is_long)
    @given(st.lists(inputs, min_size=values, max_size=values), st.integers(0, 2**32))
    def survive(made: list[Any], seed: int) -> None:
        for value in variants(made, count, random.Random(seed)):
            with cases.measure(value):
                parse(value)

    survive()
    return cases
