"""What every command shares: options, before and after its name, and lazily what they lead to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mailctl.cli.terminal.output import Output
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.shell_command import sharing_options

if TYPE_CHECKING:
    from mailctl.domain.catalog import Catalog
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings

_PANEL = "Shared options"
_ACCESS_MODE = "mailctl_access_mode"
_Body = TypeVar("_Body", bound=Callable[..., None])

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTR",
        help="Your service's own Celery app, instead of mailctl's.",
        rich_help_panel=_PANEL,
    ),
]
EnvFileOption = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Settings; default: .env here.", rich_help_panel=_PANEL),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_PANEL)]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="Print no colours.", rich_help_panel=_PANEL)]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.", rich_help_panel=_PANEL)
]
_SHARED = {
    "app": AppOption,
    "env_file": EnvFileOption,
    "json": JsonOption,
    "no_color": NoColorOption,
    "verbose": VerboseOption,
}
_DEFAULTS: dict[str, Any] = {
    "app": None,
    "env_file": None,
    "json": False,
    "no_color": False,
    "verbose": False,
}


class OutputClosed(Exception):
    """Whoever read what is printed has closed the pipe."""


@dataclass
class CliSession:
    """One call of the command line: its shared options, and what they lead to, opened when needed."""

    options: dict[str, Any] = field(default_factory=lambda: dict(_DEFAULTS))
    #: What the command may do to the delivery log.
    access_mode: AccessMode = AccessMode.READ

    def merge_options(self, given: dict[str, Any]) -> None:
        """Take options that were given; those left out keep what was said before the command."""
        self.options |= {name: value for name, value in given.items() if value not in (None, False)}

    @property
    def settings_options(self) -> dict[str, str]:
        """The options that say where the settings come from: a command that is offered needs them, too."""
        return {name: str(self.options[name]) for name in ("app", "env_file") if self.options[name]}

    @property
    def is_verbose(self) -> bool:
        """Whether tracebacks are wanted."""
        return bool(self.options["verbose"])

    @cached_property
    def output(self) -> Output:
        """Where results go."""
        return Output(as_json=self.options["json"], with_color=not self.options["no_color"])

    @cached_property
    def settings(self) -> Settings:
        """The settings, with what the options override."""
        from mailctl.settings import Settings

        settings = Settings.load(self.options["env_file"])
        app = self.options["app"]
        return settings.model_copy(update={"mailctl_app": app}) if app else settings

    @cached_property
    def catalog(self) -> Catalog:
        """The kinds of email that there are; the delivery log stays closed."""
        from mailctl.domain.catalog_loader import catalog_from_settings

        return catalog_from_settings(self.settings)

    @cached_property
    def runtime(self) -> Runtime:
        """The parts of the library, opened."""
        from mailctl import runtime

        runtime.configure(self.settings)
        return runtime.current(access_mode=self.access_mode)

    def allow_missing_log(self) -> None:
        """Let the command do without a delivery log where it can ask a broker; say so if there is none."""
        if self.settings.is_broker_private:
            return
        self.access_mode = AccessMode.OPTIONAL
        if self.runtime.is_log_missing:
            log = self.runtime.masked_log_url
            self.output.note(f"There is no delivery log at {log}: only the broker was asked.")


def uses_log(mode: AccessMode) -> Callable[[_Body], _Body]:
    """Declare what a command may do to the delivery log; every command says it.

    What only reads never creates a log, so that a wrong address is told instead of being made right.
    """

    def declare(function: _Body) -> _Body:
        vars(function)[_ACCESS_MODE] = mode
        return function

    return declare


def access_mode_of(function: Callable[..., None]) -> AccessMode:
    """Return what a command may do to the delivery log."""
    found = vars(function).get(_ACCESS_MODE)
    if not isinstance(found, AccessMode):
        raise TypeError(f"{function.__name__} needs @uses_log, which says what it may do to the delivery log")
    return found


def make_command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is the session: adds the shared options to it."""
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    access_mode = access_mode_of(function)

    @wraps(function)
    def run(ctx: typer.Context, **values: Any) -> None:
        session = session_of(ctx)
        session.merge_options({name: values.pop(name) for name in _SHARED})
        session.access_mode = access_mode
        try:
            with sharing_options(**session.settings_options):
                function(session, **values)
        except BrokenPipeError:
            # Typer would make exit code 1 of it, but whoever has read enough is served.
            raise OutputClosed from None

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=_DEFAULTS[name]
        )
        for name, annotation in _SHARED.items()
    ]
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = [context, *named, *shared]
    return with_signature(run, parameters)


def with_signature(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Say which parameters a function takes that is declared with `**values`; Typer reads them."""
    vars(function)["__signature__"] = inspect.Signature(parameters)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def session_of(ctx: typer.Context) -> CliSession:
    """Return the session of this call."""
    root = ctx.find_root()
    if not isinstance(root.obj, CliSession):
        root.obj = CliSession()
    return root.obj
