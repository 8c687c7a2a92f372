"""Sample content for previews."""

from __future__ import annotations

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS, RESET, Kind
from mailctl.domain.factory import make_content
from mailctl.domain.samples import SAMPLE_TOKEN, sample_content, with_dead_links

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


def test_links_of_a_preview_grant_access_to_nothing() -> None:
    """They lead to the real page, with a token that is not valid."""
    content = with_dead_links(sample_content(RESET), RESET, frontend_url="https://app.example.com/")
    assert content.urls == {"reset_url": f"https://app.example.com/reset-password?t={SAMPLE_TOKEN}"}
