"""Rows of files that cannot be used."""

from __future__ import annotations

from pydantic import Field

from mailctl.views.base import View


class RowProblemView(View):
    """A row of a file that cannot be used."""

    line: int = Field(description="From 1.", json_schema_extra={"minimum": 1})
    reason: str
