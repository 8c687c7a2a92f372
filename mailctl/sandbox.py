"""Where templates that are not ours run: no way out into Python, and limits to what a slip may cost.

The limits are for mistakes. Whoever may write templates can still keep a worker busy: their folder deserves
the care that code gets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError
from jinja2.filters import do_format
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2.runtime import Context

#: Seconds that rendering one body may take; ours take milliseconds.
MAX_SECONDS = 5.0
#: Items, or characters, that one operation may make, and bits of a power.
MAX_PRODUCT = 100_000
_CHECK_EVERY = 256
#: A width of five digits or more in a format, as in "%1000000000d".
_WIDE = re.compile(r"\d{5,}")
_FILTERS_WITH_WIDTH = ("center", "indent", "wordwrap")
_METHODS_WITH_WIDTH = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_FORMATS = frozenset({"format", "format_map"})


class TooMuch(SecurityError):
    """A template makes more, or takes longer, than any email needs."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with limits to what a template may make and how long it may take."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals["range"] = _timed_range
        del self.globals["lipsum"]
        self.filters |= {name: _with_limits(self.filters[name]) for name in _FILTERS_WITH_WIDTH}
        self.filters["format"] = _format

    @override
    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse a method that would make something huge, such as "x".ljust(1000000000)."""
        name = getattr(obj, "__name__", "")
        if name in _METHODS_WITH_WIDTH:
            _refuse_wide(*args, *kwargs.values())
        if name in _FORMATS:
            _refuse_wide(getattr(getattr(obj, "__wrapped__", obj), "__self__", None))
        return super().call(context, obj, *args, **kwargs)

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation that would make something huge."""
        if operator == "*" and _product(left, right) > MAX_PRODUCT:
            raise TooMuch("a multiplication makes too much")
        if operator == "**" and _bits(left) * max(_magnitude(right), 0) > MAX_PRODUCT:
            raise TooMuch("a power is too high")
        if operator == "%":
            _refuse_wide(left)
        return super().call_binop(context, operator, left, right)


def _with_limits(function: Callable[..., Any]) -> Callable[..., Any]:
    def limited(*args: Any, **kwargs: Any) -> Any:
        _refuse_wide(*args, *kwargs.values())
        return function(*args, **kwargs)

    # Jinja marks on the function what it wants to be given first.
    vars(limited).update(vars(function))
    return limited


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    _refuse_wide(value)
    return do_format(value, *args, **kwargs)


def _refuse_wide(*values: Any) -> None:
    for value in values:
        is_wide_format = isinstance(value, str) and ("%" in value or "{" in value) and _WIDE.search(value)
        if is_wide_format or (isinstance(value, int) and value > MAX_PRODUCT):
            raise TooMuch("a width is too large")


def _timed_range(*bounds: int) -> Iterator[int]:
    """Go through a range, of which templates make loops in loops, until the time is up."""
    numbers = range(*bounds)
    if len(numbers) > MAX_PRODUCT:
        raise TooMuch("a range is too long")
    return _until_late(numbers)


def _until_late(numbers: range) -> Iterator[int]:
    started = time.monotonic()
    for place, number in enumerate(numbers):
        if place % _CHECK_EVERY == 0 and time.monotonic() - started > MAX_SECONDS:
            raise TooMuch("it takes too long")
        yield number


def _product(left: Any, right: Any) -> int:
    sized, number = (left, right) if isinstance(left, Sized) else (right, left)
    return len(sized) * _magnitude(number) if isinstance(sized, Sized) else 0


def _magnitude(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0
