"""Sample content for previews."""

from __future__ import annotations

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS, Kind
from mailctl.domain.factory import make_content
from mailctl.domain.samples import sample_content

ORIGINS = frozenset({"https://app.example.com"})


@pytest.mark.parametrize("kind", BUILT_IN_KINDS.values(), ids=list(BUILT_IN_KINDS))
def test_sample_content_passes_validation(kind: Kind) -> None:
    """Every kind can be previewed."""
    sample = sample_content(kind, page="https://app.example.com")
    checked = make_content(
        kind,
        sample.user,
        origins=ORIGINS,
        context=sample.context,
        subject=sample.subject,
        template=sample.template,
    )
    assert checked.context == sample.context
