"""How `mailctl health` shows a service."""

from __future__ import annotations

import pytest

from mailctl.cli.commands.health import _show
from mailctl.cli.terminal.output import Output
from mailctl.monitoring.hops import Hop


@pytest.mark.parametrize(
    ("ok", "fix", "state"), [(True, "", "ok  "), (True, "Restart it.", "warn"), (False, "Start it.", "fail")]
)
def test_what_needs_attention_is_not_ok(
    capsys: pytest.CaptureFixture[str], *, ok: bool, fix: str, state: str
) -> None:
    """A worker that has died beside another one is a warning, with what to do."""
    _show(Output(), Hop(name="silent", ok=ok, detail="nothing heard", fix=fix))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{state}  silent: nothing heard\n")
    assert printed.endswith(f"-> {fix}\n") is bool(fix)
