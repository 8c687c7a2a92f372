"""The versions that `mailctl version` prints."""

from __future__ import annotations

import platform
from importlib.metadata import version

from mailctl.views.base import View


class VersionView(View):
    """The versions of mailctl, Python and Celery."""

    mailctl: str
    python: str
    celery: str

    @classmethod
    def of_this_process(cls) -> VersionView:
        """Return the versions that are installed here."""
        return cls(mailctl=version("mailctl"), python=platform.python_version(), celery=version("celery"))
