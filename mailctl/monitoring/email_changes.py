"""Which emails of a list have changed since it was last read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailctl.domain.models import Email


class EmailChanges:
    """Compares each reading of a list of emails with the one before.

    Args:
        find: returns the current version of an email by its id; None if it has been deleted.
    """

    def __init__(self, find: Callable[[str], Email | None]) -> None:
        self._find = find
        self._previous: dict[str, Email] = {}

    def update(self, emails: Iterable[Email]) -> list[Email]:
        """Return the emails that are new or have changed; the first reading returns all of them.

        Emails that have dropped out of the list come first, if they have changed.

        Args:
            emails: the list as it is now.
        """
        current = {email.id: email for email in emails}
        # An email drops out of the list because it has changed, or because newer ones have taken its place.
        dropped = [self._find(email_id) for email_id in self._previous.keys() - current.keys()]
        candidates = [*(email for email in dropped if email), *current.values()]
        changed = [email for email in candidates if has_changed(email, self._previous.get(email.id))]
        self._previous = current
        return changed


def has_changed(email: Email, previous: Email | None) -> bool:
    """Whether an email differs from its previous version in its state, attempts or error."""
    return previous is None or (email.state, email.attempts, email.error) != (
        previous.state,
        previous.attempts,
        previous.error,
    )
