"""`mailctl keys`: who may look at the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import Session, uses_log
from mailctl.cli.lazy_commands import Commands
from mailctl.cli.views import time_view
from mailctl.command import mailctl
from mailctl.delivery_log.storage.access_mode import LogMode

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import Key

app = Commands("keys", "The keys that open the dashboard of `mailctl web`.")


@uses_log(LogMode.ON_WRITE)
def create_key(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")],
) -> None:
    """Make a key; it is shown this once."""
    made = session.runtime.keys.create(name)
    revoke = mailctl("keys", "revoke", arguments=[made.id])
    session.output.done = f"The key is made, and cannot be shown again; end it with: {revoke}"
    if session.output.as_json:
        session.output.record({"id": made.id, "name": made.name, "key": made.text})
        return
    session.output.line(made.text)
    session.output.note("It is not shown again. `Authorization: Bearer KEY`, or the sign-in page, takes it.")


@uses_log(LogMode.READ)
def list_keys(session: Session) -> None:
    """List the keys; none can be read back."""
    keys = session.runtime.keys.list()
    if session.output.as_json:
        for key in keys:
            session.output.record(_view(key))
        return
    session.output.table(["id", "name", "made", "last used", "state"], [_row(key) for key in keys])


@uses_log(LogMode.UPDATE)
def revoke_key(
    session: Session,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
) -> None:
    """End a key, and the sessions that were begun with it."""
    key = session.runtime.keys.revoke(key_id)
    if session.output.as_json:
        session.output.record(_view(key))
    else:
        session.output.line(f"key {key.id} ({key.name}) is revoked")


app.add("create", create_key)
app.add("list", list_keys)
app.add("revoke", revoke_key)


def _row(key: Key) -> list[str]:
    made, used = f"{key.created_at:%Y-%m-%d}", key.last_used_at
    return [key.id, key.name, made, f"{used:%Y-%m-%d %H:%M}Z" if used else "never", _state(key)]


def _state(key: Key) -> str:
    return "valid" if key.is_valid else "revoked"


def _view(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "state": _state(key),
        "created_at": time_view(key.created_at),
        "last_used_at": time_view(key.last_used_at),
        "revoked_at": time_view(key.revoked_at),
    }
