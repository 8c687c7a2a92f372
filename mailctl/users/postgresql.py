"""Reading times of PostgreSQL that Python has no value for, such as infinity: as text, not as an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Engine


def read_impossible_times_as_text(engine: Engine) -> None:
    """Let the connections of an engine on PostgreSQL give text where the driver would fail."""
    event.listen(engine, "connect", _register_loaders)


def _register_loaders(connection: Any, _record: Any) -> None:
    # The driver is an extra, and takes long to import.
    from psycopg import DataError
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

    def lenient(loader: type[Any]) -> type[Any]:
        class Lenient(loader):  # type: ignore[misc]
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
