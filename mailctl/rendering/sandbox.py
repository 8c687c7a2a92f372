"""The environment for a service's own templates: Jinja's sandbox, with a time limit.

The limits guard against mistakes, not against attacks: whoever can write templates can keep a worker busy or
use up its memory. Treat the folder of templates as code.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from jinja2 import StrictUndefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jinja2.compiler import Frame

#: Seconds that rendering one body may take; the built-in templates take milliseconds.
MAX_SECONDS = 5.0

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

    @staticmethod
    def checking_time_limit(items: Iterable[_T]) -> Iterator[_T]:
        """Iterate over items; raise `TemplateLimitExceeded` after the time limit."""
        deadline = _deadline.get()
        for item in items:
            if time.monotonic() > deadline:
                raise TemplateLimitExceeded("it takes too long")
            yield item


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
