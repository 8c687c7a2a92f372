"""Which hazards --include and --force ignore."""

from __future__ import annotations

import pytest

from mailctl.cli.action_runner import included_hazards
from mailctl.cli.option_groups import OverrideOptions
from mailctl.domain.eligibility import Hazard
from mailctl.errors import InvalidInput


def test_include_names_hazards() -> None:
    """Separated by commas, with or without spaces."""
    options = OverrideOptions(include="permanent, resent,")
    assert included_hazards(options, has_ids=False) == {Hazard.PERMANENT, Hazard.RESENT}
    assert included_hazards(OverrideOptions(), has_ids=False) == frozenset()


def test_force_ignores_every_hazard_of_emails_given_by_id() -> None:
    """Filters may match more than the operator thinks."""
    assert included_hazards(OverrideOptions(force=True), has_ids=True) == frozenset(Hazard)
    with pytest.raises(InvalidInput, match="--force requires ids"):
        included_hazards(OverrideOptions(force=True), has_ids=False)


def test_an_unknown_hazard_is_refused() -> None:
    """The error names those there are."""
    with pytest.raises(InvalidInput) as caught:
        included_hazards(OverrideOptions(include="old"), has_ids=True)
    assert caught.value.fix == f"Use one of: {', '.join(Hazard)}."
