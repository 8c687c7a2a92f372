"""What a service may ask for beside mailctl, whose bounds are no narrower than they have to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.environments import Package

pytestmark = pytest.mark.packaging


@pytest.mark.parametrize(
    ("others", "name", "start"),
    [
        (("cryptography<47",), "cryptography", "46."),
        (("cryptography>=50",), "cryptography", "50."),
        (("redis>=8",), "redis", "8."),
        (("celery==5.6.*", "redis>=8"), "celery", "5.6."),
        (("redis<6.5",), "redis", "6.4."),
        (("packaging<26",), "packaging", "25."),
        (("fastapi<0.120", "starlette<1"), "starlette", "0."),
        (("sqlalchemy<2.1",), "sqlalchemy", "2.0."),
        (("django-allauth[mfa]", "redis>=8"), "fido2", "2."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mailctl_goes_with_what_a_service_has(
    package: Package, others: tuple[str, ...], name: str, start: str
) -> None:
    """An installer finds versions that suit both, and those that the service asked for."""
    found = package.resolve(*others, extras=("web", "postgres", "flower", "otel"))
    assert found[name].startswith(start), found
