"""Transactions that prepare their statements on PostgreSQL, because they are repeated if one is refused.

The server refuses a prepared statement once when the type of a column has changed, as after
`mailctl db partition`.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from mailctl.delivery_log.storage.driver_errors import REFUSED_STATEMENT_SQLSTATE
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
_IS_REPEATED = ContextVar("mailctl_is_repeated", default=False)


def is_repeated() -> bool:
    """Whether what runs now is repeated if the server refuses a prepared statement."""
    return _IS_REPEATED.get()


def repeat_if_refused(transaction: Callable[[], _T]) -> _T:
    """Run a transaction that may prepare its statements, and once more without them if one is refused.

    Args:
        transaction: one transaction, and nothing that must not happen twice if that fails.

    Raises:
        LogUnavailable: the delivery log cannot be used. Errors of the function are raised.
    """
    try:
        with _repeated():
            return transaction()
    except LogUnavailable as error:
        if not is_refused_statement(error):
            raise
    return transaction()


def is_refused_statement(error: LogUnavailable) -> bool:
    """Whether the server has refused a prepared statement, which it takes when it is prepared again."""
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) == REFUSED_STATEMENT_SQLSTATE


@contextmanager
def _repeated() -> Iterator[None]:
    token = _IS_REPEATED.set(True)
    try:
        yield
    finally:
        _IS_REPEATED.reset(token)
