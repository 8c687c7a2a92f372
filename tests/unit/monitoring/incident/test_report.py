"""The whole incident of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import LogMissing
from mailctl.monitoring.incident.report import find_incident, find_logged_incident
from mailctl.runtime import open_without_log
from mailctl.settings import Settings

if TYPE_CHECKING:
    import pytest

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
