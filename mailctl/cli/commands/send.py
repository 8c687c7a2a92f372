"""`mailctl send`: one command per kind of email, to one, to some, or to all."""

from __future__ import annotations

import inspect
import time
from functools import cache, wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.arguments import forced_by, read_tokens, read_variables, when
from mailctl.cli.commands.preview import show_preview
from mailctl.cli.context import Session, uses_log, with_parameters
from mailctl.cli.lazy_commands import Commands
from mailctl.cli.send_campaign import carry_out_campaign
from mailctl.cli.send_options import Common, Words
from mailctl.cli.views import email_view
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email
    from mailctl.enqueue.send_request import Order

_VARIABLES = typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template; repeatable.")


def _own_commands(session: Session) -> dict[str, Callable[..., None]]:
    """Return a command for each kind of the service's own, by name."""
    return {name: _own_command(kind) for name, kind in session.catalog.own.items()}


app = Commands("send", "Send an email, now or later, to one or to many.", more=_own_commands)


@cache
def _common_options() -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(Common, eval_str=True).parameters.values())


def _sends(name: str) -> Callable[[Callable[..., Words]], None]:
    """Make a command of a function that returns the words of a kind."""

    def register(function: Callable[..., Words]) -> None:
        app.add(name, _with_common_options(function))

    return register


def _with_common_options(function: Callable[..., Words]) -> Callable[..., None]:
    """Return the body of a command: a function that returns the words, and the common options."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    common = _common_options()

    @uses_log(LogMode.ON_WRITE)
    @wraps(function)
    def run(session: Session, **values: Any) -> None:
        chosen = Common(**{each.name: values.pop(each.name) for each in common})
        _carry_out(session, function(**values), chosen)

    session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Session)
    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common)]
    return with_parameters(run, [session, *keyword])


def _own_command(kind: Kind) -> Callable[..., None]:
    def words(
        variables: Annotated[list[str] | None, _VARIABLES] = None, token_stdin: TokenStdin = False
    ) -> Words:
        tokens = read_tokens(kind, from_stdin=token_stdin)
        return Words(kind=kind, tokens=tokens, context=read_variables(variables or []))

    words.__doc__ = _described(kind)
    return _with_common_options(words)


def _described(kind: Kind) -> str:
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
    variables: Annotated[list[str] | None, _VARIABLES] = None,
) -> Words:
    """Send any template with any subject."""
    return _words("email", context=read_variables(variables or []), subject=subject, template=template)


def _words(kind_name: str, *, token_stdin: bool = False, **more: Any) -> Words:
    from mailctl.domain.catalog import KINDS

    kind = KINDS[kind_name]
    return Words(kind=kind, tokens=read_tokens(kind, from_stdin=token_stdin), **more)


def _carry_out(session: Session, words: Words, common: Common) -> None:
    if common.dry_run:
        session.log_mode = LogMode.OPTIONAL
    if in_force := str(session.runtime.audience):
        session.output.note(in_force)
    if common.is_campaign:
        carry_out_campaign(session, words, common)
        return
    for option, value in (
        ("--campaign", common.campaign),
        ("--rate", common.rate),
        ("--strict", common.strict),
        ("--max", common.max_ is not None),
    ):
        if value:
            raise InvalidInput(option, "is for many.", fix="Give --users-file or --all-users with it.")
    from mailctl.enqueue.send_request import Sending
    from mailctl.timefmt import count

    sending = Sending(session.runtime)
    order = _order(words, common)
    if common.dry_run:
        show_preview(session, sending.preview(order))
        return
    sent = sending.send(order)
    ids = " ".join(email.id for email in sent.emails)
    session.output.done = f"{count(len(sent.emails), 'email')} recorded all the same: {ids}"
    if sent.broker_trouble:
        session.output.note(f"{sent.broker_trouble} Recorded; a worker sends it when the broker is back.")
    if common.wait:
        _follow(session, sent.emails, timeout=common.timeout)
    else:
        for email in sent.emails:
            _show(session, email)


def _order(words: Words, common: Common) -> Order:
    from mailctl.enqueue.send_request import Order
    from mailctl.users import screening_for

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
        forced_by=forced_by(common),
        screening=screening_for(words.kind.name, include_inactive=common.include_inactive),
    )


def _follow(session: Session, emails: tuple[Email, ...], *, timeout: float) -> None:
    from mailctl.diagnosis.status import Inquiry, raise_for

    inquiry = Inquiry(session.runtime)
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
    raise_for([inquiry.status(email.id) for email in emails])


def _show(session: Session, email: Email) -> None:
    if session.output.as_json:
        session.output.record(email_view(email))
    else:
        session.output.state(email.state, f"{email.id}  {email.kind} to {email.to}")
    if email.state == "suppressed":
        session.output.note(f"{email.error}; --force sends it all the same.")
