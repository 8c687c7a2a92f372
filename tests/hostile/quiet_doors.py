"""Doors through which a value enters and nothing is sent: what they take has to be as harmless."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mailctl.cli.main import main
from mailctl.domain.address_validation import validate_address
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.errors import ConfigurationError, ExitCode
from mailctl.settings import Settings
from tests.hostile.site import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.site import Site

    Door = Callable[[Site, Any], bool]


def _cli(*arguments: str) -> bool:
    code = main(arguments)
    assert code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE), code
    return code is not ExitCode.DONE


def _is_suppressed(site: Site, value: str) -> None:
    """What was taken stands in the list as the address that it is, and as no other."""
    page = site.runtime.suppressions.page(limit=1000)
    assert validate_address(value).lower() in [entry.address for entry in page.entries]


def _suppress_add(site: Site, value: Any) -> bool:
    if _cli("suppress", "add", "--", value):
        return True
    _is_suppressed(site, value)
    return False


def _suppress_import(*, as_json: bool) -> Door:
    def door(site: Site, value: Any) -> bool:
        path = site.folder / "suppressed"
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
            if as_json:
                stream.write(json.dumps({"email": value}))
            else:
                csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["email"], [value]])
        if _cli("suppress", "import", str(path)):
            return True
        _is_suppressed(site, value)
        return False

    return door


def _preview(kind: str, option: str) -> Door:
    def door(site: Site, value: Any) -> bool:
        # Some templates need a link.
        more = (f"--set=action_url={ORIGIN}",) if option == "--template=" else ()
        return _cli("preview", kind, f"{option}{value}", *more, "--raw")

    return door


def _audience(setting: str) -> Door:
    def door(site: Site, value: Any) -> bool:
        try:
            recipient_policy_from_settings(Settings.model_validate({setting: value}))
        except (ConfigurationError, ValidationError):
            return True
        return False

    return door


#: By field and name; a door returns whether it said no.
QUIET: dict[str, dict[str, Door]] = {
    "email": {
        "suppress add": _suppress_add,
        "suppress import CSV": _suppress_import(as_json=False),
        "suppress import JSON lines": _suppress_import(as_json=True),
        "preview --email": _preview("welcome", "--email="),
        "MAILCTL_REDIRECT_TO": _audience("mailctl_redirect_to"),
        "MAILCTL_RECIPIENTS_ALLOW": _audience("mailctl_recipients_allow"),
    },
    "action_url": {
        "preview --set": _preview("email", "--set=action_url="),
        "preview --template reset": lambda site, value: _cli(
            "preview", "email", "--template=reset", f"--set=reset_url={value}", "--raw"
        ),
    },
    "locale": {"preview --set": _preview("email", "--set=locale=")},
    "template_name": {"preview --template": _preview("email", "--template=")},
}


def is_meant(door: str, value: str) -> bool:
    """Whether a value means something else at a door: it is unset, no row, a list, or a whole domain."""
    if door == "MAILCTL_RECIPIENTS_ALLOW":
        return value == "" or "," in value or value.startswith("@")
    return value == "" and door in ("MAILCTL_REDIRECT_TO", "suppress import CSV")
