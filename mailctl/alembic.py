"""A hook for Alembic that keeps mailctl's tables out of the migrations of a service.

If the delivery log is in the database of the service, `alembic revision --autogenerate` would drop its
tables, because the models of the service do not contain them. `mailctl db upgrade` migrates them instead. In
the `env.py` of the service:

    context.configure(..., include_object=mailctl.alembic.include_object)

With Flask-Migrate: `Migrate(app, db, include_object=mailctl.alembic.include_object)`.
"""

from __future__ import annotations

#: The prefix of the names of all tables of mailctl, also of later versions.
TABLE_PREFIX = "mailctl_"


def include_object(
    object: object,
    name: str | None,
    type_: str,
    reflected: bool,  # noqa: FBT001 - as Alembic calls it
    compare_to: object | None,
) -> bool:
    """Return whether autogenerate compares an object of the schema; it compares all except mailctl's.

    Args:
        object: the table, column, index or constraint, as SQLAlchemy has it.
        name: its name; None for a constraint without one.
        type_: "table", "column", "index", "unique_constraint" or "foreign_key_constraint".
        reflected: whether it comes from the database instead of the models of the service.
        compare_to: the object that it is compared with; None if there is none.

    Returns:
        False for a table of mailctl that only the database has, and for its columns, indexes and constraints.
        A hook of your own can start with `mailctl.alembic.include_object(*args) and ...`.
    """
    if not reflected or compare_to is not None:
        return True
    table = name if type_ == "table" else getattr(getattr(object, "table", None), "name", None)
    return not str(table or "").startswith(TABLE_PREFIX)
