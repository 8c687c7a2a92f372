"""`mailctl init`: write a first `.env` file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import OptionGroup, with_options
from mailctl.cli.terminal.confirm import ask, ask_secret
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.checks.finding import Finding
    from mailctl.operations.new_settings import NewSettings
    from mailctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class InitOptions(OptionGroup):
    """The answers that are given as options; the others are asked for on a terminal."""

    from_address: Annotated[
        str | None,
        typer.Option("--from-address", metavar="ADDRESS", help="Address that emails are sent from."),
    ] = None
    project_name: Annotated[
        str | None, typer.Option("--project-name", metavar="TEXT", help="Name of the service in emails.")
    ] = None
    frontend_url: Annotated[
        str | None,
        typer.Option("--frontend-url", metavar="URL", help="Address that links lead to."),
    ] = None
    email_host: Annotated[
        str | None,
        typer.Option(
            "--email-host",
            metavar="HOST",
            help="Mail server; with '', emails are written to files.",
        ),
    ] = None
    email_port: Annotated[
        int | None,
        typer.Option("--email-port", min=1, max=65535, metavar="PORT", help="Port of the mail server."),
    ] = None
    email_tls: Annotated[
        str | None,
        typer.Option(
            "--email-tls",
            metavar="MODE",
            help="Encryption to the mail server: starttls, implicit or none; default: starttls.",
        ),
    ] = None
    email_user: Annotated[
        str | None, typer.Option("--email-user", metavar="NAME", help="User name for the mail server.")
    ] = None
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing; take the default of what is not given.")
    ] = False
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password for the mail server from stdin.")
    ] = False
    production: Annotated[
        bool, typer.Option("--production", help="Set up production (DEBUG=False), which needs Redis.")
    ] = False
    redis_url: Annotated[
        str,
        typer.Option("--redis-url", metavar="URL", help="Redis for production, unless it is on this host."),
    ] = ""
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="PostgreSQL for the delivery log, instead of a file.",
        ),
    ] = ""


@uses_log(AccessMode.OPTIONAL)
@with_options
def init(
    session: CliSession,
    options: InitOptions,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file, after renaming it.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to any service.")] = False,
) -> None:
    """Write a `.env` file with a new SECRET_KEY, and check it.

    On a terminal, asks for what is not given as an option. The file is `.env`, or that of --env-file; only
    this user may read it. Also checks that the mail server and, with --production, Redis answer.

    \b
    Examples:
      mailctl init
      mailctl init --from-address noreply@shop.example --no-input
      mailctl init --env-file prod.env --production --from-address a@b.example

    \b
    Exit codes:
      0  The file was written; what does not work yet is printed.
      2  An answer is missing or invalid.
      4  The file exists.

    \b
    See also:
      mailctl config show, mailctl check-config, mailctl worker
    """
    from mailctl.operations.new_settings import refuse_existing, write_env_file

    path = Path(session.options["env_file"] or ".env")
    refuse_existing(path, overwrite=force)
    values = _answers(options).values()
    written = write_env_file(path, values, overwrite=force)
    findings = _check(session, written.settings, offline=offline)
    if written.earlier is not None:
        session.output.note(
            f"The previous file is now {written.earlier}. Emails that its SECRET_KEY encrypted need that"
            " key in MAILCTL_SECRET_KEYS_OLD."
        )
    if session.output.as_json:
        from mailctl.views.checks import FindingView
        from mailctl.views.config import NewSettingsView

        checks = [FindingView.model_validate(each) for each in findings]
        session.output.record(NewSettingsView(path=str(path), settings=list(values), checks=checks))
    else:
        session.output.line(f"{path} was written: {', '.join(values)}.")
        for step in _next_steps(findings):
            session.output.note(step)


def _next_steps(findings: Sequence[Finding]) -> Iterator[str]:
    from mailctl.checks.finding import FindingStatus

    if any(each.status is FindingStatus.FAIL for each in findings):
        yield f"First correct what failed, and check it: {mailctl_command('check-config')}"
        return
    yield f"Next, start a worker: {mailctl_command('worker')}"
    first = mailctl_command("send", "welcome", email="ADDRESS", is_complete=False)
    yield f"Then send yourself an email: {first}"


def _answers(options: InitOptions) -> NewSettings:
    from mailctl.operations.new_settings import NewSettings

    answers = NewSettings(
        from_address=_answer(
            options,
            options.from_address,
            "Address that emails are sent from",
            setting="EMAIL_FROM_ADDRESS",
        ),
        project_name=_answer(
            options,
            options.project_name,
            "Name of the service in emails",
            setting="PROJECT_NAME",
            default="Example",
        ),
        frontend_url=_answer(
            options,
            options.frontend_url,
            "Address that links in emails lead to",
            setting="FRONTEND_URL",
            default="http://localhost:3000",
        ),
        email_host=_answer(
            options,
            options.email_host,
            "Mail server (empty: write emails to files)",
            setting="EMAIL_HOST",
            default="",
        ),
        is_production=options.production,
        redis_url=_answer_for_production(
            options, options.redis_url, "URL of Redis (empty: on this host)", "REDIS_URL"
        ),
        database_url=_answer_for_production(
            options, options.database_url, "URL of PostgreSQL (empty: a file)", "MAILCTL_DATABASE_URL"
        ),
    )
    return _with_credentials(_with_port(answers, options), options) if answers.email_host else answers


def _with_port(answers: NewSettings, options: InitOptions) -> NewSettings:
    from mailctl.operations.new_settings import DEFAULT_PORTS

    tls = require_choice(
        _answer(
            options,
            options.email_tls,
            "Encryption (starttls, implicit or none)",
            setting="EMAIL_TLS",
            default="starttls",
        ),
        DEFAULT_PORTS,
        noun="encryption mode",
    )
    port = _answer(
        options,
        None if options.email_port is None else str(options.email_port),
        "Port of the mail server",
        setting="EMAIL_PORT",
        default=str(DEFAULT_PORTS[tls]),
    )
    return replace(answers, email_tls=tls, email_port=int(port))


def _with_credentials(answers: NewSettings, options: InitOptions) -> NewSettings:
    user = _answer(
        options,
        options.email_user,
        "User name for the mail server (empty: none)",
        setting="EMAIL_HOST_USER",
        default="",
    )
    if not user:
        return answers
    password = sys.stdin.readline().strip() if options.password_stdin else ""
    if not password and sys.stdin.isatty() and not options.no_input:
        password = ask_secret("Password for the mail server")
    return replace(answers, email_user=user, email_password=password)


def _answer(
    options: InitOptions, given: str | None, question: str, *, setting: str, default: str | None = None
) -> str:
    """Return what was given, or else a valid answer on a terminal, or else the default."""
    if given is not None:
        return given
    if sys.stdin.isatty() and not options.no_input:
        return ask(
            question, default=default, may_be_empty=default == "", check=partial(_check_answer, setting)
        )
    if default is None:
        raise InvalidInput("--from-address", "is missing, and cannot be asked for.", fix="Add it.")
    return default


def _answer_for_production(options: InitOptions, given: str, question: str, setting: str) -> str:
    """Return the URL of a service that development does not need."""
    if given or not options.production:
        return given
    return _answer(options, None, question, setting=setting, default="")


def _check_answer(setting: str, value: str) -> None:
    from mailctl.operations.new_settings import check_answers

    check_answers({setting: value})


def _check(session: CliSession, settings: Settings, *, offline: bool) -> list[Finding]:
    """Check what the answers are about; print what does not work."""
    from mailctl.checks.finding import FindingStatus
    from mailctl.checks.run_checks import run_checks

    # A worker is the next step.
    findings = [each for each in run_checks(settings, offline=offline) if each.name != "alive"]
    for finding in findings:
        if finding.status in (FindingStatus.WARN, FindingStatus.FAIL) and not session.output.as_json:
            session.output.state(f"{finding.status:<4}", f"{finding.name}: {finding.detail}")
            if finding.fix:
                session.output.fix(finding.fix, indent="      -> ")
    return findings
