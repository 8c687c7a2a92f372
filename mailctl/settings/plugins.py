"""Loads objects of a service that settings name as MODULE:ATTRIBUTE."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from mailctl.errors import ConfigurationError
from mailctl.settings.credential_masking import mask_credentials

_IMPORT_FIX = "Name a module that can be imported from this folder, and an object in it."


def load_object(spec: str, *, setting: str) -> object:
    """Return the object that a setting names.

    Args:
        spec: MODULE:ATTRIBUTE; modules in the working directory can be imported.
        setting: the name of the setting for error messages.

    Raises:
        ConfigurationError: there is no such object, or importing it fails.
    """
    module, attribute = _parts(spec, setting=setting)
    _make_folder_importable()
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{setting} {spec} cannot be imported: {summarize_error(error)}.",
            fix=_IMPORT_FIX,
        ) from error


def check_module(spec: str, *, setting: str) -> None:
    """Check that there is a module of the name that a setting has, without importing it.

    Args:
        spec: MODULE:ATTRIBUTE, as for `load_object`.
        setting: the name of the setting for error messages.

    Raises:
        ConfigurationError: the value is not MODULE:ATTRIBUTE, or there is no such module or package.
    """
    module, _ = _parts(spec, setting=setting)
    _make_folder_importable()
    top = module.partition(".")[0]  # the search for a module in a package would import the package
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise ConfigurationError(
            f"{setting} {spec} cannot be imported: there is no module {top!r}.", fix=_IMPORT_FIX
        )


def _parts(spec: str, *, setting: str) -> tuple[str, str]:
    module, _, attribute = spec.partition(":")
    if not module.partition(".")[0] or not attribute:
        raise ConfigurationError(
            f"{setting} {spec}: this is not MODULE:ATTRIBUTE.", fix="Give a value such as shop.celery:app."
        )
    return module, attribute


def _make_folder_importable() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `celery -A` and `uvicorn` do


def summarize_error(error: BaseException) -> str:
    """Return an exception of a service's code in one line, without credentials."""
    return mask_credentials(f"{type(error).__name__}: {error}".rstrip(".").splitlines()[0])
