"""Invalid rows of files."""

from __future__ import annotations

from pydantic import Field

from mailctl.views.base import View


class RowProblemView(View):
    """An invalid row of a file."""

    line: int = Field(description="From 1.", json_schema_extra={"minimum": 1})
    reason: str
