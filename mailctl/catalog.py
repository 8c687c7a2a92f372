"""The kinds of email there are: task name, subject, template, links, and how long each is of use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Link:
    """An action link of a kind."""

    #: The template variable, and the argument of the wire task, that holds the whole URL.
    variable: str
    path: str
    #: What the link may be used for; a link of one purpose never passes for another.
    purpose: str
    lifetime: timedelta
    #: The name under which a service gives its own token for it.
    token: str = "token"  # noqa: S105 - a name, not a secret
    #: What a click asks for, where one path serves several.
    action: str | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of email."""

    name: str
    #: The Celery task that carries it, by the name that other programs use.
    task: str
    #: With `{project_name}`; None where each email brings its own.
    subject: str | None
    #: None where each email brings its own.
    template: str | None
    #: Why somebody gets it, for operators.
    summary: str
    #: After this it is of no use any more and is not sent.
    lifetime: timedelta
    links: tuple[Link, ...] = ()
    #: Template variables that every email of this kind must bring.
    variables: tuple[str, ...] = ()

    @property
    def link_lifetime(self) -> timedelta:
        """How long its links work, counted from the moment of sending."""
        return min((link.lifetime for link in self.links), default=self.lifetime)


WELCOME = Kind(
    name="welcome",
    task="send_welcome_email_task",
    subject="Welcome to {project_name}",
    template="welcome",
    summary="greets a new user",
    lifetime=timedelta(days=1),
)
RESET = Kind(
    name="reset",
    task="send_password_reset_email_task",
    subject="Reset your {project_name} password",
    template="reset",
    summary="carries a password-reset link",
    lifetime=timedelta(hours=1),
    links=(
        Link(
            variable="reset_url",
            path="/reset-password",
            purpose="reset-password",
            lifetime=timedelta(hours=1),
        ),
    ),
)
VERIFICATION = Kind(
    name="verification",
    task="send_verification_email_task",
    subject="Confirm your email address for {project_name}",
    template="verification",
    summary="asks a user to confirm an address",
    lifetime=timedelta(hours=24),
    links=(
        Link(
            variable="verification_url",
            path="/verify-email",
            purpose="verify-email",
            lifetime=timedelta(hours=24),
        ),
    ),
)
NEW_IP = Kind(
    name="new-ip",
    task="send_new_ip_notification_task",
    subject="New sign-in to your {project_name} account",
    template="new-ip",
    summary="tells of a sign-in from an unknown address",
    # A stale alarm misleads.
    lifetime=timedelta(hours=6),
    links=(
        Link(
            variable="whitelist_url",
            path="/api/v1/ip-access/verify",
            purpose="ip-whitelist",
            lifetime=timedelta(hours=24),
            token="whitelist_token",  # noqa: S106 - a name
            action="whitelist",
        ),
        Link(
            variable="blacklist_url",
            path="/api/v1/ip-access/verify",
            purpose="ip-blacklist",
            lifetime=timedelta(hours=24),
            token="blacklist_token",  # noqa: S106 - a name
            action="blacklist",
        ),
    ),
    variables=("ip_address",),
)
GENERIC = Kind(
    name="email",
    task="send_email_task",
    subject=None,
    template=None,
    summary="any template, any subject",
    lifetime=timedelta(days=5),
)

#: Not an email of anybody's: goes the way of one, up to the mail server, and is never delivered.
CANARY = Kind(
    name="canary",
    task="mailctl.canary",
    subject=None,
    template=None,
    summary="shows that emails get through",
    lifetime=timedelta(minutes=2),
)

#: Every kind of email, by name.
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (WELCOME, RESET, VERIFICATION, NEW_IP, GENERIC)}
#: The wire: task names that other programs publish and consume.
TASK_NAMES = frozenset(kind.task for kind in KINDS.values())


def kind_named(name: str) -> Kind:
    """Return the kind of that name.

    Raises:
        InvalidInput: there is no such kind.
    """
    if name not in KINDS:
        raise InvalidInput("kind", f"there is no kind {name!r}.", fix=f"Use one of: {', '.join(KINDS)}.")
    return KINDS[name]


def kind_of_task(task: str) -> Kind:
    """Return the kind that the wire task carries.

    Raises:
        InvalidInput: no kind has that task.
    """
    for kind in KINDS.values():
        if kind.task == task:
            return kind
    raise InvalidInput("task", f"{task!r} carries no kind of email.")
