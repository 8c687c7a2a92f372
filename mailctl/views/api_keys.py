"""The keys of the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mailctl.views.base import Timestamp, View

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import ApiKey, NewApiKey


class NewApiKeyView(View):
    """A new key, which cannot be shown again."""

    id: str
    name: str
    key: str = Field(json_schema_extra={"pattern": "^mk_"})

    @classmethod
    def of(cls, key: NewApiKey) -> NewApiKeyView:
        """Return the view of a new key."""
        return cls(id=key.id, name=key.name, key=key.plaintext)


class ApiKeyView(View):
    """A key of the dashboard, without its secret."""

    id: str
    name: str
    state: Literal["valid", "revoked"]
    created_at: Timestamp
    last_used_at: Timestamp | None
    revoked_at: Timestamp | None

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyView:
        """Return the view of a key."""
        return cls(
            id=key.id,
            name=key.name,
            state="valid" if key.is_valid else "revoked",
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )
