"""`mailctl send`: one command per kind of email, to one, to some, or to all."""

from __future__ import annotations

import inspect
import sys
import time
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import Session, command
from mailctl.cli.inputs import read_tokens, read_variables, when
from mailctl.cli.views import email_view, envelope_view
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailctl.campaign import Campaign, Mailing, Recorded
    from mailctl.catalog import Kind
    from mailctl.message import Email, RowProblem
    from mailctl.recipients import Recipient
    from mailctl.sending import Order

app = typer.Typer(name="send", help="Send an email, now or later, to one or to many.", no_args_is_help=True)

_BULK = "To many"
_MANY_HELP = (
    "A list: CSV with a header or JSON lines, by user_id or by email and name; other columns are variables; "
    "- for standard input."
)


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that every kind of email has."""

    user_id: Annotated[
        list[str] | None, typer.Option("--user-id", metavar="ID", help="A user of the service; repeatable.")
    ] = None
    email: Annotated[
        str | None, typer.Option("--email", metavar="ADDRESS", help="An address instead of a user.")
    ] = None
    name: Annotated[str, typer.Option("--name", help="The name that goes with --email.")] = ""
    users_file: Annotated[
        Path | None,
        typer.Option("--users-file", metavar="FILE", help=_MANY_HELP, rich_help_panel=_BULK),
    ] = None
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Every user there is.", rich_help_panel=_BULK)
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Send nothing if a row is bad.", rich_help_panel=_BULK)
    ] = False
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            metavar="NAME",
            help="Nobody gets two emails of one campaign; made from the list where it is not given.",
            rich_help_panel=_BULK,
        ),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="RATE", help="50/s or 3000/m, all workers together.", rich_help_panel=_BULK
        ),
    ] = None
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Send then (ISO 8601).")] = None
    in_: Annotated[
        str | None, typer.Option("--in", metavar="LENGTH", help="Send after that (90s, 10m, 2h30m).")
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="The same key sends only once."),
    ] = None
    wait: Annotated[bool, typer.Option("--wait", help="Follow the email to its end.")] = False
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long --wait waits.")] = 60
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would go out, and send nothing.")] = (
        False
    )

    @property
    def is_campaign(self) -> bool:
        """Whether it is sent behind everything else, in batches."""
        return self.users_file is not None or self.all_users


@dataclass(frozen=True, kw_only=True)
class Words:
    """What only one kind of email has."""

    kind: Kind
    tokens: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    template: str | None = None


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
        run.__signature__ = inspect.Signature([session, *keyword])  # type: ignore[attr-defined]
        app.command(name)(command(run))

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
        _carry_out_campaign(session, words, common)
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
        _show_preview(session, sending.preview(order))
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


def _carry_out_campaign(session: Session, words: Words, common: Common) -> None:
    from mailctl.campaign import Campaign

    rows, mailing = _mailing(session, words, common)
    campaign = Campaign(session.runtime, mailing)
    problems = list(campaign.check(rows)) if common.strict or common.dry_run else []
    if common.dry_run:
        _tell_problems(session, problems)
        envelope = campaign.preview(rows)
        _show_preview(session, [envelope] if envelope else [])
        session.output.note(f"{len(rows) - len(problems)} emails would go out, {len(problems)} rows are bad.")
    elif problems:
        _tell_problems(session, problems)
        raise InvalidInput(
            "--users-file", f"has {len(problems)} bad rows; nothing is sent.", fix="Mend them."
        )
    else:
        problems = _record(session, campaign, mailing, rows)
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _mailing(session: Session, words: Words, common: Common) -> tuple[list[Recipient | RowProblem], Mailing]:
    from mailctl.campaign import Mailing, derived_name, rows_of
    from mailctl.moments import parse_rate
    from mailctl.recipients import read_recipients

    _refuse_what_is_for_one(words, common)
    if common.users_file is not None:
        data = _read_list(common.users_file)
        rows = list(read_recipients(data))
        name = derived_name(words.kind, data, subject=words.subject, context=words.context)
    else:
        rows, name = rows_of(session.runtime.directory), ""
        if common.campaign is None:
            raise InvalidInput(
                "--campaign", "is missing.", fix="Name it, so that running it again sends no second copy."
            )
    return rows, Mailing(
        campaign=name if common.campaign is None else common.campaign,
        kind=words.kind,
        context=words.context,
        subject=words.subject,
        template=words.template,
        not_before=when(at=common.at, after=common.in_),
        rate=parse_rate(common.rate, field="--rate") if common.rate else None,
    )


def _refuse_what_is_for_one(words: Words, common: Common) -> None:
    if common.user_id or common.email or (common.users_file and common.all_users):
        raise InvalidInput("recipient", "is given twice.", fix="Give one of --users-file and --all-users.")
    if common.wait:
        raise InvalidInput("--wait", "is for one email.", fix="Follow with `mailctl list --campaign NAME`.")
    if common.idempotency_key:
        raise InvalidInput("--idempotency-key", "is for one email.", fix="Use --campaign NAME.")
    if words.tokens:
        raise InvalidInput("token", "belongs to one user.", fix="Leave it out; each email gets its own.")


def _read_list(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            "--users-file", f"{path} cannot be read ({error.strerror}).", fix="Name a CSV or JSON lines file."
        ) from error


def _record(
    session: Session, campaign: Campaign, mailing: Mailing, rows: list[Recipient | RowProblem]
) -> list[RowProblem]:
    """Record row by row, and say what became of them, also when it is cut short."""
    done, new, known, problems = 0, 0, 0, list[Any]()
    try:
        with session.output.progress("recorded", total=len(rows)) as advance:
            for step in campaign.record(rows):
                done, new, known = done + step.rows, new + len(step.emails), known + step.known
                problems += step.problems
                _show_step(session, mailing, step)
                advance(step.rows)
    except KeyboardInterrupt:
        session.output.note(f"Stopped: {new + known} of {len(rows)} are in. The same command goes on.")
        raise
    summary = {"campaign": mailing.campaign, "recorded": new, "known": known, "problems": len(problems)}
    if session.output.as_json:
        session.output.record(summary)
    else:
        in_already = f", {known} were in already" if known else ""
        skipped = f", {len(problems)} bad rows skipped" if problems else ""
        session.output.line(f"{new} emails recorded{in_already}{skipped}; campaign {mailing.campaign}")
    return problems


def _show_step(session: Session, mailing: Mailing, step: Recorded) -> None:
    _tell_problems(session, step.problems)
    if session.output.as_json:
        for email_id, address in step.emails:
            session.output.record({"task_id": email_id, "to": address, "campaign": mailing.campaign})


def _tell_problems(session: Session, problems: Iterable[RowProblem]) -> None:
    for problem in problems:
        session.output.note(f"line {problem.line}: {problem.reason}")


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
