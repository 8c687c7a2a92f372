"""The environment for a service's own templates: Jinja's sandbox, with a time limit.

The limits guard against mistakes, not against attacks: whoever can write templates can keep a worker busy or
use up its memory. Treat the folder of templates as code.

Rendering in a process of its own would end anything, and cost every email more than its rendering takes; a
thread cannot be ended while it computes. So loops and operators, by which a mistake in a template or an odd
value in its data take forever, check a limit. What is left, Celery's hard time limit of a task ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from jinja2 import StrictUndefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jinja2.compiler import Frame
    from jinja2.runtime import Context

#: Seconds that rendering one body may take; the built-in templates take milliseconds.
MAX_SECONDS = 5.0
#: The size of what an operator may make: characters or elements of a repeated value, bits of a number.
MAX_SIZE = 1_000_000

_T = TypeVar("_T")
#: The time, of `time.monotonic`, at which rendering is given up.
_deadline: ContextVar[float] = ContextVar("mailctl_template_deadline", default=math.inf)


class TemplateLimitExceeded(Exception):
    """A template produces more, or takes longer, than any email needs."""


class _TimedLoops(CodeGenerator):
    """Compiles loops so that each step checks the time limit, also in loops that print nothing."""

    @override
    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        checked = nodes.EnvironmentAttribute("checking_time_limit")
        node.iter = nodes.Call(checked, [node.iter], [], None, None, lineno=node.lineno)
        super().visit_For(node, frame)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, whose loops end at the time limit."""

    code_generator_class = _TimedLoops
    intercepted_binops = frozenset({"*", "**"})

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator; raise `TemplateLimitExceeded` if its result would be too large."""
        if _size_of_result(operator, left, right) > MAX_SIZE:
            raise TemplateLimitExceeded("it makes a value that is too large")
        return super().call_binop(context, operator, left, right)

    @staticmethod
    def checking_time_limit(items: Iterable[_T]) -> Iterator[_T]:
        """Iterate over items; raise `TemplateLimitExceeded` after the time limit."""
        deadline = _deadline.get()
        for item in items:
            if time.monotonic() > deadline:
                raise TemplateLimitExceeded("it takes too long")
            yield item


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    """Return about how large the result of an operator will be; 0 where it cannot be large."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return bits * max(right, 0) if operator == "**" else bits + right.bit_length()
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, Sized) and isinstance(times, int):
            return len(repeated) * max(times, 0)
    return 0


class OptionalUndefined(StrictUndefined):
    """A missing variable or attribute: an error where it is printed, and false where it is only tested."""

    # Services' templates test for optional variables, as Jinja allows by default.
    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]  # which never returns
        return False


@contextmanager
def time_limit() -> Iterator[None]:
    """Limit the time that the block may take to render one body."""
    token = _deadline.set(time.monotonic() + MAX_SECONDS)
    try:
        yield
    finally:
        _deadline.reset(token)
