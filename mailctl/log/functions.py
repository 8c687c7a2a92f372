"""Functions of SQL that SQLite and PostgreSQL have under different names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class epoch(FunctionElement[float]):  # noqa: N801 - as SQL calls it
    """Seconds since 1970."""

    type = Float()
    inherit_cache = True


class hour(FunctionElement[str]):  # noqa: N801 - as SQL calls it
    """The hour in UTC, such as 2030-01-31T09:00Z."""

    type = String()
    inherit_cache = True


class domain(FunctionElement[str]):  # noqa: N801 - as SQL calls it
    """What follows the @ of an address."""

    type = String()
    inherit_cache = True


# Neither database knows the functions of the other; SQLite keeps times as text, in UTC.
_IN_WORDS_OF: dict[tuple[type[FunctionElement[Any]], str], str] = {
    (epoch, "sqlite"): "((julianday({0}) - 2440587.5) * 86400.0)",
    (epoch, "postgresql"): "CAST(EXTRACT(EPOCH FROM {0}) AS DOUBLE PRECISION)",
    (hour, "sqlite"): "(substr({0}, 1, 10) || 'T' || substr({0}, 12, 2) || ':00Z')",
    (hour, "postgresql"): "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24\":00Z\"')",
    (domain, "sqlite"): "substr({0}, instr({0}, '@') + 1)",
    (domain, "postgresql"): "substr({0}, strpos({0}, '@') + 1)",
}


def _teach(function: type[FunctionElement[Any]], dialect: str, words: str) -> None:
    @compiles(function, dialect)
    def _compile(element: Any, compiler: Any, **options: Any) -> str:
        return words.format(compiler.process(element.clauses, **options))


for (_function, _dialect), _words in _IN_WORDS_OF.items():
    _teach(_function, _dialect, _words)
