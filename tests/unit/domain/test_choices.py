"""Values that have to be one of some choices."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.choices import require_choice
from mailctl.errors import InvalidInput


def test_a_choice_is_one_of_those_there_are() -> None:
    """Else the error names them."""
    assert require_choice("a", ["a", "b"], noun="letter") == "a"
    with pytest.raises(InvalidInput) as caught:
        require_choice("c", ["a", "b"], noun="letter")
    assert (caught.value.message, caught.value.fix) == ("'c' is not a letter.", "Use one of: a, b.")


def test_the_choices_may_be_those_of_an_enumeration() -> None:
    """Each counts by its value."""
    assert require_choice("operator", SuppressionSource, noun="source") == "operator"
    with pytest.raises(InvalidInput, match="'oparator' is not a source"):
        require_choice("oparator", SuppressionSource, noun="source")
