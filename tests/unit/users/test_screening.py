"""Which users may be mailed: what the columns of a users table say, in the types that databases give."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from mailctl.users.screening import Screening, eligibility_columns, find_exclusion, screening_for

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=1)
FALSE = (False, 0, "0", "false", b"\x00", Decimal(0))
NO_FLAGS = [(-1, "int"), (2, "int"), (0.5, "float"), (b"0", "bytes"), (b"false", "bytes"), (b"", "bytes")]
NO_STATUS = [(3, "int"), (-1, "int"), (b"active", "bytes"), (["active"], "list")]
UNKNOWN_STATUSES = (
    *("locked", "archived", "removed", "terminated", "soft_deleted", "pending_deletion"),
    *("disabled by admin", "unsubscribed", "not ok"),
)
#: A column with a value, and why its user is left out; "" for one who may be mailed.
VALUES = [
    *[
        ("is_active", value, "")
        for value in (True, 1, "1", "t", "true", "TRUE", "yes", "Y", b"\x01", Decimal(1))
    ],
    *[
        ("is_active", value, "is_active is false")
        for value in (False, 0, "0", "f", "false", "no", "", b"\x00")
    ],
    ("is_active", None, "is_active is not set"),
    ("is_active", "perhaps", "is_active has a value of type str that is not understood"),
    ("active", False, "active is false"),
    ("isActive", 0, "isActive is false"),
    ("enabled", "f", "enabled is false"),
    ("enabled", None, "enabled is not set"),
    *[(name, None, "") for name in ("deleted", "is_deleted", "deleted_at", "banned", "suspended_at")],
    *[("is_deleted", value, "") for value in (False, 0, "0", "f", "N", "")],
    *[("is_deleted", value, "is_deleted is true") for value in (True, 1, "t", "yes", b"\x01")],
    *[(name, 1, f"{name} is true") for name in ("disabled", "is_disabled", "banned", "blocked", "suspended")],
    ("deleted", PAST, "deleted is set"),
    ("deleted", "perhaps", "deleted has a value of type str that is not understood"),
    ("deleted_at", PAST, "deleted_at is set"),
    ("deleted_at", NOW, "deleted_at is set"),
    ("deleted_at", FUTURE, ""),
    ("deletedAt", PAST, "deletedAt is set"),
    ("deleted_at", PAST.replace(tzinfo=None), "deleted_at is set"),
    ("deleted_at", NOW.astimezone(timezone(timedelta(hours=14))) + timedelta(hours=1), ""),
    ("deleted_at", "2030-01-30 12:00:00.000000", "deleted_at is set"),
    ("deleted_at", "2030-02-01T12:00:00Z", ""),
    ("deleted_at", date(2030, 1, 31), "deleted_at is set"),
    ("deleted_at", date(2030, 2, 1), ""),
    ("deleted_at", PAST.timestamp(), "deleted_at is set"),
    ("deleted_at", int(FUTURE.timestamp() * 1000), ""),
    ("deleted_at", 0, ""),
    ("deleted_at", True, "deleted_at is true"),
    ("deleted_at", "0000-00-00", "deleted_at has a value of type str that is not understood"),
    ("suspended_at", 10**400, "suspended_at has a value of type int that is not understood"),
    ("deactivated_at", [1], "deactivated_at has a value of type list that is not understood"),
    ("deleted_at", "infinity", ""),
    ("deleted_at", "-infinity", "deleted_at is set"),
    ("deleted_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), ""),
    ("deleted_at", Decimal("NaN"), "deleted_at has a value of type Decimal that is not understood"),
    *[
        ("is_active", value, f"is_active has a value of type {kind} that is not understood")
        for value, kind in NO_FLAGS
    ],
    *[
        ("deleted", value, "deleted has a value of type bytes that is not understood")
        for value in (b"0", b"false")
    ],
    *[("deleted", value, "deleted is true") for value in (-1, 10**14)],
    *[
        ("status", value, "")
        for value in (
            *("active", "Verified", " ok ", "trial", "new", "member", "live", "registered", "approved"),
            *(True, 1, "1", "true", b"\x01"),
        )
    ],
    *[(name, value, f"{name} is false") for name in ("status", "account_status") for value in FALSE],
    *[
        ("status", value, f"status has a value of type {kind} that is not understood")
        for value, kind in NO_STATUS
    ],
    *[("status", value, "status is not set") for value in ("", None)],
    *[("status", word, f"status is {word}") for word in ("inactive", "pending", "unverified", "closed")],
    ("status", "Banned", "status is banned"),
    ("account_status", " deleted ", "account_status is deleted"),
    *[("status", word, f"status '{word}' is not known as active") for word in UNKNOWN_STATUSES],
    *[
        ("userStatus", text, "userStatus of such text is not known as active")
        for text in ("x" * 33, "a\x1bb")
    ],
    ("is_admin", False, ""),
    ("activated_at", None, ""),
    ("deleted_by", "root", ""),
]


@pytest.mark.parametrize(("column", "value", "reason"), VALUES)
def test_a_value_speaks_for_or_against_mailing(column: str, value: object, reason: str) -> None:
    """Whatever type the driver gives it in; what is not understood speaks against it."""
    found = find_exclusion({"id": 1, column: value}, Screening.FULL, now=NOW)
    assert (found.reason if found else "") == reason


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("is_active", None),
        ("isactive", False),
        ("active", 0),
        *[("status", word) for word in (None, "inactive", "Pending", "unverified", "pending verification")],
    ],
)
def test_who_is_only_not_active_yet_may_be_asked_to_confirm_the_address(column: str, value: object) -> None:
    """That is how users become active."""
    user = {column: value}
    assert find_exclusion(user, Screening.FULL, now=NOW)
    assert find_exclusion(user, Screening.INACTIVE_ALLOWED, now=NOW) is None


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "pending_deletion"), ("status", "locked"), ("status", 0), ("is_active", -1)],
)
def test_what_is_not_understood_counts_for_every_kind(column: str, value: object) -> None:
    """It may mean more than that a user is not active yet."""
    assert find_exclusion({column: value}, Screening.INACTIVE_ALLOWED, now=NOW)


def test_a_ban_or_a_deletion_counts_for_every_kind() -> None:
    """And is the reason that is given where the user is not active either."""
    user = {"is_active": False, "banned": True}
    for screening in (Screening.FULL, Screening.INACTIVE_ALLOWED):
        found = find_exclusion(user, screening, now=NOW)
        assert found is not None
        assert found.reason == "banned is true"
    assert find_exclusion(user, Screening.NONE, now=NOW) is None


def test_only_verification_goes_to_inactive_users() -> None:
    """Unless an operator says otherwise."""
    assert screening_for("reset", include_inactive=False) is Screening.FULL
    assert screening_for("verification", include_inactive=False) is Screening.INACTIVE_ALLOWED
    assert screening_for("reset", include_inactive=True) is Screening.NONE


def test_the_columns_are_known_by_name() -> None:
    """In any spelling, as PostgreSQL folds names to lower case; others of the service's are passed over."""
    known = ("is_active", "isActive", "isactive", "ISACTIVE", "deletedAt", "deletedat", "status", "bannedAt")
    others = ("id", "is_admin", "created_at", "active_until", "interactive", "status_note")
    assert eligibility_columns((*known, *others)) == known
