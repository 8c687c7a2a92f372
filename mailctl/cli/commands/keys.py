"""`mailctl keys`: who may look at the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import ApiKey

app = CommandGroup("keys", "The keys that open the dashboard of `mailctl web`.")


@uses_log(AccessMode.ON_WRITE)
def create_key(
    session: CliSession,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")],
) -> None:
    """Make a key; it is shown this once."""
    made = session.runtime.api_keys.create(name)
    revoke = mailctl_command("keys", "revoke", arguments=[made.id])
    session.output.already_done = f"The key is made, and cannot be shown again; end it with: {revoke}"
    if session.output.as_json:
        from mailctl.views.api_keys import NewApiKeyView

        session.output.record(NewApiKeyView.of(made))
        return
    session.output.line(made.plaintext)
    session.output.note("It is not shown again. `Authorization: Bearer KEY`, or the sign-in page, takes it.")


@uses_log(AccessMode.READ)
def list_keys(session: CliSession) -> None:
    """List the keys; none can be read back."""
    keys = session.runtime.api_keys.list()
    if session.output.as_json:
        from mailctl.views.api_keys import ApiKeyView

        for key in keys:
            session.output.record(ApiKeyView.of(key))
        return
    session.output.table(["id", "name", "made", "last used", "state"], [_row(key) for key in keys])


@uses_log(AccessMode.UPDATE)
def revoke_key(
    session: CliSession,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
) -> None:
    """End a key, and the sessions that were begun with it."""
    key = session.runtime.api_keys.revoke(key_id)
    if session.output.as_json:
        from mailctl.views.api_keys import ApiKeyView

        session.output.record(ApiKeyView.of(key))
    else:
        session.output.line(f"key {key.id} ({key.name}) is revoked")


app.add("create", create_key)
app.add("list", list_keys)
app.add("revoke", revoke_key)


def _row(key: ApiKey) -> list[str]:
    made, used = format_time(key.created_at, TimeStyle.DATE), key.last_used_at
    return [key.id, key.name, made, format_time(used, TimeStyle.MINUTE) if used else "never", _state(key)]


def _state(key: ApiKey) -> str:
    return "valid" if key.is_valid else "revoked"
