"""Previews of emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import GENERIC, RESET
from mailctl.errors import InvalidInput
from mailctl.operations.preview import PreviewRequest, make_preview
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The components of a process with an empty log."""
    made = Runtime(Settings(mailctl_home=tmp_path))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": RESET, "user_id": "1", "email": "ada@example.com"}, "recipient"),
        ({"kind": RESET, "template": "invoice"}, "--template"),
    ],
)
def test_contradicting_options_are_refused(runtime: Runtime, options: dict[str, Any], field: str) -> None:
    """The error names the option."""
    with pytest.raises(InvalidInput) as caught:
        make_preview(runtime, PreviewRequest(**options))
    assert caught.value.field == field


def test_given_values_replace_samples(runtime: Runtime) -> None:
    """Such as the recipient and the variables of the template."""
    request = PreviewRequest(kind=GENERIC, email="zoe@example.com", variables={"body": "Tea at five"})
    preview = make_preview(runtime, request)
    assert preview.envelope.recipient == "zoe@example.com"
    assert "Tea at five" in preview.html
