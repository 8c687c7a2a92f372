"""For the migrations of a service whose database has the delivery log: they leave mailctl's tables alone.

The delivery log has migrations of its own (`mailctl db upgrade`). Without this hook,
`alembic revision --autogenerate` sees its tables as tables that the service has deleted from its models.
In the `env.py` of the service:

    context.configure(..., include_object=mailctl.alembic.include_object)

With Flask-Migrate: `Migrate(app, db, include_object=mailctl.alembic.include_object)`.
"""

from __future__ import annotations

#: What the names of all tables of mailctl start with, those of later versions included.
TABLE_PREFIX = "mailctl_"


def include_object(
    object: object,
    name: str | None,
    type_: str,
    reflected: bool,  # noqa: FBT001 - as Alembic calls it
    compare_to: object | None,
) -> bool:
    """Say whether autogenerate compares an object of the schema: all but what belongs to mailctl.

    Args:
        object: the table, column, index or constraint, as SQLAlchemy has it.
        name: its name; None for a constraint without one.
        type_: "table", "column", "index", "unique_constraint" or "foreign_key_constraint".
        reflected: whether it comes from the database instead of the models of the service.
        compare_to: its counterpart on the other side; None if there is none.

    Returns:
        False for a table of mailctl that only the database has, and for what is in it. A hook of your own
        can start with `mailctl.alembic.include_object(*args) and ...`.
    """
    if not reflected or compare_to is not None:
        return True
    table = name if type_ == "table" else getattr(getattr(object, "table", None), "name", None)
    return not str(table or "").startswith(TABLE_PREFIX)
