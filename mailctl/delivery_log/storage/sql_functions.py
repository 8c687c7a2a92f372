"""SQL functions that SQLite and PostgreSQL write differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Epoch(FunctionElement[float]):
    """The seconds from 1970 to a time."""

    type = Float()
    inherit_cache = True


class Hour(FunctionElement[str]):
    """The hour of a time in UTC, such as 2030-01-31T09:00Z."""

    type = String()
    inherit_cache = True


class Domain(FunctionElement[str]):
    """The domain of an email address."""

    type = String()
    inherit_cache = True


# SQLite stores times as text, in UTC.
_SQL_TEMPLATES: dict[tuple[type[FunctionElement[Any]], str], str] = {
    (Epoch, "sqlite"): "((julianday({0}) - 2440587.5) * 86400.0)",
    (Epoch, "postgresql"): "CAST(EXTRACT(EPOCH FROM {0}) AS DOUBLE PRECISION)",
    (Hour, "sqlite"): "(substr({0}, 1, 10) || 'T' || substr({0}, 12, 2) || ':00Z')",
    (Hour, "postgresql"): "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24\":00Z\"')",
    (Domain, "sqlite"): "substr({0}, instr({0}, '@') + 1)",
    (Domain, "postgresql"): "substr({0}, strpos({0}, '@') + 1)",
}


def _register_compiler(function: type[FunctionElement[Any]], dialect: str, template: str) -> None:
    @compiles(function, dialect)
    def _compile(element: Any, compiler: Any, **options: Any) -> str:
        return template.format(compiler.process(element.clauses, **options))


for (_function, _dialect), _template in _SQL_TEMPLATES.items():
    _register_compiler(_function, _dialect, _template)
