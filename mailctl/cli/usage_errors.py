"""The sentences for wrong usage: what is wrong with the command line, and what was probably meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mailctl.errors import closest_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import typer

#: The commands that other words for them stand for, where they exist.
_MEANT: Mapping[str, tuple[str, ...]] = {
    "stop": ("pause", "cancel", "campaign pause", "queue pause"),
    "slow": ("set-rate", "campaign set-rate"),
    "throttle": ("set-rate", "campaign set-rate"),
    "rate": ("set-rate", "campaign set-rate"),
    "start": ("resume", "worker"),
    "compare": ("diff", "workers diff"),
    "pause": ("campaign pause", "queue pause"),
    "resume": ("campaign resume", "queue resume"),
    "rotate": ("rekey", "db rekey"),
    "rekey": ("db rekey",),
    "failures": ("errors",),
    "delete": ("cancel", "prune"),
    "remove": ("cancel", "prune"),
    "doctor": ("check-config", "health"),
    "settings": ("config",),
    "setup": ("init",),
    "logs": ("events",),
    "log": ("events",),
    "ps": ("workers",),
    "migrate": ("db upgrade", "upgrade"),
    "tail": ("events",),
    "search": ("list",),
    "find": ("list",),
    "export": ("list",),
    **dict.fromkeys(("password", "password-reset", "reset-password", "forgot-password"), ("reset",)),
    **dict.fromkeys(("verify", "confirm"), ("verification",)),
}
#: The options that other words for them stand for, where they exist.
_MEANT_OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("--to", "--recipient", "--address"), ("--email", "--to")),
    **dict.fromkeys(("--var", "--variable", "--context"), ("--set",)),
    "--csv": ("--users-file",),
    "--body": ("--set",),
    "--format": ("--output",),
}

#: What `show` of all commands, or of a group, takes: the id of an email, or any name.
_SHOWN: Mapping[str, re.Pattern[str]] = {
    "mailctl": re.compile(r"(?=.*[0-9])[0-9a-f-]{4,}"),
    "campaign": re.compile(r".+"),
}


def usage_sentence(error: typer.TyperException) -> str:
    """Return one sentence or two about wrong usage, with the command whose help to read."""
    context = getattr(error, "ctx", None)
    help_hint = f" See `{context.command_path} --help`." if context is not None else ""
    return _what_is_wrong(error) + help_hint


def _what_is_wrong(error: Any) -> str:
    parameter = getattr(error, "param", None)
    # A short option that does not exist has no `possibilities`.
    if (option := getattr(error, "possibilities", None)) is not None or hasattr(error, "possibilities"):
        meant = _meant_option(error, option or ())
        closest = f" Did you mean {meant}?" if meant else ""
        return f"There is no option {error.option_name}.{closest}"
    if hasattr(error, "param_type") and parameter is not None:
        return f"The {parameter.param_type_name} {name_of_parameter(parameter)} is missing."
    if parameter is not None and (limits := _limits(parameter)):
        return f"{name_of_parameter(parameter)} must be {limits}."
    return _as_sentence(error)


def meant_commands(name: str, known: Sequence[str]) -> list[str]:
    """Return the commands that were probably meant by one that does not exist.

    Args:
        name: what was typed.
        known: the commands that there are.
    """
    same = [each for each in _MEANT.get(name.lower(), ()) if each.split()[0] in known]
    closest = closest_name(name, known)
    return same or ([closest] if closest else [])


def unknown_command(path: str, name: str, known: Sequence[str]) -> str:
    """Return the sentences about a command that does not exist.

    Args:
        path: the command line before it, such as "mailctl campaign".
        name: what was typed.
        known: the commands that there are.
    """
    meant = meant_commands(name, known)
    shown = _SHOWN.get(path.split()[-1])
    if not meant and "show" in known and shown is not None and shown.fullmatch(name):
        meant = [f"{path} show {name}"]
    hint = f" Did you mean {' or '.join(repr(each) for each in meant)}?" if meant else ""
    return f"There is no command {name!r}.{hint}"


def meant_kind(path: str, name: str, known: Sequence[str]) -> str:
    """Return what was probably meant by a kind of emails that does not exist; "" if that is not known.

    Args:
        path: the command line before it, such as "mailctl send".
        name: what was typed.
        known: the names that there are.
    """
    if "@" in name:
        return f"Name the kind before the address: {path} {known[0]} --email {name}"
    meant = [each for each in _MEANT.get(name.lower(), ()) if each in known]
    return f"Did you mean {meant[0]!r}?" if meant else ""


def unexpected_argument(word: str, options: Sequence[str]) -> str:
    """Return the sentences about an argument that a command does not take.

    Args:
        word: the argument.
        options: the options of the command.
    """
    hint = f" Did you mean --email {word}?" if "@" in word and "--email" in options else ""
    return f"Unexpected argument {word!r}.{hint}"


def _meant_option(error: Any, closest: Sequence[str]) -> str:
    """Return the option that was probably meant by one that does not exist; "" if none is known."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    known = [name for each in getattr(command, "params", ()) for name in each.opts]
    same = [name for name in _MEANT_OPTIONS.get(error.option_name, ()) if name in known]
    # The dashes, which all have, make short ones look alike.
    like = closest_name(error.option_name.strip("-"), [name.strip("-") for name in closest])
    return next(iter([*same, *(name for name in closest if name.strip("-") == like)]), "")


def _as_sentence(error: Any) -> str:
    """Return the message of the command-line library, ended like a sentence."""
    format_message = getattr(error, "format_message", None)
    text = str(format_message() if format_message else error).replace("Value error, ", "")
    return text if text.endswith(("?", ".")) else f"{text}."


def name_of_parameter(parameter: Any) -> str:
    """Return the name of a parameter as its help has it: --port, or ID."""
    return str(parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0])


def _limits(parameter: Any) -> str:
    """Return which numbers a parameter takes; "" if it takes no number, or any."""
    # Some versions of the command-line library keep them with the type.
    holders = (parameter, getattr(parameter, "type", None))
    low, high = (
        next((found for each in holders if (found := getattr(each, name, None)) is not None), None)
        for name in ("min", "max")
    )
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"a number of at least {low}" if high is None else f"a number of at most {high}"
    return f"a number from {low} to {high}"
