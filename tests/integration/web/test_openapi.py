"""The responses of the API, against its OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import schemathesis
from hypothesis import HealthCheck
from hypothesis import given as drawn
from hypothesis import settings as bounds

from mailctl import web
from mailctl.web.auth import AccessControl
from mailctl.web.login_throttle import LoginThrottle
from tests.integration.web.site import Site
from tests.web_server import serving

if TYPE_CHECKING:
    from mailctl.settings import Settings


def test_every_response_matches_the_openapi_document(settings: Settings) -> None:
    """Schemathesis: no status 500, and the status, type and content of every response are documented."""
    patient = AccessControl(throttle=LoginThrottle(most=10**9))
    with serving(web.create_app(settings, access=patient)) as address:
        _examine(Site(address))


def _examine(site: Site) -> None:
    with site.client(site.key.plaintext) as client:
        document: dict[str, Any] = client.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=site.address)
    headers = {"Authorization": f"Bearer {site.key.plaintext}"}
    answered: list[int] = []
    # The schema cannot express which texts are valid times.
    [accepts_valid] = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
    for operation in schema.get_all_operations():

        @drawn(case=operation.ok().as_strategy())
        @bounds(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def check(case: Any) -> None:
            answered.append(
                case.call_and_validate(headers=headers, excluded_checks=[accepts_valid]).status_code
            )

        check()
    assert {200, 404, 422} <= set(answered)
    assert max(answered) < 500
