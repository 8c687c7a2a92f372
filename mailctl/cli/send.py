"""`mailctl send`: one command per kind of email, to one, to some, or to all."""

from __future__ import annotations

import inspect
import time
from functools import cache, wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.campaign import carry_out_campaign
from mailctl.cli.context import Session, with_parameters
from mailctl.cli.help import Commands
from mailctl.cli.inputs import read_tokens, read_variables, when
from mailctl.cli.order import Common, Words
from mailctl.cli.preview import show_preview
from mailctl.cli.views import email_view
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.message import Email
    from mailctl.sending import Order

app = Commands("send", "Send an email, now or later, to one or to many.")


@cache
def _common_options() -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(Common, eval_str=True).parameters.values())


def _sends(name: str) -> Callable[[Callable[..., Words]], None]:
    """Make a command of a function that returns the words: adds the common options to its own."""

    def register(function: Callable[..., Words]) -> None:
        own = list(inspect.signature(function, eval_str=True).parameters.values())
        common = _common_options()

        @wraps(function)
        def run(session: Session, **values: Any) -> None:
            chosen = Common(**{each.name: values.pop(each.name) for each in common})
            _carry_out(session, function(**values), chosen)

        session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Session)
        keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common)]
        app.add(name, with_parameters(run, [session, *keyword]))

    return register


TokenStdin = Annotated[
    bool,
    typer.Option(
        "--token-stdin",
        help="Read the service's own token from standard input; else from MAILCTL_TOKEN; else one is made.",
    ),
]


@_sends("welcome")
def welcome() -> Words:
    """Greet a new user."""
    return _words("welcome")


@_sends("reset")
def reset(token_stdin: TokenStdin = False) -> Words:
    """Send a password-reset link."""
    return _words("reset", token_stdin=token_stdin)


@_sends("verification")
def verification(token_stdin: TokenStdin = False) -> Words:
    """Ask a user to confirm an address."""
    return _words("verification", token_stdin=token_stdin)


@_sends("new-ip")
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
) -> Words:
    """Tell a user of a sign-in from a new address."""
    return _words("new-ip", token_stdin=token_stdin, context={"ip_address": ip})


@_sends("email")
def generic(
    subject: Annotated[str, typer.Option("--subject", help="The subject line.")],
    template: Annotated[str, typer.Option("--template", metavar="NAME", help="A template.")] = "message",
    variables: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template; repeatable."),
    ] = None,
) -> Words:
    """Send any template with any subject."""
    return _words("email", context=read_variables(variables or []), subject=subject, template=template)


def _words(kind_name: str, *, token_stdin: bool = False, **more: Any) -> Words:
    from mailctl.catalog import kind_named

    kind = kind_named(kind_name)
    return Words(kind=kind, tokens=read_tokens(kind, from_stdin=token_stdin), **more)


def _carry_out(session: Session, words: Words, common: Common) -> None:
    if common.is_campaign:
        carry_out_campaign(session, words, common)
        return
    for option, value in (
        ("--campaign", common.campaign),
        ("--rate", common.rate),
        ("--strict", common.strict),
    ):
        if value:
            raise InvalidInput(option, "is for many.", fix="Give --users-file or --all-users with it.")
    from mailctl.sending import Sending

    sending = Sending(session.runtime)
    order = _order(words, common)
    if common.dry_run:
        show_preview(session, sending.preview(order))
        return
    sent = sending.send(order)
    if sent.broker_trouble:
        session.output.note(f"{sent.broker_trouble} Recorded; a worker sends it when the broker is back.")
    if common.wait:
        _follow(session, sent.emails, timeout=common.timeout)
    else:
        for email in sent.emails:
            _show(session, email)


def _order(words: Words, common: Common) -> Order:
    from mailctl.sending import Order

    return Order(
        kind=words.kind,
        user_ids=common.user_id or (),
        email=common.email,
        name=common.name,
        tokens=words.tokens,
        context=words.context,
        subject=words.subject,
        template=words.template,
        not_before=when(at=common.at, after=common.in_),
        idempotency_key=common.idempotency_key,
    )


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
