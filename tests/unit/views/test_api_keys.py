"""The keys of the dashboard as JSON."""

from __future__ import annotations

from dataclasses import replace

from mailctl.delivery_log.api_keys import ApiKey, NewApiKey
from mailctl.views.api_keys import ApiKeyView, NewApiKeyView
from tests.emails import NOW

KEY = ApiKey(id="1", name="on-call", created_at=NOW, last_used_at=None, revoked_at=None)


def test_a_revoked_key_says_so() -> None:
    """The time of its end is there, too."""
    keys = [ApiKeyView.of(KEY), ApiKeyView.of(replace(KEY, revoked_at=NOW))]
    assert [(key.state, key.revoked_at) for key in keys] == [("valid", None), ("revoked", NOW)]


def test_only_a_new_key_has_its_secret() -> None:
    """It is shown once."""
    assert NewApiKeyView.of(NewApiKey(id="1", name="on-call", plaintext="mk_1_x")).key == "mk_1_x"
    assert "key" not in ApiKeyView.model_fields
