"""`mailctl keys`: API keys for the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import LayoutOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import ApiKey, NewApiKey
    from mailctl.views.api_keys import ApiKeyView, NewApiKeyView

app = CommandGroup(
    "keys",
    "Manage API keys for the dashboard.\n\n"
    "To rotate a key, create another one, use it in place of the first, and revoke the first. SECRET_KEY is"
    " rotated with `mailctl db rekey`.",
)


@uses_log(AccessMode.ON_WRITE)
def create_key(
    session: CliSession,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person or program that will use the key.")],
) -> None:
    """Create an API key and print it; it cannot be shown again.

    \b
    Examples:
      mailctl keys create on-call

    \b
    Exit codes:
      0  The key was created.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl keys list, mailctl web
    """
    made = session.runtime.api_keys.create(name)
    revoke = mailctl_command("keys", "revoke", arguments=[made.id])
    session.output.already_done = f"The key was created and cannot be shown again. Revoke it with: {revoke}"
    session.output.result(lambda: _new_key_view(made), made.plaintext)
    if not session.output.as_json:
        session.output.note(
            "The key is not shown again. Use it on the sign-in page, or as `Authorization: Bearer KEY`."
        )


@uses_log(AccessMode.READ)
@with_options
def list_keys(session: CliSession, layout: LayoutOptions) -> None:
    """List the API keys with their names and last use.

    \b
    Examples:
      mailctl keys list

    \b
    Exit codes:
      0  The keys were printed, if there are any.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl keys create, mailctl keys revoke
    """
    layout.apply_to(session, "api_keys:ApiKeyView")
    keys = session.runtime.api_keys.list()
    columns = ["id", "name", "created", "last used", "state"]
    session.output.listing(map(_view, keys), columns=columns, rows=map(_row, keys))


@uses_log(AccessMode.UPDATE)
def revoke_key(
    session: CliSession,
    key_id: Annotated[
        str, typer.Argument(metavar="KEY", help="The id or the name of the key, from `mailctl keys list`.")
    ],
) -> None:
    """Revoke an API key, and end the dashboard sessions that were opened with it.

    \b
    Examples:
      mailctl keys revoke 1f2e3d4c
      mailctl keys revoke on-call

    \b
    Exit codes:
      0  The key is revoked.
      3  There is no such key.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl keys list
    """
    key = session.runtime.api_keys.revoke(key_id)
    session.output.result(lambda: _view(key), f"key {key.id} ({key.name}) was revoked")


app.add("create", create_key)
app.add("list", list_keys)
app.add("revoke", revoke_key)


def _row(key: ApiKey) -> list[str]:
    created, used = format_time(key.created_at, TimeStyle.DATE), key.last_used_at
    return [key.id, key.name, created, format_time(used, TimeStyle.MINUTE) if used else "never", _state(key)]


def _state(key: ApiKey) -> str:
    return "valid" if key.is_valid else "revoked"


def _view(key: ApiKey) -> ApiKeyView:
    from mailctl.views.api_keys import ApiKeyView

    return ApiKeyView.of(key)


def _new_key_view(key: NewApiKey) -> NewApiKeyView:
    from mailctl.views.api_keys import NewApiKeyView

    return NewApiKeyView.of(key)
