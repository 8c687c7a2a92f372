"""Reads times of PostgreSQL that Python cannot represent, such as infinity, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Engine


def read_impossible_times_as_text(engine: Engine) -> None:
    """Make an engine return text for times that Python cannot represent."""
    event.listen(engine, "connect", _register_loaders)


def _register_loaders(connection: Any, _record: Any) -> None:
    # The driver is an extra, and slow to import.
    from psycopg import DataError
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

    def lenient(loader: type[Any]) -> type[Any]:
        class Lenient(loader):  # type: ignore[misc]  # known at run time only
            def load(self, data: Any) -> Any:
                try:
                    return super().load(data)
                except DataError:
                    return bytes(data).decode()

        return Lenient

    for name, loader in (
        ("date", DateLoader),
        ("timestamp", TimestampLoader),
        ("timestamptz", TimestamptzLoader),
    ):
        connection.adapters.register_loader(name, lenient(loader))
