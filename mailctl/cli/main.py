"""Assembles the commands, and turns every error into one sentence and an exit code."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import (
    AppOption,
    CliSession,
    EnvFileOption,
    JsonOption,
    NoColorOption,
    OutputClosed,
    VerboseOption,
    session_of,
)
from mailctl.cli.lazy_commands import CommandGroup, LazyCommand
from mailctl.cli.terminal import streams
from mailctl.cli.terminal.output import Output
from mailctl.errors import ExitCode, InvalidInput, MailctlError
from mailctl.redaction import mask_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECTIONS = {
    "Send": (
        LazyCommand(
            "send", "mailctl.cli.commands.send:app", "Send an email, now or later, to one or to many."
        ),
        LazyCommand("worker", "mailctl.cli.commands.worker:worker", "Start a worker that sends the emails."),
        LazyCommand(
            "demo", "mailctl.cli.commands.demo:demo", "See it work: four emails through a real worker."
        ),
    ),
    "Find and explain": (
        LazyCommand("status", "mailctl.cli.commands.status:status", "Tell what became of an email, and why."),
        LazyCommand(
            "why", "mailctl.cli.commands.why:why", "Tell why an email is where it is, and what to do next."
        ),
        LazyCommand("show", "mailctl.cli.commands.show:show", "Show what an email says."),
        LazyCommand("list", "mailctl.cli.commands.list:list_emails", "Find emails by filters that compose."),
        LazyCommand("web", "mailctl.cli.commands.web:web", "Serve the dashboard, which only reads."),
    ),
    "Act": (
        LazyCommand(
            "retry",
            "mailctl.cli.commands.actions:retry",
            "Let undelivered emails go out again, where it is safe.",
        ),
        LazyCommand(
            "cancel", "mailctl.cli.commands.actions:cancel", "Take emails back that are not out yet."
        ),
        LazyCommand("hold", "mailctl.cli.commands.actions:hold", "Keep emails back until they are released."),
        LazyCommand("release", "mailctl.cli.commands.actions:release", "Let held and cancelled emails go."),
        LazyCommand("resend", "mailctl.cli.commands.actions:resend", "Make new emails of undelivered ones."),
        LazyCommand(
            "suppress", "mailctl.cli.commands.suppress:app", "The addresses that nothing is sent to."
        ),
    ),
    "Queues and workers": (
        LazyCommand(
            "queue", "mailctl.cli.commands.queue:app", "What waits in the queues; stop, start and empty them."
        ),
        LazyCommand(
            "workers", "mailctl.cli.commands.workers:app", "Who works: alive, busy, on which queues."
        ),
    ),
    "Look": (
        LazyCommand(
            "stats", "mailctl.cli.commands.stats:stats", "Count emails: how many, how fast, how well."
        ),
        LazyCommand(
            "top", "mailctl.cli.commands.top:top", "Watch it live: rates, queues, workers, latest failures."
        ),
        LazyCommand("preview", "mailctl.cli.commands.preview:preview", "Show an email without sending it."),
        LazyCommand(
            "flower", "mailctl.cli.commands.flower:app", "Start Flower on the app, arguments redacted."
        ),
    ),
    "Alarms": (
        LazyCommand(
            "health", "mailctl.cli.commands.health:health", "Check that emails get through, hop by hop."
        ),
        LazyCommand(
            "monitor", "mailctl.cli.commands.monitor:monitor", "Check limits; exit code 1 if one is broken."
        ),
        LazyCommand("metrics", "mailctl.cli.commands.monitor:metrics", "Print figures for Prometheus."),
    ),
    "Set up and look after": (
        LazyCommand(
            "check-config",
            "mailctl.cli.commands.check_config:check_config",
            "Find what is wrong with the set-up.",
        ),
        LazyCommand(
            "users", "mailctl.cli.commands.users:app", "The users that mailctl knows, without DATABASE_URL."
        ),
        LazyCommand("keys", "mailctl.cli.commands.keys:app", "The keys that open the dashboard."),
        LazyCommand("db", "mailctl.cli.commands.db:app", "The schema of the delivery log."),
        LazyCommand("prune", "mailctl.cli.commands.prune:prune", "Forget emails that ended long ago."),
        LazyCommand("schema", "mailctl.cli.commands.schema:schema", "Print the JSON Schemas of `--json`."),
    ),
}
app = CommandGroup(
    "mailctl", "Operate a web service's Celery email: send, work off, find, explain.", sections=_SECTIONS
)


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
    verbose: VerboseOption = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    session_of(ctx).merge_options(
        {"app": app_spec, "env_file": env_file, "json": json, "no_color": no_color, "verbose": verbose}
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None takes the process's own.

    Returns:
        The exit code, one of `ExitCode`.
    """
    session = CliSession()
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        _refuse_non_utf8(given)
        code = app(
            args=given,
            prog_name="mailctl",
            standalone_mode=False,
            obj=session,
        )
    except MailctlError as error:
        _print_error(session, error, error.message, error.fix)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        session.output.note("interrupted")
        return ExitCode.INTERRUPTED
    except typer.TyperException as error:
        _print_error(session, error, _usage_sentence(error), "")
        return ExitCode.USAGE
    except (BrokenPipeError, OutputClosed):
        # The reader of our output has gone; nobody is left to tell.
        _discard_output()
        return ExitCode.DONE
    except OSError as error:
        # Such as a full disk behind stdout: what other files and services do is told by MailctlErrors.
        _print_error(session, error, f"{error}.", session.output.already_done)
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE


def _refuse_non_utf8(arguments: Sequence[str]) -> None:
    """Refuse an argument of bytes that are no UTF-8: no log, broker or mail server could be asked for it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                "arguments", f"{argument!a} is not UTF-8.", fix="Check the encoding of the terminal."
            ) from None


def _discard_output() -> None:
    """Drop what stdout cannot take: the interpreter would try again as it ends, and say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Run one command and leave with its exit code."""
    streams.prepare()
    code = main()
    _close_log()
    # The interpreter ends with a search for garbage among all that was imported: a sixth of a short command.
    gc.freeze()
    sys.exit(code)


def _close_log() -> None:
    """Close what a command has opened: SQLite then leaves the whole log in one file."""
    # Not by an import, which takes longer than a command that opens nothing.
    if (runtime := sys.modules.get("mailctl.runtime")) is not None:
        runtime.close()


def _usage_sentence(error: typer.TyperException) -> str:
    format_message = getattr(error, "format_message", None)
    text = str(format_message() if format_message else error).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    help_hint = f" See `{context.command_path} --help`." if context is not None else ""
    return text.rstrip(".") + ("" if text.endswith("?") else ".") + help_hint


def _print_error(session: CliSession, error: BaseException, text: str, fix: str) -> None:
    if session.is_verbose:
        # Of other programs' errors, too.
        session.output.note(mask_credentials("".join(traceback.format_exception(error)).rstrip()))
    session.output.error(text, fix)
