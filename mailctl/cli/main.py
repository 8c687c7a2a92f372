"""The entry point: the commands in their sections, and errors as one sentence and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.context import (
    AppOption,
    CliSession,
    EnvFileOption,
    JsonOption,
    NoColorOption,
    OutputClosed,
    UtcOption,
    VerboseOption,
    session_of,
)
from mailctl.cli.lazy_commands import CommandGroup, LazyCommand
from mailctl.cli.terminal import streams
from mailctl.cli.terminal.interrupts import install_interrupt_hooks
from mailctl.cli.terminal.output import Output
from mailctl.cli.usage_errors import usage_sentence
from mailctl.errors import ExitCode, InvalidInput, MailctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many objects are made before the interpreter looks for cycles among them. Its own 700 take a tenth of
#: the time in which a command imports what it needs; with these, a process has a few MB of garbage.
_GC_THRESHOLDS = (20_000, 20, 10)
#: The commands by the heading of their section in the help.
SECTIONS = {
    "Send": (
        LazyCommand(
            "send", "mailctl.cli.commands.send:app", "Send an email to one recipient or many, now or later."
        ),
        LazyCommand("worker", "mailctl.cli.commands.worker:worker", "Start a worker that sends emails."),
        LazyCommand(
            "demo",
            "mailctl.cli.commands.demo:demo",
            "Send four demo emails through a real worker; no set-up needed.",
        ),
    ),
    "Find and explain": (
        LazyCommand("status", "mailctl.cli.commands.status:status", "Show what happened to emails, and why."),
        LazyCommand(
            "why",
            "mailctl.cli.commands.why:why",
            "Explain why an email is in its current state, and what to do next.",
        ),
        LazyCommand("show", "mailctl.cli.commands.show:show", "Show the headers and text of an email."),
        LazyCommand("list", "mailctl.cli.commands.list:list_emails", "List emails, newest first."),
        LazyCommand(
            "events",
            "mailctl.cli.commands.events:events",
            "List what happened to emails, oldest first, and follow it.",
        ),
        LazyCommand(
            "errors",
            "mailctl.cli.commands.errors:errors",
            "List failures and deferrals in groups of the same cause, the most frequent first.",
        ),
        LazyCommand("web", "mailctl.cli.commands.web:web", "Serve the read-only dashboard."),
        LazyCommand(
            "open",
            "mailctl.cli.commands.open:open_dashboard",
            "Open the dashboard in a browser, at its overview or at an email.",
        ),
    ),
    "Change emails": (
        LazyCommand("retry", "mailctl.cli.commands.actions:retry", "Retry emails that were not sent."),
        LazyCommand(
            "cancel", "mailctl.cli.commands.actions:cancel", "Cancel emails that have not been sent yet."
        ),
        LazyCommand("hold", "mailctl.cli.commands.actions:hold", "Hold emails until they are released."),
        LazyCommand("release", "mailctl.cli.commands.actions:release", "Release held or cancelled emails."),
        LazyCommand(
            "resend", "mailctl.cli.commands.actions:resend", "Send a new copy of emails that were not sent."
        ),
        LazyCommand(
            "suppress",
            "mailctl.cli.commands.suppress:app",
            "Manage the suppression list: addresses that no email is sent to.",
        ),
        LazyCommand(
            "feedback",
            "mailctl.cli.commands.feedback:app",
            "Process bounces and complaints, and record what happened to emails.",
        ),
    ),
    "Campaigns, queues and workers": (
        LazyCommand(
            "campaign",
            "mailctl.cli.commands.campaign:app",
            "List, show, pause, resume and cancel campaigns, and set their rates (default: list).",
        ),
        LazyCommand(
            "queue",
            "mailctl.cli.commands.queue:app",
            "List, pause, resume, purge and restore queues (default: list).",
        ),
        LazyCommand(
            "workers",
            "mailctl.cli.commands.workers:app",
            "List, compare, ping and stop workers (default: list).",
        ),
    ),
    "Inspect": (
        LazyCommand(
            "stats",
            "mailctl.cli.commands.stats:stats",
            "Show statistics on emails: counts, failures and latency.",
        ),
        LazyCommand("top", "mailctl.cli.commands.top:top", "Watch rates, queues, workers and failures live."),
        LazyCommand(
            "preview", "mailctl.cli.commands.preview:preview", "Preview an email without sending it."
        ),
        LazyCommand(
            "flower",
            "mailctl.cli.commands.flower:app",
            "Start Flower with the task arguments of emails redacted.",
        ),
    ),
    "Alerting": (
        LazyCommand(
            "incident",
            "mailctl.cli.commands.incident:incident",
            "Say what is wrong now, in at most ten lines, and how to fix it.",
        ),
        LazyCommand(
            "health",
            "mailctl.cli.commands.health:health",
            "Check that emails can be sent: log, broker, workers, mail server.",
        ),
        LazyCommand(
            "monitor",
            "mailctl.cli.commands.monitor:monitor",
            "Check thresholds; exit with 1 if one is exceeded.",
        ),
        LazyCommand(
            "metrics", "mailctl.cli.commands.monitor:metrics", "Print metrics in the Prometheus text format."
        ),
    ),
    "Set-up and maintenance": (
        LazyCommand(
            "init",
            "mailctl.cli.commands.init:init",
            "Write a `.env` file with a new SECRET_KEY, and check it.",
        ),
        LazyCommand(
            "config",
            "mailctl.cli.commands.config:app",
            "Show the settings and where they come from, or compare two profiles.",
        ),
        LazyCommand(
            "check-config",
            "mailctl.cli.commands.check_config:check_config",
            "Check the configuration and suggest fixes.",
        ),
        LazyCommand(
            "users",
            "mailctl.cli.commands.users:app",
            "List users; add and import users of the embedded directory.",
        ),
        LazyCommand("keys", "mailctl.cli.commands.keys:app", "Manage API keys for the dashboard."),
        LazyCommand(
            "db",
            "mailctl.cli.commands.db:app",
            "Manage the schema, the partitions and the encryption key of the delivery log.",
        ),
        LazyCommand("prune", "mailctl.cli.commands.prune:prune", "Delete old emails from the delivery log."),
        LazyCommand("schema", "mailctl.cli.commands.schema:schema", "Print the JSON Schemas of `--json`."),
    ),
    "Help": (
        LazyCommand(
            "help", "mailctl.cli.commands.help:show_help", "Show the help of a command, or the exit codes."
        ),
        LazyCommand(
            "version",
            "mailctl.cli.commands.help:show_version",
            "Print the versions of mailctl, Python and Celery.",
        ),
    ),
}
app = CommandGroup(
    "mailctl",
    "Send, find, explain and fix the emails that a web service sends through Celery.",
    sections=SECTIONS,
)


#: Errors that end a command with a sentence instead of a traceback.
_EXPECTED = (
    MailctlError,
    typer.Abort,
    KeyboardInterrupt,
    typer.TyperException,
    OutputClosed,
    OSError,
)


#: What a file says that cannot be written, and no service.
_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        Output().line(f"mailctl {version('mailctl')}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    app_spec: AppOption = None,
    env_file: EnvFileOption = None,
    json: JsonOption = False,
    no_color: NoColorOption = False,
    utc: UtcOption = False,
    verbose: VerboseOption = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    session_of(ctx).merge_options(
        {
            "app": app_spec,
            "env_file": env_file,
            "json": json,
            "no_color": no_color,
            "utc": utc,
            "verbose": verbose,
        }
    )


@cache
def _command() -> Any:
    """Return the root command, which is built once per process, however often `main` is called."""
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None for those of this process.

    Returns:
        The exit code, one of `ExitCode`.
    """
    session = CliSession()
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        _refuse_non_utf8(arguments)
        code = _command()(args=arguments, prog_name="mailctl", standalone_mode=False, obj=session)
    except _EXPECTED as error:
        return _report(session, error)
    return code if isinstance(code, int) else ExitCode.DONE


def _report(session: CliSession, error: BaseException) -> ExitCode:
    """Print an error in one sentence; return the exit code for it."""
    match error:
        case MailctlError():
            _print_error(session, error, error.message, error.fix)
            return error.exit_code
        case typer.Abort() | KeyboardInterrupt():
            session.output.note("interrupted")
            return ExitCode.INTERRUPTED
        case typer.TyperException():
            _print_error(session, error, usage_sentence(error), "")
            return ExitCode.USAGE
        case BrokenPipeError() | OutputClosed():
            # The reader of stdout, such as `head`, has read enough.
            _discard_output()
            return ExitCode.DONE
        case _:
            # Such as a full disk behind stdout; errors of other files and of services are MailctlErrors.
            is_of_output = not _flush_output() or _is_of_unbuffered_output(error)
            text = f"Standard output cannot be written: {error}." if is_of_output else f"{error}."
            _print_error(session, error, text, session.output.already_done)
            return ExitCode.FAILED


def _refuse_non_utf8(arguments: Sequence[str]) -> None:
    """Refuse an argument that is not UTF-8, which no log, broker or mail server can store or look up."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                "argument", f"{argument!a} is not UTF-8.", fix="Check the encoding of the terminal."
            ) from None


def _flush_output() -> bool:
    """Write what stdout still has, also what failed before; return whether that worked."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
        return False
    return True


def _is_of_unbuffered_output(error: BaseException) -> bool:
    """Whether an error is of stdout that keeps nothing to try again, as with PYTHONUNBUFFERED."""
    is_unbuffered = getattr(sys.stdout, "write_through", False)
    return is_unbuffered and isinstance(error, OSError) and error.errno in _WRITE_ERRORS


def _discard_output() -> None:
    """Discard unwritten output, which the interpreter would otherwise try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Run one command and exit with its exit code."""
    gc.set_threshold(*_GC_THRESHOLDS)
    streams.prepare()
    install_interrupt_hooks()
    code = main()
    _close_log()
    # The interpreter collects garbage at exit, which takes a sixth of the time of a short command.
    gc.freeze()
    sys.exit(code)


def _close_log() -> None:
    """Close what the command has opened; SQLite then leaves the delivery log in a single file."""
    # An import would take longer than a command that opens nothing.
    if (runtime := sys.modules.get("mailctl.runtime")) is not None:
        runtime.close()


def _print_error(session: CliSession, error: BaseException, text: str, fix: str) -> None:
    if session.is_verbose:
        # Imported here, because it takes time.
        from mailctl.settings.credential_masking import mask_credentials

        # Errors of other libraries may contain credentials.
        session.output.note(mask_credentials("".join(traceback.format_exception(error)).rstrip()))
    session.output.error(text, fix)
