"""`mailctl send`: one command per kind of email."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.arguments import read_tokens, read_variables
from mailctl.cli.context import CliSession, uses_log, with_signature
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import VariablesOption, with_options
from mailctl.cli.send_options import SendOptions
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.request import EmailRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.catalog import Kind

TokenStdinOption = Annotated[
    bool,
    typer.Option(
        "--token-stdin",
        help="Read the service's own token for the link from stdin instead of MAILCTL_TOKEN; without either, "
        "mailctl creates one.",
    ),
]


def _custom_kind_commands(session: CliSession) -> dict[str, Callable[..., None]]:
    """Return a command for each of the service's own kinds, by name."""
    return {name: _custom_kind_command(kind) for name, kind in session.catalog.custom_kinds.items()}


app = CommandGroup(
    "send",
    """Send an email to one recipient or many, now or later.

    \b
    See also:
      mailctl preview, mailctl status, mailctl list
    """,
    more=_custom_kind_commands,
    noun="kind",
)


def _register_kind(name: str) -> Callable[[Callable[..., EmailRequest]], None]:
    """Add a command for a kind, given a function that returns the request."""

    def register(function: Callable[..., EmailRequest]) -> None:
        app.add(name, _with_send_options(function))

    return register


def _with_send_options(function: Callable[..., EmailRequest]) -> Callable[..., None]:
    """Return a command that sends what a function requests; adds `SendOptions`."""

    @wraps(function)
    def run(session: CliSession, *, options: SendOptions, **values: Any) -> None:
        _send(session, function(**values), options)

    own = inspect.signature(function, eval_str=True).parameters.values()
    session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=CliSession)
    options = inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, annotation=SendOptions)
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    return uses_log(AccessMode.ON_WRITE)(with_options(with_signature(run, [session, options, *keywords])))


def _custom_kind_command(kind: Kind) -> Callable[..., None]:
    def make_request(
        variables: VariablesOption = None, token_stdin: TokenStdinOption = False
    ) -> EmailRequest:
        tokens = read_tokens(kind, from_stdin=token_stdin)
        return EmailRequest(kind=kind, tokens=tokens, context=read_variables(variables or []))

    make_request.__doc__ = custom_kind_help(kind)
    return _with_send_options(make_request)


def custom_kind_help(kind: Kind) -> str:
    """Return the help of the command for one of the service's own kinds."""
    summary = kind.summary or f"send an email of kind {kind.name}"
    variables = ", ".join([*kind.variables, *(f"{name} (optional)" for name in kind.optional or ())])
    sentence = f"{summary[0].upper()}{summary[1:].rstrip('.')}."
    return f"{sentence}\n\nVariables: {variables}." if variables else sentence


@_register_kind("welcome")
def welcome() -> EmailRequest:
    """Send a welcome email to a new user.

    \b
    Examples:
      mailctl send welcome --user-id 1
      mailctl send welcome --email ada@example.com --name Ada --dry-run
      mailctl send welcome --users-file users.csv --rate 50/s

    \b
    Exit codes:
      0  The email is recorded; with --wait, it was sent.
      1  With --wait: it failed. With a file: some rows are invalid.
      3  There is no such user, or no delivery log with users.
      4  A rule forbids it, or you did not confirm; nothing was recorded.
      5  The delivery log, or the database of users, cannot be used.
      6  With --wait: its task did not report whether it was sent.
      8  With --wait: it is held, or was not finished within --timeout.

    \b
    See also:
      mailctl status, mailctl preview, mailctl list
    """
    return _built_in_request("welcome")


@_register_kind("reset")
def reset(token_stdin: TokenStdinOption = False) -> EmailRequest:
    """Send a link to reset a password.

    \b
    Examples:
      mailctl send reset --user-id 1 --wait

    \b
    Exit codes:
      0  The email is recorded; with --wait, it was sent.
      1  With --wait: it failed. With a file: some rows are invalid.
      3  There is no such user, or no delivery log with users.
      4  A rule forbids it, or you did not confirm; nothing was recorded.
      5  The delivery log, or the database of users, cannot be used.
      6  With --wait: its task did not report whether it was sent.
      8  With --wait: it is held, or was not finished within --timeout.

    \b
    See also:
      mailctl status, mailctl preview, mailctl list
    """
    return _built_in_request("reset", token_stdin=token_stdin)


@_register_kind("verification")
def verification(token_stdin: TokenStdinOption = False) -> EmailRequest:
    """Send a link to verify an email address.

    \b
    Examples:
      mailctl send verification --user-id 1 --in 10m

    \b
    Exit codes:
      0  The email is recorded; with --wait, it was sent.
      1  With --wait: it failed. With a file: some rows are invalid.
      3  There is no such user, or no delivery log with users.
      4  A rule forbids it, or you did not confirm; nothing was recorded.
      5  The delivery log, or the database of users, cannot be used.
      6  With --wait: its task did not report whether it was sent.
      8  With --wait: it is held, or was not finished within --timeout.

    \b
    See also:
      mailctl status, mailctl preview, mailctl list
    """
    return _built_in_request("verification", token_stdin=token_stdin)


@_register_kind("new-ip")
def new_ip(
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="The IP address of the sign-in.")],
    token_stdin: Annotated[
        bool,
        typer.Option(
            "--token-stdin",
            help="Read the service's own tokens from stdin, one per line: first for the link that allows the "
            "address, then for the one that blocks it; instead of MAILCTL_WHITELIST_TOKEN and "
            "MAILCTL_BLACKLIST_TOKEN. Without either, mailctl creates them.",
        ),
    ] = False,
) -> EmailRequest:
    """Notify a user of a sign-in from a new IP address.

    \b
    Examples:
      mailctl send new-ip --user-id 1 --ip 192.0.2.7

    \b
    Exit codes:
      0  The email is recorded; with --wait, it was sent.
      1  With --wait: it failed. With a file: some rows are invalid.
      3  There is no such user, or no delivery log with users.
      4  A rule forbids it, or you did not confirm; nothing was recorded.
      5  The delivery log, or the database of users, cannot be used.
      6  With --wait: its task did not report whether it was sent.
      8  With --wait: it is held, or was not finished within --timeout.

    \b
    See also:
      mailctl status, mailctl preview, mailctl list
    """
    return _built_in_request("new-ip", token_stdin=token_stdin, context={"ip_address": ip})


@_register_kind("email")
def generic(
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="The subject.")],
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="The template of the body.")
    ] = "message",
    variables: VariablesOption = None,
) -> EmailRequest:
    """Send any template with any subject.

    \b
    Examples:
      mailctl send email --user-id 1 --subject Hi --set title=Hi --set body=Hello

    \b
    Exit codes:
      0  The email is recorded; with --wait, it was sent.
      1  With --wait: it failed. With a file: some rows are invalid.
      3  There is no such user, or no delivery log with users.
      4  A rule forbids it, or you did not confirm; nothing was recorded.
      5  The delivery log, or the database of users, cannot be used.
      6  With --wait: its task did not report whether it was sent.
      8  With --wait: it is held, or was not finished within --timeout.

    \b
    See also:
      mailctl status, mailctl preview, mailctl list
    """
    return _built_in_request(
        "email", context=read_variables(variables or []), subject=subject, template=template
    )


def _built_in_request(kind_name: str, *, token_stdin: bool = False, **more: Any) -> EmailRequest:
    from mailctl.domain.catalog import BUILT_IN_KINDS

    kind = BUILT_IN_KINDS[kind_name]
    return EmailRequest(kind=kind, tokens=read_tokens(kind, from_stdin=token_stdin), **more)


def _send(session: CliSession, request: EmailRequest, options: SendOptions) -> None:
    if options.dry_run:
        session.access_mode = AccessMode.OPTIONAL
    if policy := str(session.runtime.recipient_policy):
        session.output.note(policy)
    if options.is_campaign:
        from mailctl.cli.send_campaign import send_campaign

        send_campaign(session, request, options)
    else:
        from mailctl.cli.send_single import send_single

        options.refuse_campaign_options()
        send_single(session, request, options)
