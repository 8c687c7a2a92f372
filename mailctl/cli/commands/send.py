"""`mailctl send`: one command per kind of email, to one, to some, or to all."""

from __future__ import annotations

import inspect
import time
from functools import cache, wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.arguments import read_tokens, read_variables
from mailctl.cli.commands.preview import show_preview
from mailctl.cli.context import CliSession, uses_log, with_signature
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.send_campaign import send_campaign
from mailctl.cli.send_options import SendOptions
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email
    from mailctl.enqueue.send_service import Recipients

_VARIABLES = typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template; repeatable.")


def _custom_kind_commands(session: CliSession) -> dict[str, Callable[..., None]]:
    """Return a command for each kind of the service's own, by name."""
    return {name: _custom_kind_command(kind) for name, kind in session.catalog.custom_kinds.items()}


app = CommandGroup("send", "Send an email, now or later, to one or to many.", more=_custom_kind_commands)


@cache
def _send_option_parameters() -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(SendOptions, eval_str=True).parameters.values())


def _register_kind(name: str) -> Callable[[Callable[..., EmailRequest]], None]:
    """Make a command of a function that returns the request of a kind."""

    def register(function: Callable[..., EmailRequest]) -> None:
        app.add(name, _with_send_options(function))

    return register


def _with_send_options(function: Callable[..., EmailRequest]) -> Callable[..., None]:
    """Return the body of a command: a function that returns the request, and the common options."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    common = _send_option_parameters()

    @uses_log(AccessMode.ON_WRITE)
    @wraps(function)
    def run(session: CliSession, **values: Any) -> None:
        chosen = SendOptions(**{each.name: values.pop(each.name) for each in common})
        _send(session, function(**values), chosen)

    session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=CliSession)
    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common)]
    return with_signature(run, [session, *keyword])


def _custom_kind_command(kind: Kind) -> Callable[..., None]:
    def make_request(
        variables: Annotated[list[str] | None, _VARIABLES] = None, token_stdin: TokenStdin = False
    ) -> EmailRequest:
        tokens = read_tokens(kind, from_stdin=token_stdin)
        return EmailRequest(kind=kind, tokens=tokens, context=read_variables(variables or []))

    make_request.__doc__ = _kind_help(kind)
    return _with_send_options(make_request)


def _kind_help(kind: Kind) -> str:
    """Return what the help of a kind of the service's own says."""
    summary = kind.summary or f"sends an email of kind {kind.name}"
    takes = ", ".join([*kind.variables, *(f"{name} (optional)" for name in kind.optional or ())])
    return f"{summary[0].upper()}{summary[1:].rstrip('.')}." + (f"\n\nVariables: {takes}." if takes else "")


TokenStdin = Annotated[
    bool,
    typer.Option(
        "--token-stdin",
        help="Read the service's own token from standard input; else from MAILCTL_TOKEN; else one is made.",
    ),
]


@_register_kind("welcome")
def welcome() -> EmailRequest:
    """Greet a new user."""
    return _built_in_request("welcome")


@_register_kind("reset")
def reset(token_stdin: TokenStdin = False) -> EmailRequest:
    """Send a password-reset link."""
    return _built_in_request("reset", token_stdin=token_stdin)


@_register_kind("verification")
def verification(token_stdin: TokenStdin = False) -> EmailRequest:
    """Ask a user to confirm an address."""
    return _built_in_request("verification", token_stdin=token_stdin)


@_register_kind("new-ip")
def new_ip(
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="Where the sign-in came from.")],
    token_stdin: Annotated[
        bool,
        typer.Option(
            "--token-stdin",
            help="Read two lines from standard input: the token that allows, and the one that blocks; else "
            "from MAILCTL_WHITELIST_TOKEN and MAILCTL_BLACKLIST_TOKEN; else they are made.",
        ),
    ] = False,
) -> EmailRequest:
    """Tell a user of a sign-in from a new address."""
    return _built_in_request("new-ip", token_stdin=token_stdin, context={"ip_address": ip})


@_register_kind("email")
def generic(
    subject: Annotated[str, typer.Option("--subject", help="The subject line.")],
    template: Annotated[str, typer.Option("--template", metavar="NAME", help="A template.")] = "message",
    variables: Annotated[list[str] | None, _VARIABLES] = None,
) -> EmailRequest:
    """Send any template with any subject."""
    return _built_in_request(
        "email", context=read_variables(variables or []), subject=subject, template=template
    )


def _built_in_request(kind_name: str, *, token_stdin: bool = False, **more: Any) -> EmailRequest:
    from mailctl.domain.catalog import BUILT_IN_KINDS

    kind = BUILT_IN_KINDS[kind_name]
    return EmailRequest(kind=kind, tokens=read_tokens(kind, from_stdin=token_stdin), **more)


def _send(session: CliSession, request: EmailRequest, common: SendOptions) -> None:
    if common.dry_run:
        session.access_mode = AccessMode.OPTIONAL
    if in_force := str(session.runtime.recipient_policy):
        session.output.note(in_force)
    if common.is_campaign:
        send_campaign(session, request, common)
        return
    for option, value in (
        ("--campaign", common.campaign),
        ("--rate", common.rate),
        ("--strict", common.strict),
        ("--max", common.max_ is not None),
    ):
        if value:
            raise InvalidInput(option, "is for many.", fix="Give --users-file or --all-users with it.")
    from mailctl.enqueue.send_service import SendService
    from mailctl.timefmt import pluralize

    sending = SendService(session.runtime)
    request, recipients = common.apply_to(request), _recipients(request, common)
    if common.dry_run:
        show_preview(session, sending.preview(request, recipients))
        return
    sent = sending.send(request, recipients)
    ids = " ".join(email.id for email in sent.emails)
    session.output.already_done = f"{pluralize(len(sent.emails), 'email')} recorded all the same: {ids}"
    if sent.broker_error:
        session.output.note(f"{sent.broker_error} Recorded; a worker sends it when the broker is back.")
    if common.wait:
        _follow(session, sent.emails, timeout=common.timeout)
    else:
        for email in sent.emails:
            _show(session, email)


def _recipients(request: EmailRequest, common: SendOptions) -> Recipients:
    from mailctl.enqueue.send_service import Recipients
    from mailctl.users import screening_for

    return Recipients(
        user_ids=common.user_id or (),
        email=common.email,
        name=common.name,
        screening=screening_for(request.kind.name, include_inactive=common.include_inactive),
    )


def _follow(session: CliSession, emails: tuple[Email, ...], *, timeout: float) -> None:
    from mailctl.diagnosis.status import StatusService, raise_for_undelivered

    inquiry = StatusService(session.runtime)
    deadline = time.monotonic() + timeout
    for email in emails:
        # Before anything can go wrong: without its id nobody finds it again.
        session.output.note(f"waiting for {email.id}  {email.kind} to {email.to}")
    followed = dict.fromkeys(email.id for email in emails)
    try:
        for email in emails:
            with session.output.spinner(email.state) as update:
                for latest in inquiry.follow(email.id, timeout=max(0.0, deadline - time.monotonic())):
                    update(f"{latest.state}" + (f": {latest.error}" if latest.error else ""))
            _show(session, latest)
            del followed[email.id]
    except KeyboardInterrupt:
        # Programs get an object for each email, however it ends.
        for email in session.runtime.history.emails(list(followed)):
            _show(session, email)
        raise
    raise_for_undelivered([inquiry.status(email.id) for email in emails])


def _show(session: CliSession, email: Email) -> None:
    if session.output.as_json:
        from mailctl.views.emails import EmailSummaryView

        session.output.record(EmailSummaryView.of(email))
    else:
        session.output.state(email.state, f"{email.id}  {email.kind} to {email.to}")
    if email.state == "suppressed":
        session.output.note(f"{email.error}; --force sends it all the same.")
