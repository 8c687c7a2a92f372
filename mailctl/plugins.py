"""What a service plugs in: an object named MODULE:ATTRIBUTE, imported from where the command runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from mailctl.errors import ConfigurationError
from mailctl.redaction import mask_credentials


def load_object(spec: str, *, setting: str) -> object:
    """Return the object that a setting names.

    Args:
        spec: MODULE:ATTRIBUTE.
        setting: what the operator knows it by, for error messages.

    Raises:
        ConfigurationError: there is no such object, or importing it fails.
    """
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise ConfigurationError(
            f"{setting} {spec}: not MODULE:ATTRIBUTE.", fix="Give one like shop.celery:app."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `celery -A` and `uvicorn` do
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ConfigurationError(
            f"{setting} {spec}: cannot be imported: {summarize_error(error)}.",
            fix="Name a module that can be imported from here, and what is in it.",
        ) from error


def summarize_error(error: Exception) -> str:
    """Return the first line of what somebody else's code raised."""
    return mask_credentials(f"{type(error).__name__}: {error}".rstrip(".").splitlines()[0])
