"""Where templates that are not ours run: no way out into Python, and limits to what a slip may cost.

The limits are for mistakes. Whoever may write templates can still keep a worker busy: their folder deserves
the care that code gets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any

from jinja2 import pass_eval_context
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.filters import do_format, do_join, do_replace
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jinja2 import nodes
    from jinja2.compiler import Frame
    from jinja2.nodes import EvalContext
    from jinja2.runtime import Context

#: Seconds that rendering one body may take; ours take milliseconds.
MAX_SECONDS = 5.0
#: Items, or characters, that one operation may make, and bits of a power.
MAX_PRODUCT = 100_000
#: Characters of any text on the way, printed or not: twice what one operation may make.
MAX_TEXT = 200_000
_CHECK_EVERY = 256
#: A width of five digits or more in a format, as in "%1000000000d".
_WIDE = re.compile(r"\d{5,}")
_FILTERS_WITH_WIDTH = ("center", "indent", "wordwrap")
_METHODS_WITH_WIDTH = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_FORMATS = frozenset({"format", "format_map"})
#: What puts many texts for one, and is needed by no email.
_REFUSED_METHODS = frozenset({"translate"})


class TemplateLimitExceeded(SecurityError):
    """A template makes more, or takes longer, than any email needs."""


class _BoundedConcatenation(CodeGenerator):
    """Writes `a ~ b` so that its length is looked at: doubled in a loop it would eat all memory."""

    @override
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.bounded(")
        super().visit_Concat(node, frame)
        self.write(")")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with limits to what a template may make and how long it may take."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _BoundedConcatenation

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals["range"] = _timed_range
        del self.globals["lipsum"]
        self.filters |= {name: _with_limits(self.filters[name]) for name in _FILTERS_WITH_WIDTH}
        self.filters |= {"format": _format, "replace": _replace, "join": _join}

    @staticmethod
    def bounded(text: str) -> str:
        """Return a text that is not too long."""
        if len(text) > MAX_TEXT:
            raise TemplateLimitExceeded("a text gets too long")
        return text

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join what a macro or a block printed."""
        kept, size = [], 0
        for piece in pieces:
            kept.append(piece)
            size += len(piece)
            if size > MAX_TEXT:
                raise TemplateLimitExceeded("a text gets too long")
        return "".join(kept)

    @override
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Say no also to methods of text that could make something huge."""
        return attr not in _REFUSED_METHODS and super().is_safe_attribute(obj, attr, value)

    @override
    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse a method that would make something huge, such as "x".ljust(1000000000)."""
        name = getattr(obj, "__name__", "")
        if name in _METHODS_WITH_WIDTH:
            _refuse_wide(*args, *kwargs.values())
        of = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if name in _FORMATS and isinstance(of, str):
            _refuse_wide(of)
            _refuse_long(of.count("{"), args, kwargs.values())
        if name == "replace" and isinstance(of, str):
            _refuse_long(_places(of, *args[:1]), args)
        if name == "join" and isinstance(of, str) and args:
            args = (_joinable(args[0], of), *args[1:])
        return super().call(context, obj, *args, **kwargs)

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation that would make something huge."""
        if operator == "*" and _product(left, right) > MAX_PRODUCT:
            raise TemplateLimitExceeded("a multiplication makes too much")
        if operator == "**" and _bits(left) * max(_magnitude(right), 0) > MAX_PRODUCT:
            raise TemplateLimitExceeded("a power is too high")
        if operator == "+" and _length(left) + _length(right) > MAX_TEXT:
            raise TemplateLimitExceeded("a text gets too long")
        if operator == "%" and isinstance(left, str):
            _refuse_wide(left)
            _refuse_long(left.count("%"), right if isinstance(right, tuple) else (right,))
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
    _refuse_long(str(value).count("%"), args, kwargs.values())
    return do_format(value, *args, **kwargs)


@pass_eval_context
def _replace(context: EvalContext, s: Any, old: Any, new: Any, count: int | None = None) -> str:
    _refuse_long(_places(str(s), str(old)), (str(new),))
    return do_replace(context, s, old, new, count)


@pass_eval_context
def _join(context: EvalContext, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    values = _joinable(value, str(d)) if attribute is None else value
    joined: str = do_join(context, values, d, attribute)
    return joined


def _joinable(values: Iterable[Any], separator: str) -> list[Any]:
    """Return values, which may have been made one by one, of which joining makes nothing huge."""
    kept, size = [], 0
    for value in values:
        kept.append(value)
        size += (len(value) if isinstance(value, str) else 1) + len(separator)
        if size > MAX_TEXT:
            raise TemplateLimitExceeded("a text gets too long")
    return kept


def _places(text: str, old: Any = "") -> int:
    return text.count(old) if isinstance(old, str) else 0


def _refuse_long(times: int, *groups: Iterable[Any]) -> None:
    """Refuse to put texts as often as that."""
    longest = max((len(each) for group in groups for each in group if isinstance(each, str)), default=0)
    if times * longest > MAX_TEXT:
        raise TemplateLimitExceeded("a text gets too long")


def _refuse_wide(*values: Any) -> None:
    for value in values:
        is_wide_format = isinstance(value, str) and ("%" in value or "{" in value) and _WIDE.search(value)
        if is_wide_format or (isinstance(value, int) and value > MAX_PRODUCT):
            raise TemplateLimitExceeded("a width is too large")


def _timed_range(*bounds: int) -> Iterator[int]:
    """Go through a range, of which templates make loops in loops, until the time is up."""
    numbers = range(*bounds)
    if len(numbers) > MAX_PRODUCT:
        raise TemplateLimitExceeded("a range is too long")
    return _until_late(numbers)


def _until_late(numbers: range) -> Iterator[int]:
    started = time.monotonic()
    for place, number in enumerate(numbers):
        if place % _CHECK_EVERY == 0 and time.monotonic() - started > MAX_SECONDS:
            raise TemplateLimitExceeded("it takes too long")
        yield number


def _product(left: Any, right: Any) -> int:
    sized, number = (left, right) if isinstance(left, Sized) else (right, left)
    return len(sized) * _magnitude(number) if isinstance(sized, Sized) else 0


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _magnitude(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0
