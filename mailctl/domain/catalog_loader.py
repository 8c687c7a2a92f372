"""Loads the service's own kinds of email, from MAILCTL_CATALOG and from entry points of packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.catalog import (
    ALWAYS_ALLOWED_VARIABLES,
    BUILT_IN_KINDS,
    DELIVER_TASK,
    Catalog,
    Kind,
    is_security_template,
)
from mailctl.domain.task_mapping import recorded_kinds
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.settings.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.settings import Settings

#: The entry point group in which packages register one kind or several.
ENTRY_POINT_GROUP = "mailctl.kinds"
_SETTING = "MAILCTL_CATALOG"
_DEFAULT_ATTRIBUTE = "KINDS"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_PATH = re.compile(r"/[\x21-\x7e]*")
_QUEUE = re.compile(r"[A-Za-z0-9._:-]{1,200}")
#: Variables that the composer sets in every email, so that no kind may declare them.
_RESERVED_VARIABLES = frozenset(
    {
        "project_name",
        "frontend_url",
        "subject",
        "greeting_name",
        "recipient_email",
        "expires_in",
        "expires_at",
    }
)
_FIX = "See docs/how-to/own-kinds.md."


def catalog_from_settings(settings: Settings) -> Catalog:
    """Return the catalog for these settings; the service's own kinds are loaded at their first use.

    Raises:
        ConfigurationError: MAILCTL_TEMPLATE_ALIASES is invalid.
    """
    aliases = _template_aliases(settings.mailctl_template_aliases)
    load, load_recorded = partial(_load, settings.mailctl_catalog), partial(recorded_kinds, settings)
    return Catalog(load, load_recorded, template_aliases=aliases)


def _template_aliases(text: str) -> dict[str, str]:
    """Return the templates of MAILCTL_TEMPLATE_ALIASES by their other names."""
    aliases: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        alias, _, template = (part.strip() for part in entry.partition("="))
        try:
            name, target = (validation.validate_template_name(each) for each in (alias, template))
        except InvalidInput:
            raise _invalid_alias(entry, "it is not NAME=TEMPLATE") from None
        if is_security_template(name):
            raise _invalid_alias(entry, f"{name} is the template of security emails, which have rules")
        if aliases.setdefault(name, target) != target:
            raise _invalid_alias(entry, f"{name} stands for two templates")
    return aliases


def _invalid_alias(entry: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"MAILCTL_TEMPLATE_ALIASES {entry!r}: {reason}.",
        fix="Give a value such as password-reset=reset,newsletter.html=emails/news",
    )


def _load(spec: str) -> Sequence[Kind]:
    """Return the service's own kinds, validated.

    Args:
        spec: MODULE or MODULE:ATTRIBUTE; "" for entry points alone.

    Raises:
        ConfigurationError: the kinds cannot be imported, or one of them is invalid.
    """
    found: dict[str, Kind] = {}
    for source, kind in (*_from_setting(spec), *_from_entry_points()):
        if problem := _problem(kind):
            raise ConfigurationError(f"{source}: kind {kind.name!r}: {problem}.", fix=_FIX)
        # The setting and an entry point may name the same object.
        if found.setdefault(kind.name, kind) is not kind:
            raise ConfigurationError(f"{source}: kind {kind.name!r} is registered twice.", fix="Rename one.")
    return tuple(found.values())


def _from_setting(spec: str) -> Iterator[tuple[str, Kind]]:
    if spec:
        place = spec if ":" in spec else f"{spec}:{_DEFAULT_ATTRIBUTE}"
        yield from _kinds_in(load_object(place, setting=_SETTING), source=f"{_SETTING}={spec}")


def _from_entry_points() -> Iterator[tuple[str, Kind]]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        source = f"entry point {point.name} ({point.value})"
        try:
            loaded = point.load()
        except Exception as error:
            raise ConfigurationError(
                f"{source}: cannot be imported: {summarize_error(error)}.",
                fix="Repair or uninstall its package.",
            ) from error
        yield from _kinds_in(loaded, source=source)


def _kinds_in(value: object, *, source: str) -> Iterator[tuple[str, Kind]]:
    if isinstance(value, Kind):
        value = [value]
    elif isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{source} is not a list of kinds of email.", fix=_FIX)
    for kind in value:
        if not isinstance(kind, Kind):
            raise ConfigurationError(
                f"{source} holds a {type(kind).__name__}, which is not a mailctl.Kind.", fix=_FIX
            )
        yield source, kind


def _problem(kind: Kind) -> str:
    """Return why a kind cannot be used; "" if it can."""
    if not isinstance(kind.name, str) or not _NAME.fullmatch(kind.name):
        return "its name must consist of a-z, digits and -, and start with a letter"
    if kind.name in BUILT_IN_KINDS:
        return "mailctl has a built-in kind of this name; choose another name"
    if kind.task != DELIVER_TASK:
        return "only built-in kinds have a task of their own; leave `task` out"
    if not kind.subject or not kind.template:
        return "it has no subject or no template"
    if kind.lifetime.total_seconds() <= 0:
        return "its lifetime must be positive"
    if kind.queue and not _QUEUE.fullmatch(kind.queue):
        return f"{kind.queue!r} is not a valid queue name"
    if kind.can_unsubscribe and kind.links:
        return "it has links, so it concerns security: nobody can unsubscribe from it"
    return _problem_with_variables(kind) or _problem_with_links(kind)


def _problem_with_variables(kind: Kind) -> str:
    if isinstance(kind.variables, str) or isinstance(kind.optional, str):
        return 'its variables are a string instead of a tuple; write ("name",)'
    variables = (*kind.variables, *(kind.optional or ()))
    try:
        validation.validate_template_name(kind.template)
        for name in variables:
            validation.validate_variable_name(name)
        printed = kind.subject_variables
    except (InvalidInput, ValueError) as error:
        return str(error).rstrip(".")
    if taken := sorted(_RESERVED_VARIABLES.intersection(variables)):
        return f"{taken[0]} is a variable that every email has; choose another name"
    if unknown := sorted(printed - {"project_name", *kind.variables}):
        return f"its subject prints {unknown[0]}, which is not one of its variables"
    if unknown := sorted(set(kind.samples).difference(variables, ALWAYS_ALLOWED_VARIABLES)):
        return f"it has a sample for {unknown[0]}, which is not one of its variables"
    return ""


def _problem_with_links(kind: Kind) -> str:
    for link in kind.links:
        if not _PATH.fullmatch(link.path) or link.path.startswith("//"):
            return f"the path of the link {link.variable} must start with exactly one /"
        if link.lifetime.total_seconds() <= 0:
            return f"the lifetime of the link {link.variable} must be positive"
        if link.variable in kind.variables or not link.variable.isidentifier():
            return f"the link variable {link.variable!r} is not a name, or is the name of another variable"
    return ""
