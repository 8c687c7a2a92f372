"""The shared options, and the session that opens settings and runtime for a command when needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mailctl.cli.completion_scripts import complete_file
from mailctl.cli.terminal.output import Output
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import sharing_options
from mailctl.errors import InvalidInput
from mailctl.timefmt import showing_times

if TYPE_CHECKING:
    from mailctl.domain.catalog import Catalog
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings

SHARED_OPTIONS_PANEL = "Shared options"
_ACCESS_MODE = "mailctl_access_mode"
_PRINTS_JSON = "mailctl_prints_json"
_Body = TypeVar("_Body", bound=Callable[..., None])

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTR",
        help="Use this Celery app instead of mailctl's own; only commands that need it import it.",
        rich_help_panel=SHARED_OPTIONS_PANEL,
    ),
]
EnvFileOption = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        autocompletion=complete_file,
        help="Read settings from this file instead of ./.env.",
        rich_help_panel=SHARED_OPTIONS_PANEL,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON instead of text; a list is one object per line.",
        rich_help_panel=SHARED_OPTIONS_PANEL,
    ),
]
#: `--json` of a command that prints no JSON: its help does not offer it, and the command refuses it.
_HiddenJsonOption = Annotated[bool, typer.Option("--json", help="Refused.", hidden=True)]
NoColorOption = Annotated[
    bool, typer.Option("--no-color", help="Print without colours.", rich_help_panel=SHARED_OPTIONS_PANEL)
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Print the traceback of an error.", rich_help_panel=SHARED_OPTIONS_PANEL
    ),
]
UtcOption = Annotated[
    bool,
    typer.Option(
        "--utc", help="Show times in UTC instead of local time.", rich_help_panel=SHARED_OPTIONS_PANEL
    ),
]
_SHARED = {
    "app": AppOption,
    "env_file": EnvFileOption,
    "json": JsonOption,
    "no_color": NoColorOption,
    "utc": UtcOption,
    "verbose": VerboseOption,
}
_DEFAULTS: dict[str, Any] = {
    "app": None,
    "env_file": None,
    "json": False,
    "no_color": False,
    "utc": False,
    "verbose": False,
}


class OutputClosed(Exception):
    """The reader of stdout has closed the pipe."""


@dataclass
class CliSession:
    """One call of the command line: its shared options, settings, output and runtime."""

    options: dict[str, Any] = field(default_factory=lambda: dict(_DEFAULTS))
    #: How the command may use the delivery log.
    access_mode: AccessMode = AccessMode.READ

    def merge_options(self, given: dict[str, Any]) -> None:
        """Set the options that were given; the others keep the values given before the command's name."""
        self.options |= {name: value for name, value in given.items() if value not in (None, False)}

    @property
    def settings_options(self) -> dict[str, str]:
        """The options that determine the settings; a suggested command repeats them."""
        return {name: str(self.options[name]) for name in ("app", "env_file") if self.options[name]}

    @property
    def shows_local_times(self) -> bool:
        """Whether times are shown in local time; those that are stored, or that programs read, are in UTC."""
        is_reader = self.access_mode in (AccessMode.READ, AccessMode.OPTIONAL)
        return is_reader and not self.options["utc"] and not self.options["json"]

    @property
    def is_verbose(self) -> bool:
        """Whether errors are printed with their traceback."""
        return bool(self.options["verbose"])

    @cached_property
    def output(self) -> Output:
        """The output of this call."""
        return Output(as_json=self.options["json"], with_color=not self.options["no_color"])

    @cached_property
    def settings(self) -> Settings:
        """The settings, overridden by the shared options."""
        from mailctl.settings import Settings

        settings = Settings.load(self.options["env_file"])
        app = self.options["app"]
        if not app:
            return settings
        from mailctl.settings.plugins import check_module

        check_module(app, setting="--app")  # a command that needs no app imports none
        return settings.model_copy(update={"mailctl_app": app})

    @cached_property
    def catalog(self) -> Catalog:
        """The kinds of email; reading them does not open the delivery log."""
        from mailctl.domain.catalog_loader import catalog_from_settings

        return catalog_from_settings(self.settings)

    @cached_property
    def runtime(self) -> Runtime:
        """The runtime, opened with this call's settings."""
        from mailctl import runtime

        runtime.configure(self.settings)
        return runtime.current(access_mode=self.access_mode)

    def refuse_json(self, what: str) -> None:
        """Refuse `--json` where there is no JSON to print, instead of printing text or nothing.

        Args:
            what: the command, with its options if it depends on them.

        Raises:
            InvalidInput: `--json` was given.
        """
        if self.options["json"]:
            raise InvalidInput(
                "--json", f"does not apply to `{what}`, which prints no JSON.", fix="Leave it out."
            )

    def allow_missing_log(self) -> None:
        """Print a note if there is no delivery log, and continue with what the broker reports."""
        if self.settings.is_broker_private:
            return
        self.access_mode = AccessMode.OPTIONAL
        if self.runtime.is_log_missing:
            log = self.runtime.masked_log_url
            self.output.note(f"There is no delivery log at {log}. Showing only what the broker reports.")


def uses_log(mode: AccessMode, *, prints_json: bool = True) -> Callable[[_Body], _Body]:
    """Declare how a command uses the delivery log; every command must.

    A command that only reads never creates a log, so that a wrong path or URL is reported as an error.

    Args:
        mode: how the command uses the delivery log.
        prints_json: whether the command prints JSON with `--json`; one that does not refuses the option.
    """

    def declare(function: _Body) -> _Body:
        vars(function).update({_ACCESS_MODE: mode, _PRINTS_JSON: prints_json})
        return function

    return declare


def access_mode_of(function: Callable[..., None]) -> AccessMode:
    """Return how a command uses the delivery log."""
    found = vars(function).get(_ACCESS_MODE)
    if not isinstance(found, AccessMode):
        raise TypeError(f"{function.__name__} lacks @uses_log, which declares how it uses the delivery log")
    return found


def prints_json(function: Callable[..., None]) -> bool:
    """Return whether a command prints JSON with `--json`."""
    return bool(vars(function)[_PRINTS_JSON])


def make_command(function: Callable[..., None]) -> Callable[..., None]:
    """Return a Typer command for a function whose first parameter is the session; adds the shared options."""
    access_mode = access_mode_of(function)

    @wraps(function)
    def run(ctx: typer.Context, **values: Any) -> None:
        session = session_of(ctx)
        session.merge_options({name: values.pop(name) for name in _SHARED})
        session.access_mode = access_mode
        if not prints_json(function):
            session.refuse_json(ctx.command_path)
        with (
            sharing_options(**session.settings_options),
            showing_times(is_local=session.shows_local_times),
        ):
            function(session, **values)

    return with_signature(run, _command_parameters(function))


def _command_parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    """Return the context, the parameters of a function after its session, and the shared options."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    annotations = _SHARED if prints_json(function) else _SHARED | {"json": _HiddenJsonOption}
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=_DEFAULTS[name]
        )
        for name, annotation in annotations.items()
    ]
    return [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *shared,
    ]


def with_signature(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Declare the parameters of a function that takes `**values`, for Typer to read."""
    vars(function)["__signature__"] = inspect.Signature(parameters)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def session_of(ctx: typer.Context) -> CliSession:
    """Return the session of this call of the command line."""
    root = ctx.find_root()
    if not isinstance(root.obj, CliSession):
        root.obj = CliSession()
    return root.obj
