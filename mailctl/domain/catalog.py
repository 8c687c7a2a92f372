"""The kinds of email there are: task name, subject, template, links, and how long each is of use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from string import Formatter
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailctl.domain.models import Json

#: The task that carries kinds of the service's own; its only argument is the id of the email.
DELIVER_TASK = "mailctl.deliver"
#: The task of other programs that takes any subject, template and variables.
GENERIC_TASK = "send_email_task"
#: Variables that templates always have, whatever an email brings.
ALWAYS_ALLOWED_VARIABLES = ("locale", "action_url")


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
    """A kind of email: one of ours, or one that a service registers (MAILCTL_CATALOG).

    A kind of the service's own needs `name`, `subject`, `template` and `lifetime`; `task` stays as it is.
    """

    name: str
    #: With `{project_name}` and, in a kind of the service's own, its `variables`; None where each email
    #: brings its own.
    subject: str | None
    #: None where each email brings its own.
    template: str | None
    #: After this it is of no use any more and is not sent.
    lifetime: timedelta
    #: Why somebody gets it, for operators.
    summary: str = ""
    #: The Celery task that carries it, by the name that other programs use.
    task: str = DELIVER_TASK
    links: tuple[Link, ...] = ()
    #: Template variables that every email of this kind must bring.
    variables: tuple[str, ...] = ()
    #: Those that it may bring; None allows any.
    optional: tuple[str, ...] | None = ()
    #: The Celery queue that it goes to; "" for that of all others.
    queue: str = ""
    #: Values of variables, for checks and previews.
    samples: Mapping[str, Json] = field(default_factory=dict)

    @property
    def link_lifetime(self) -> timedelta:
        """How long its links work, counted from the moment of sending."""
        return min((link.lifetime for link in self.links), default=self.lifetime)

    @property
    def full_task(self) -> str:
        """The task that takes it in full, where the receiver does not share the delivery log."""
        return GENERIC_TASK if self.task == DELIVER_TASK else self.task

    @property
    def subject_variables(self) -> frozenset[str]:
        """What its subject prints."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.subject or "") if name is not None)

    def subject_line(self, project_name: str, context: Mapping[str, Json]) -> str:
        """Return its subject for one email that brings these variables.

        Raises:
            InvalidInput: the subject cannot print them.
        """
        values = {name: context[name] for name in self.subject_variables if name in context}
        try:
            return (self.subject or "").format(**{**values, "project_name": project_name})
        except (LookupError, ValueError, TypeError, AttributeError):
            reason = f"of kind {self.name} cannot be made of these variables."
            raise InvalidInput("subject", reason) from None


WELCOME = Kind(
    name="welcome",
    task="send_welcome_email_task",
    subject="Welcome to {project_name}",
    template="welcome",
    summary="greets a new user",
    lifetime=timedelta(days=1),
    optional=None,
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
    optional=None,
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
    optional=None,
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
    optional=None,
    samples={"ip_address": "203.0.113.7"},
)
GENERIC = Kind(
    name="email",
    task=GENERIC_TASK,
    subject=None,
    template=None,
    summary="any template, any subject",
    lifetime=timedelta(days=5),
    optional=None,
    samples={
        "title": "We will be away for an hour",
        "body": (
            "On Saturday we move to faster machines. From 06:00 to 07:00 UTC you cannot sign in.\n\n"
            "You do not need to do anything: your data and your settings stay as they are."
        ),
    },
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

#: Every kind of ours, by name.
BUILT_IN_KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (WELCOME, RESET, VERIFICATION, NEW_IP, GENERIC)
}
#: The variables that carry links in our templates.
BUILT_IN_LINK_VARIABLES = frozenset(
    {"action_url"} | {link.variable for kind in BUILT_IN_KINDS.values() for link in kind.links}
)
#: Our kinds for security emails, which carry links that grant access, by their template.
_SECURITY_KIND_BY_TEMPLATE: Mapping[str | None, Kind] = {
    kind.template: kind for kind in BUILT_IN_KINDS.values() if kind.links
}
_BUILT_IN_TEMPLATES = frozenset(kind.template for kind in BUILT_IN_KINDS.values()) | {"message"}
#: The wire: task names that other programs publish and consume.
TASK_NAMES = frozenset(kind.task for kind in BUILT_IN_KINDS.values())


def effective_kind(kind: Kind, template: object) -> Kind:
    """Return the kind of an email that names its own template: a generic email with a template for security
    emails is of that template's kind, and has its limits and lifetime.
    """
    if kind.template is None and isinstance(template, str):
        return _SECURITY_KIND_BY_TEMPLATE.get(template, kind)
    return kind


def is_security_template(template: object) -> bool:
    """Whether a template is one for security emails, or the service's own of the same name."""
    return isinstance(template, str) and template in _SECURITY_KIND_BY_TEMPLATE


def required_variables(kind: Kind, template: str | None) -> frozenset[str]:
    """Return the variables with a link or an IP address that a kind, or its template, cannot do without."""
    ours = {"action_url"} if template == WELCOME.template else set()
    return frozenset(ours.union(kind.variables, (link.variable for link in kind.links)))


class Catalog:
    """The kinds that a process knows: ours, and those of the service.

    Args:
        load: gives the service's own; called once, when a kind is asked for that is not ours.
    """

    def __init__(self, load: Callable[[], Sequence[Kind]] = tuple) -> None:
        self._load = load

    @cached_property
    def custom_kinds(self) -> Mapping[str, Kind]:
        """Those of the service, by name.

        Raises:
            ConfigurationError: they cannot be loaded.
        """
        return {kind.name: kind for kind in self._load()}

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """All, ours first; raises what `own` does."""
        return {**BUILT_IN_KINDS, **self.custom_kinds}

    def find(self, name: str) -> Kind | None:
        """Return the kind of that name, if there is one; raises what `own` does."""
        return BUILT_IN_KINDS.get(name) or self.custom_kinds.get(name)

    def link_variables(self, template: str) -> frozenset[str]:
        """Return the variables that the service's own kinds declare as links of a template.

        Raises:
            ConfigurationError: the service's own kinds cannot be loaded.
        """
        if template in _BUILT_IN_TEMPLATES:
            return frozenset()
        kinds = (kind for kind in self.custom_kinds.values() if kind.template == template)
        return frozenset(link.variable for kind in kinds for link in kind.links)

    def get(self, name: str) -> Kind:
        """Return the kind that somebody asks for.

        Raises:
            InvalidInput: there is no such kind.
            ConfigurationError: the service's own cannot be loaded.
        """
        if kind := self.find(name):
            return kind
        raise InvalidInput("kind", f"there is no kind {name!r}.", fix=f"Use one of: {', '.join(self.kinds)}.")

    def get_recorded(self, name: str) -> Kind:
        """Return the kind of an email in the log: somebody knew it when it was recorded.

        Raises:
            ConfigurationError: this process does not.
        """
        if kind := self.find(name):
            return kind
        raise ConfigurationError(
            f"There is no kind {name!r} here.",
            fix="Set MAILCTL_CATALOG to what it was when the email was recorded.",
        )


#: Without a service.
BUILT_IN_CATALOG = Catalog()
