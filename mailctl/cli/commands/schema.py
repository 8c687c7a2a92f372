"""`mailctl schema`: the JSON Schemas of what commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.views.schemas import ObjectSchema


@uses_log(AccessMode.OPTIONAL)
def schema(
    session: CliSession,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A schema, such as status; default: list them.")
    ] = None,
) -> None:
    """Print the JSON Schema of the objects that a command prints with --json, or list the schemas."""
    from mailctl.views.schemas import SCHEMAS, find_schema

    if name is None:
        _list(session, SCHEMAS.values())
        return
    text = json.dumps(find_schema(name).generate(), indent=2, ensure_ascii=False)
    session.output.raw(f"{text}\n".encode())


def _list(session: CliSession, schemas: Iterable[ObjectSchema]) -> None:
    if session.output.as_json:
        for each in schemas:
            session.output.record(each.as_view())
        return
    rows = [[each.name, ", ".join(each.commands), each.title] for each in schemas]
    session.output.table(["name", "printed by", "object"], rows)
