"""The whole incident of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mailctl.cli.commands.monitor import ThresholdOptions
from mailctl.errors import LogMissing
from mailctl.monitoring.health import check_health
from mailctl.monitoring.incident.report import find_incident, find_logged_incident
from mailctl.monitoring.thresholds import check_thresholds
from mailctl.runtime import open_without_log
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.runtime import Runtime
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


def find_all(runtime: Runtime) -> object:
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
