"""The whole incident of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from mailctl.cli.commands.monitor import ThresholdOptions
from mailctl.errors import ConfigurationError, LogMissing, LogUnavailable
from mailctl.monitoring.health import check_health
from mailctl.monitoring.incident.report import find_incident, find_logged_incident
from mailctl.monitoring.thresholds import check_thresholds
from mailctl.runtime import Runtime, open_without_log
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.monitoring.incident.models import Incident
    from tests.unit.monitoring.incident.conftest import Scene


def test_nothing_is_wrong(scene: Scene) -> None:
    """Both with all services and by the log alone."""
    scene.worker()
    settings = scene.runtime.settings
    found = find_incident(lambda: scene.runtime, open_without_log=lambda: open_without_log(settings))
    assert found.problems == ()
    assert found.headline == "Nothing is wrong: 1 worker alive, 0 emails waiting for a worker"
    assert find_logged_incident(scene.runtime).headline == found.headline


def test_a_missing_log_comes_first() -> None:
    """How many emails wait is not known then."""

    def fail() -> Runtime:
        raise LogMissing("There is no delivery log.", fix="Run: mailctl worker")

    found = find_incident(fail, open_without_log=lambda: open_without_log(Settings()))
    [first] = found.problems
    assert (first.name, first.held_up, first.fix) == ("log_missing", None, "Run: mailctl worker")


def test_a_template_that_cannot_be_composed_is_found_before_an_email_needs_it(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file is named."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "welcome.html").write_text("{% if %}")
    object.__setattr__(scene.runtime.settings, "mailctl_templates", folder)
    scene.worker()
    settings = scene.runtime.settings
    found = find_incident(lambda: scene.runtime, open_without_log=lambda: open_without_log(settings))
    assert [each.name for each in found.problems] == ["template"]
    assert "welcome.html" in found.problems[0].sentence


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("frontend_url", "ftp://shop.example", "FRONTEND_URL"),
        ("email_from_address", "nobody", "EMAIL_FROM_ADDRESS"),
    ],
)
def test_a_setting_for_which_every_email_is_refused_is_a_problem(
    scene: Scene, name: str, value: str, setting: str
) -> None:
    """The next step is to check all settings; the rest is reported as well."""
    object.__setattr__(scene.runtime.settings, name, value)
    found = find_incident(lambda: scene.runtime, open_without_log=lambda: scene.runtime)
    assert [each.name for each in found.problems] == ["invalid_setting", "no_worker"]
    assert setting in found.problems[0].sentence
    assert found.problems[0].fix.endswith("mailctl check-config --offline")


def test_an_invalid_setting_is_no_problem_of_the_log(tmp_path: Path) -> None:
    """Nothing can be asked with it: the error is that of every other command."""
    settings = Settings(mailctl_home=tmp_path, mailctl_rate="fast")
    with pytest.raises(ConfigurationError, match="MAILCTL_RATE"):
        find_incident(lambda: Runtime(settings), open_without_log=lambda: open_without_log(settings))


def test_a_log_that_cannot_be_read_after_its_workers_is_the_problem(scene: Scene) -> None:
    """Of a damaged file, some tables may be readable."""
    scene.worker()

    def fail(*given: Any) -> None:
        if "FROM mailctl_emails" in given[2]:
            raise LogUnavailable("the delivery log cannot be used.", fix="Restore it.")

    event.listen(scene.runtime.engine, "before_cursor_execute", fail)
    found = find_all(scene.runtime)
    [problem] = found.problems
    assert (problem.name, problem.held_up, problem.fix) == ("log", None, "Restore it.")
    assert problem.sentence == "The delivery log cannot be used"


def find_all(runtime: Runtime) -> Incident:
    """Ask what is wrong now."""
    return find_incident(lambda: runtime, open_without_log=lambda: runtime)


def check_all(runtime: Runtime) -> object:
    """Ask whether emails can be sent."""
    return list(check_health(lambda: runtime, open_without_log=lambda: runtime))


def check_limits(runtime: Runtime) -> object:
    """Ask whether all limits hold."""
    return check_thresholds(runtime, ThresholdOptions().to_thresholds())


@pytest.mark.parametrize("look", [find_all, check_all, check_limits])
def test_one_look_reads_the_workers_once(scene: Scene, look: Callable[[Runtime], object]) -> None:
    """Those that are alive, and those that are silent: all that it says is about the same moment."""
    scene.worker()
    statements: list[str] = []
    event.listen(scene.runtime.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    look(scene.runtime)
    assert sum("FROM mailctl_workers" in each for each in statements) == 2
