"""`mailctl send`: one command per kind of email."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import Session, command
from mailctl.cli.inputs import read_tokens, read_variables, when
from mailctl.cli.views import email_view, envelope_view

if TYPE_CHECKING:
    from mailctl.message import Email
    from mailctl.sending import Order

app = typer.Typer(name="send", help="Send an email, now or later.", no_args_is_help=True)

UserIds = Annotated[
    list[str] | None, typer.Option("--user-id", metavar="ID", help="A user of the service; repeatable.")
]
Address = Annotated[
    str | None, typer.Option("--email", metavar="ADDRESS", help="An address instead of a user.")
]
Name = Annotated[str, typer.Option("--name", help="The name that goes with --email.")]
TokenStdin = Annotated[
    bool,
    typer.Option(
        "--token-stdin",
        help="Read the service's own token from standard input; else from MAILCTL_TOKEN; else one is made.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the email to its end.")]
Timeout = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long --wait waits.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Send then (ISO 8601).")]
In = Annotated[str | None, typer.Option("--in", metavar="LENGTH", help="Send after that (90s, 10m, 2h30m).")]
Key = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key sends only once.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would go out, and send nothing.")]


def welcome(
    session: Session,
    user_id: UserIds = None,
    email: Address = None,
    name: Name = "",
    at: At = None,
    in_: In = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
) -> None:
    """Greet a new user."""
    order = _order("welcome", user_id, email, name, at, in_, idempotency_key)
    _carry_out(session, order, wait=wait, timeout=timeout, dry_run=dry_run)


def reset(
    session: Session,
    user_id: UserIds = None,
    email: Address = None,
    name: Name = "",
    token_stdin: TokenStdin = False,
    at: At = None,
    in_: In = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
) -> None:
    """Send a password-reset link."""
    order = _order("reset", user_id, email, name, at, in_, idempotency_key, token_stdin=token_stdin)
    _carry_out(session, order, wait=wait, timeout=timeout, dry_run=dry_run)


def verification(
    session: Session,
    user_id: UserIds = None,
    email: Address = None,
    name: Name = "",
    token_stdin: TokenStdin = False,
    at: At = None,
    in_: In = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
) -> None:
    """Ask a user to confirm an address."""
    order = _order("verification", user_id, email, name, at, in_, idempotency_key, token_stdin=token_stdin)
    _carry_out(session, order, wait=wait, timeout=timeout, dry_run=dry_run)


def new_ip(
    session: Session,
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="Where the sign-in came from.")],
    user_id: UserIds = None,
    email: Address = None,
    name: Name = "",
    token_stdin: Annotated[
        bool,
        typer.Option(
            "--token-stdin",
            help="Read two lines from standard input: the token that allows, and the one that blocks; else "
            "from MAILCTL_WHITELIST_TOKEN and MAILCTL_BLACKLIST_TOKEN; else they are made.",
        ),
    ] = False,
    at: At = None,
    in_: In = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
) -> None:
    """Tell a user of a sign-in from a new address."""
    order = _order(
        "new-ip",
        user_id,
        email,
        name,
        at,
        in_,
        idempotency_key,
        token_stdin=token_stdin,
        context={"ip_address": ip},
    )
    _carry_out(session, order, wait=wait, timeout=timeout, dry_run=dry_run)


def generic(
    session: Session,
    subject: Annotated[str, typer.Option("--subject", help="The subject line.")],
    template: Annotated[str, typer.Option("--template", metavar="NAME", help="A template.")] = "message",
    variables: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template; repeatable."),
    ] = None,
    user_id: UserIds = None,
    email: Address = None,
    name: Name = "",
    at: At = None,
    in_: In = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
) -> None:
    """Send any template with any subject."""
    order = _order(
        "email",
        user_id,
        email,
        name,
        at,
        in_,
        idempotency_key,
        context=read_variables(variables or []),
        subject=subject,
        template=template,
    )
    _carry_out(session, order, wait=wait, timeout=timeout, dry_run=dry_run)


app.command("welcome")(command(welcome))
app.command("reset")(command(reset))
app.command("verification")(command(verification))
app.command("new-ip")(command(new_ip))
app.command("email")(command(generic))


def _order(
    kind_name: str,
    user_ids: list[str] | None,
    email: str | None,
    name: str,
    at: str | None,
    in_: str | None,
    idempotency_key: str | None,
    *,
    token_stdin: bool = False,
    **more: Any,
) -> Order:
    from mailctl.catalog import kind_named
    from mailctl.sending import Order

    kind = kind_named(kind_name)
    return Order(
        kind=kind,
        user_ids=user_ids or (),
        email=email,
        name=name,
        tokens=read_tokens(kind, from_stdin=token_stdin),
        not_before=when(at=at, after=in_),
        idempotency_key=idempotency_key,
        **more,
    )


def _carry_out(session: Session, order: Order, *, wait: bool, timeout: float, dry_run: bool) -> None:
    from mailctl.sending import Sending

    sending = Sending(session.runtime)
    if dry_run:
        _show_preview(session, sending.preview(order))
        return
    sent = sending.send(order)
    if sent.broker_trouble:
        session.output.note(f"{sent.broker_trouble} Recorded; a worker sends it when the broker is back.")
    if wait:
        _follow(session, sent.emails, timeout=timeout)
    else:
        for email in sent.emails:
            _show(session, email)


def _follow(session: Session, emails: tuple[Email, ...], *, timeout: float) -> None:
    from mailctl.status import Inquiry, raise_for

    inquiry = Inquiry(session.runtime)
    deadline = time.monotonic() + timeout
    ended = []
    for email in emails:
        with session.output.spinner(f"{email.state} {email.id}") as update:
            for latest in inquiry.follow(email.id, timeout=max(0.0, deadline - time.monotonic())):
                update(f"{latest.state} {latest.id}" + (f": {latest.error}" if latest.error else ""))
        ended.append(latest)
        _show(session, latest)
    raise_for([inquiry.status(email.id) for email in ended])


def _show(session: Session, email: Email) -> None:
    if session.output.as_json:
        session.output.record(email_view(email))
    else:
        session.output.state(email.state, f"{email.id}  {email.kind} to {email.to}")


def _show_preview(session: Session, envelopes: list[Any]) -> None:
    for envelope in envelopes:
        if session.output.as_json:
            session.output.record(envelope_view(envelope))
        else:
            view = envelope_view(envelope)
            text = view.pop("text")
            session.output.fields([(name, str(value)) for name, value in view.items()])
            session.output.line()
            session.output.line(text)
