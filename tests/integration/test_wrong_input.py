"""What operators get wrong: one sentence that says what to do, and the documented exit code."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.errors import ExitCode
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

WRONG = {
    ExitCode.USAGE: (
        "send welcome --email nobody",
        "send invoice --user-id 1",
        "send email --email a@example.com",
        "send welcome --user-id 1 --in tomorrow",
        "status ''",
        "retry",
        "retry --state nothing",
        "retry --state failed --include nothing",
        "retry --force --state failed",
        "retry abc --state failed",
        "cancel --since lately",
        "cancel --state failed --yes",
        "resend --limit 5",
        "hold --kind nothing --yes",
        "queue pause",
        "queue pause celery --kind reset",
        "queue purge",
        "queue purge celery --all",
        "queue purge --older-than 5x --yes",
        "suppress add nobody",
        "suppress import nowhere.csv",
        "suppress list --source nothing",
        "stats --by nothing",
        "stats --since 1h --until 2h",
        "monitor --max-failed 500%",
        "monitor --max-age soon",
        "health --canary --to nobody",
        "health --queue x",
        "preview nothing",
        "preview welcome --html /nowhere/x.html",
        "list --after nonsense",
        "list --sort nothing",
        "top --interval 0",
        "keys create ''",
        "db rekey extra",
        "prune --older-than 1d --contents-older-than 5d",
        "users add nobody",
        "web --port 99999",
    ),
    ExitCode.NOT_FOUND: (
        "send welcome --user-id 999",
        "show nothing",
        "queue resume celery",
        "workers stop nobody --yes",
        "workers ping nobody",
        "preview reset --user-id 999",
        "keys revoke nothing",
    ),
    ExitCode.REFUSED: ("web --host nowhere.invalid",),
}


@pytest.mark.parametrize(("code", "lines"), WRONG.items(), ids=[code.name for code in WRONG])
def test_wrong_input_gets_one_sentence(
    code: ExitCode,
    lines: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It names what is wrong, and never shows a traceback."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["db", "upgrade"]) == 0
    capsys.readouterr()
    found = {}
    for line in lines:
        found[line] = main(shlex.split(line))
        runtime.close()
        printed = capsys.readouterr()
        assert printed.err.startswith("error: "), line
        assert (printed.err.count("\n"), printed.out) == (1, ""), line
    assert found == dict.fromkeys(lines, code)
