"""Which transactions are repeated, and what they know of it; real servers are in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.delivery_log.storage.prepared_statements import is_repeated, repeat_if_refused
from mailctl.errors import LogUnavailable


def log_error(sqlstate: str) -> LogUnavailable:
    """Return the error of a delivery log whose server has refused a statement."""
    cause: Any = RuntimeError("refused")
    cause.orig = SimpleNamespace(sqlstate=sqlstate)
    error = LogUnavailable("the delivery log cannot be used.", fix="Try again.")
    error.__cause__ = cause
    return error


class Transaction:
    """Fails with errors, one after the other, and notes for each try whether it may prepare statements."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.tries = list(errors), list[bool]()

    def __call__(self) -> str:
        """Run it."""
        self.tries.append(is_repeated())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_transaction_is_repeated_once_and_then_prepares_nothing() -> None:
    """So that nothing can be refused again."""
    transaction = Transaction(log_error("0A000"))
    assert repeat_if_refused(transaction) == "done"
    assert transaction.tries == [True, False]


@pytest.mark.parametrize("error", [log_error("55P03"), LogUnavailable("it is silent.", fix="Start it.")])
def test_a_transaction_that_fails_otherwise_is_not_repeated(error: LogUnavailable) -> None:
    """The caller gets the error, and what it does next prepares nothing."""
    transaction = Transaction(error)
    with pytest.raises(LogUnavailable):
        repeat_if_refused(transaction)
    assert [transaction.tries, is_repeated()] == [[True], False]


def test_a_transaction_that_succeeds_runs_once() -> None:
    """And others prepare nothing."""
    transaction = Transaction()
    repeat_if_refused(transaction)
    assert [transaction.tries, is_repeated()] == [[True], False]
