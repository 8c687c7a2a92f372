"""What unit tests share: how properties are tried, and a delivery log without emails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

#: Examples of a property that are tried; CI tries fewer with the other versions of Python and of libraries.
EXAMPLES = 1000 if os.environ.get("MAILCTL_FAULTS") == "long" else int(os.environ.get("TESTS_EXAMPLES", "60"))
# With no time limit, as other work may share the machine; nothing is kept.
settings.register_profile("mailctl", deadline=None, database=None, max_examples=EXAMPLES)
settings.load_profile("mailctl")


@pytest.fixture
def empty_log(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a log without emails, in memory."""
    engine = open_delivery_log(Settings(mailctl_home=tmp_path / "none"), AccessMode.OPTIONAL)
    yield engine
    engine.dispose()
