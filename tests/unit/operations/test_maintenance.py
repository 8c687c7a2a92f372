"""The periods for which emails and contents are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailctl.errors import ConfigurationError
from mailctl.operations.maintenance import Pruner

RUNTIME: Any = None


def test_contents_are_not_kept_longer_than_their_emails() -> None:
    """The contents of deleted emails could not be found any more."""
    with pytest.raises(ConfigurationError, match="cannot be kept longer"):
        Pruner(RUNTIME, older_than=timedelta(days=30), contents_older_than=timedelta(days=31))
