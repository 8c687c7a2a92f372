"""`mailctl schema`: the JSON Schemas of the objects that commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailctl.views.schemas import ObjectSchema


@uses_log(AccessMode.OPTIONAL)
def schema(
    session: CliSession,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The schema, such as status; default: list the schemas."),
    ] = None,
) -> None:
    """Print the JSON Schemas of `--json`.

    \b
    Examples:
      mailctl schema
      mailctl schema status

    \b
    Exit codes:
      0  The schema was printed.
      2  There is no such schema.

    \b
    See also:
      mailctl status, mailctl list
    """
    from mailctl.views.schemas import SCHEMAS, find_schema

    if name is None:
        _list(session, SCHEMAS.values())
        return
    text = json.dumps(find_schema(name).generate(), indent=2, ensure_ascii=False)
    session.output.raw(f"{text}\n".encode())


def _list(session: CliSession, schemas: Collection[ObjectSchema]) -> None:
    session.output.listing(
        (schema.as_view() for schema in schemas),
        columns=["name", "printed by", "object"],
        rows=([schema.name, ", ".join(schema.commands), schema.title] for schema in schemas),
    )
