"""The catalog of email kinds: task name, subject, template, links and lifetime of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, lru_cache
from string import Formatter
from typing import TYPE_CHECKING

from mailctl.domain.validation import validate_template_name
from mailctl.errors import ConfigurationError, InvalidInput, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailctl.domain.models import Draft, Json

#: The task for the service's own kinds; its only argument is the email's id.
DELIVER_TASK = "mailctl.deliver"
#: The task for any subject, template and variables, as other programs publish it.
GENERIC_TASK = "send_email_task"
#: Variables that every kind accepts, whatever it declares.
ALWAYS_ALLOWED_VARIABLES = ("locale", "action_url")


@dataclass(frozen=True, kw_only=True)
class Link:
    """An action link in the emails of a kind."""

    #: The template variable, and the argument of the task, that holds the complete URL.
    variable: str
    #: The path, to which MAILCTL_LINK_PATHS or else `?t=` adds the token.
    path: str
    #: What the link may be used for; a link for one purpose is invalid for any other.
    purpose: str
    #: How long the link is valid: from the time of sending, or from when the service gave its token.
    lifetime: timedelta
    #: The name under which the service passes its own token for this link.
    token: str = "token"  # noqa: S105 - a name, not a secret
    #: The action that a click requests, if one path serves several.
    action: str | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of email: built in, or registered by a service (MAILCTL_CATALOG).

    A service's own kind needs `name`, `subject`, `template` and `lifetime`, and leaves `task` alone.
    """

    name: str
    #: A format string with `{project_name}` and, in a service's own kind, its `variables`; None if each email
    #: has its own subject.
    subject: str | None
    #: The name of the template; None if each email names its own.
    template: str | None
    #: How long an email is useful; an older one is not sent.
    lifetime: timedelta
    #: What the email is for, for operators.
    summary: str = ""
    #: The name of the Celery task.
    task: str = DELIVER_TASK
    links: tuple[Link, ...] = ()
    #: Required template variables.
    variables: tuple[str, ...] = ()
    #: Optional template variables; None allows any.
    optional: tuple[str, ...] | None = ()
    #: The Celery queue; "" for the default queue.
    queue: str = ""
    #: Sample values of variables, for checks and previews.
    samples: Mapping[str, Json] = field(default_factory=dict)
    #: Whether recipients may unsubscribe from its emails; never from a kind with links, whose emails concern
    #: security. Emails of campaigns can be unsubscribed from without this.
    can_unsubscribe: bool = False

    @property
    def full_task(self) -> str:
        """The task for messages with all arguments, which workers without this delivery log can run."""
        return GENERIC_TASK if self.task == DELIVER_TASK else self.task

    @property
    def subject_variables(self) -> frozenset[str]:
        """The variables that the subject prints."""
        return _variables_of(self.subject or "")

    def subject_line(self, project_name: str, context: Mapping[str, Json]) -> str:
        """Return the subject of an email with these variables.

        Raises:
            InvalidInput: the subject cannot be formatted with them.
        """
        values = {name: context[name] for name in self.subject_variables if name in context}
        try:
            return (self.subject or "").format(**{**values, "project_name": project_name})
        except (LookupError, ValueError, TypeError, AttributeError):
            reason = f"of kind {self.name} cannot be formatted with these variables."
            raise InvalidInput("subject", reason) from None


@lru_cache(maxsize=64)
def _variables_of(subject: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(subject) if name is not None)


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
    summary="reports a sign-in from an unknown IP address",
    # An outdated warning is misleading.
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
            "On Saturday we are moving to faster machines. You cannot sign in from 06:00 to 07:00 UTC.\n\n"
            "You do not need to do anything: your data and your settings stay as they are."
        ),
    },
)

#: A test email that takes the path of every email up to the mail server, and is never delivered.
CANARY = Kind(
    name="canary",
    task="mailctl.canary",
    subject=None,
    template=None,
    summary="shows that emails can be sent",
    lifetime=timedelta(minutes=2),
)

#: The built-in kinds, by name.
BUILT_IN_KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (WELCOME, RESET, VERIFICATION, NEW_IP, GENERIC)
}
#: The names of the built-in kinds whose links grant access; their emails go first.
SECURITY_KINDS = frozenset(kind.name for kind in BUILT_IN_KINDS.values() if kind.links)
#: The variables that hold links in the built-in templates.
BUILT_IN_LINK_VARIABLES = frozenset(
    {"action_url"} | {link.variable for kind in BUILT_IN_KINDS.values() for link in kind.links}
)
#: The built-in kinds of security emails, whose links grant access, by template.
_SECURITY_KIND_BY_TEMPLATE: Mapping[str | None, Kind] = {
    kind.template: kind for kind in BUILT_IN_KINDS.values() if kind.links
}
_BUILT_IN_TEMPLATES = frozenset(kind.template for kind in BUILT_IN_KINDS.values()) | {"message"}
#: The names of the tasks that other programs publish and consume.
TASK_NAMES = frozenset(kind.task for kind in BUILT_IN_KINDS.values())


def effective_kind(kind: Kind, template: object) -> Kind:
    """Return the kind whose limits and lifetime apply to an email.

    A generic email with the template of a built-in security email counts as an email of that kind.
    """
    if kind.template is None and isinstance(template, str):
        return _SECURITY_KIND_BY_TEMPLATE.get(template, kind)
    return kind


def can_unsubscribe(draft: Draft) -> bool:
    """Whether its recipient may unsubscribe from such emails; from security emails, nobody may."""
    request = draft.request
    if effective_kind(request.kind, draft.content.template).links:
        return False
    return request.kind.can_unsubscribe or request.campaign is not None


def is_security_template(template: object) -> bool:
    """Whether a template has the name of a built-in template for security emails."""
    return isinstance(template, str) and template in _SECURITY_KIND_BY_TEMPLATE


def required_variables(kind: Kind, template: str | None) -> frozenset[str]:
    """Return the variables with a link or an IP address that a kind or its template requires."""
    built_in = {"action_url"} if template == WELCOME.template else set()
    return frozenset(built_in.union(kind.variables, (link.variable for link in kind.links)))


class Catalog:
    """The kinds of email that a process knows, built-in ones and the service's own, and names of templates.

    Args:
        load: returns the service's own kinds; called once, when the first of them is needed.
        load_recorded: returns the kinds, by name, whose emails are recorded and never composed; as `load`.
        template_aliases: other names of templates, for generic emails.
    """

    def __init__(
        self,
        load: Callable[[], Sequence[Kind]] = tuple,
        load_recorded: Callable[[], Mapping[str, Kind]] = dict,
        *,
        template_aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._load = load
        self._load_recorded = load_recorded
        #: The templates by their other names (MAILCTL_TEMPLATE_ALIASES).
        self.template_aliases: Mapping[str, str] = template_aliases or {}

    @cached_property
    def custom_kinds(self) -> Mapping[str, Kind]:
        """The service's own kinds, by name.

        Raises:
            ConfigurationError: the kinds cannot be loaded.
        """
        return {kind.name: kind for kind in self._load()}

    @cached_property
    def recorded_kinds(self) -> Mapping[str, Kind]:
        """The kinds that only the service's own tasks send (MAILCTL_TASKS), by name.

        Raises:
            ConfigurationError: they cannot be loaded.
        """
        return self._load_recorded()

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """All kinds by name, the built-in ones first; raises what `custom_kinds` raises."""
        return {**BUILT_IN_KINDS, **self.custom_kinds}

    def find(self, name: str) -> Kind | None:
        """Return the kind of that name, or None; raises what `custom_kinds` and `recorded_kinds` raise."""
        return BUILT_IN_KINDS.get(name) or self.custom_kinds.get(name) or self.recorded_kinds.get(name)

    def template_name(self, given: object) -> str:
        """Return the name of the template that a caller names, perhaps by another name or with its ending.

        Raises:
            InvalidInput: it is not the name of a template.
        """
        name = validate_template_name(given)
        return self.template_aliases.get(name, name)

    def link_variables(self, template: str) -> frozenset[str]:
        """Return the variables of a template that the service's own kinds declare as links.

        Raises:
            ConfigurationError: the service's own kinds cannot be loaded.
        """
        if template in _BUILT_IN_TEMPLATES:
            return frozenset()
        kinds = (kind for kind in self.custom_kinds.values() if kind.template == template)
        return frozenset(link.variable for kind in kinds for link in kind.links)

    def get(self, name: str) -> Kind:
        """Return the kind that a caller names.

        Raises:
            InvalidInput: there is no such kind.
            ConfigurationError: the service's own kinds cannot be loaded.
        """
        if kind := self.find(name):
            return kind
        raise UnknownName("kind", name, self.kinds, is_service_defined=True)

    def get_recorded(self, name: str) -> Kind:
        """Return the kind of an email in the delivery log, which existed when the email was recorded.

        Raises:
            ConfigurationError: this process does not know the kind.
        """
        if kind := self.find(name):
            return kind
        raise ConfigurationError(
            f"There is no kind {name!r} here.",
            fix="Set MAILCTL_CATALOG to the value that it had when the email was recorded.",
        )


#: The catalog without any service's own kinds.
BUILT_IN_CATALOG = Catalog()
