"""The version of the schema: which one this mailctl accepts."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.storage.schema_version import HEAD, SchemaVersion, require_current_version
from mailctl.errors import ConfigurationError


def test_the_current_version_is_accepted() -> None:
    """There is one."""
    require_current_version(SchemaVersion(current=HEAD))


@pytest.mark.parametrize(("version", "fix"), [("0001", "mailctl db upgrade"), ("9999", "newer one")])
def test_another_version_is_refused_with_what_to_do(version: str, fix: str) -> None:
    """An older schema is upgraded, a newer one needs a newer mailctl."""
    with pytest.raises(ConfigurationError, match=f"has schema {version}") as caught:
        require_current_version(SchemaVersion(current=version))
    assert fix in caught.value.fix
