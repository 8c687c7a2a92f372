"""Loads objects of a service that settings name as MODULE:ATTRIBUTE."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from mailctl.errors import ConfigurationError
from mailctl.settings.credential_masking import mask_credentials


def load_object(spec: str, *, setting: str) -> object:
    """Return the object that a setting names.

    Args:
        spec: MODULE:ATTRIBUTE; modules in the working directory can be imported.
        setting: the name of the setting for error messages.

    Raises:
        ConfigurationError: there is no such object, or importing it fails.
    """
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise ConfigurationError(
            f"{setting} {spec}: this is not MODULE:ATTRIBUTE.", fix="Give a value such as shop.celery:app."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `celery -A` and `uvicorn` do
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{setting} {spec} cannot be imported: {summarize_error(error)}.",
            fix="Name a module that can be imported from this folder, and an object in it.",
        ) from error


def summarize_error(error: BaseException) -> str:
    """Return an exception of a service's code in one line, without credentials."""
    return mask_credentials(f"{type(error).__name__}: {error}".rstrip(".").splitlines()[0])
