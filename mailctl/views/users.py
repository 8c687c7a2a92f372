"""Users."""

from __future__ import annotations

from mailctl.views.base import Count, View
from mailctl.views.row_problems import RowProblemView


class UserView(View):
    """A user."""

    id: str | None
    email: str
    username: str
    first_name: str


class UserImportView(View):
    """The result of importing a file of users."""

    added: Count
    updated: Count
    problems: list[RowProblemView]
