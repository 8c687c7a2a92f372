"""The page with the findings of `mailctl check-config`."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from mailctl import runtime
from mailctl.checks.run_checks import run_checks
from mailctl.web.routing import PageRoute
from mailctl.web.templating import render

router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/check-config", name="mailctl:check_config")
def check_config_page(request: Request) -> Response:
    """Show the findings of all checks; this takes seconds, because every service is contacted."""
    findings = list(run_checks(runtime.current().settings))
    counts = Counter(finding.status for finding in findings)
    return render(request, "check_config.html", findings=findings, counts=counts)
