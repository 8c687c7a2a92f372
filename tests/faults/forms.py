"""The short form of the suite, and the long one: MAILCTL_FAULTS=long."""

from __future__ import annotations

import os

import pytest

#: Whether it is the long form.
IS_LONG = os.environ.get("MAILCTL_FAULTS") == "long"
#: Where the log of a site may be.
LOGS = ("sqlite", "postgresql")


def with_log_in(database: str) -> pytest.MarkDecorator:
    """Try a scenario with a log in this database, and in the long form with each.

    For damage to a broker, a mail server or a worker: what the log does then is tested with each database in
    `tests/integration/delivery_log`, and workers are killed with each in `test_whole_workers_are_killed`.
    """
    return pytest.mark.parametrize("site", LOGS if IS_LONG else [database], indirect=True)
