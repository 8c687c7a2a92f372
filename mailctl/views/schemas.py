"""The JSON Schemas of the objects that commands print with `--json`, generated from the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from mailctl.errors import UnknownName
from mailctl.views import SCHEMA_VERSION
from mailctl.views.actions import ActionResultView, EmptySelectionView
from mailctl.views.api_keys import ApiKeyView, NewApiKeyView
from mailctl.views.base import View
from mailctl.views.campaigns import (
    CampaignDetailsView,
    CampaignEmailView,
    CampaignRateView,
    CampaignStatusView,
    CampaignView,
)
from mailctl.views.checks import CheckReportView
from mailctl.views.config import DashboardAddressView, NewSettingsView, ProfileDiffView, SettingView
from mailctl.views.diagnosis import DiagnosisView
from mailctl.views.emails import EmailSummaryView, EmailView
from mailctl.views.errors import ErrorGroupView
from mailctl.views.events import FeedEntryView
from mailctl.views.feedback import IngestView, WatchView
from mailctl.views.health import HealthView, MonitorView
from mailctl.views.incident import IncidentView
from mailctl.views.maintenance import PartitionView, PruneView, RekeyView, SchemaVersionView
from mailctl.views.messages import EnvelopeView, MessageView, PreviewView, RawMessageView
from mailctl.views.queues import PauseChangeView, QueueEntryView, QueueView, RestoreView
from mailctl.views.snapshot import SnapshotView
from mailctl.views.stats import StatsView
from mailctl.views.status import StatusView
from mailctl.views.suppressions import (
    SuppressionChangeView,
    SuppressionImportView,
    SuppressionView,
    UnsubscribeView,
)
from mailctl.views.users import UserImportView, UserView
from mailctl.views.versions import ExitCodeView, VersionView
from mailctl.views.workers import (
    DeadWorkerView,
    WorkerDifferenceView,
    WorkerPingView,
    WorkerStopView,
    WorkerView,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The commands that apply an action to emails.
_ACTIONS = ("retry", "cancel", "hold", "release", "resend", "queue purge", "campaign cancel")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Omits the titles that pydantic derives from the names of fields."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class SchemaNameView(View):
    """A schema that `mailctl schema` prints."""

    name: str
    title: str
    commands: list[str] = Field(description="The commands that print such objects.")


@dataclass(frozen=True, kw_only=True)
class ObjectSchema:
    """The schema of one kind of JSON object."""

    name: str
    view: type[View]
    #: The commands that print such objects.
    commands: tuple[str, ...]

    @property
    def title(self) -> str:
        """The title of the object, in a few words."""
        return (self.view.__doc__ or "").partition("\n")[0].rstrip(".")

    def as_view(self) -> SchemaNameView:
        """Return the entry of the schema in the list of schemas."""
        return SchemaNameView(name=self.name, title=self.title, commands=list(self.commands))

    def generate(self) -> dict[str, Any]:
        """Return the JSON Schema, including the `schema` field that every printed object has."""
        schema = self.view.model_json_schema(mode="serialization", schema_generator=_Generator)
        version = {"const": SCHEMA_VERSION, "description": "The version of the JSON format."}
        return {
            "$schema": _DIALECT,
            **{name: value for name, value in schema.items() if name != "description"},
            "title": self.title,
            "properties": {"schema": version, **schema["properties"]},
            "required": ["schema", *schema["required"]],
        }


def _schema(name: str, view: type[View], *commands: str) -> tuple[str, ObjectSchema]:
    return name, ObjectSchema(name=name, view=view, commands=commands)


#: All schemas, by name.
SCHEMAS: Mapping[str, ObjectSchema] = dict(
    (
        _schema("email-summary", EmailSummaryView, "send", "demo"),
        _schema("envelope", EnvelopeView, "send --dry-run"),
        _schema("campaign", CampaignView, "send --users-file", "send --all-users"),
        _schema("campaign-email", CampaignEmailView, "send --users-file", "send --all-users"),
        _schema("campaign-status", CampaignStatusView, "campaign list"),
        _schema("campaign-details", CampaignDetailsView, "campaign show"),
        _schema("campaign-rate", CampaignRateView, "campaign set-rate"),
        _schema("status", StatusView, "status"),
        _schema("diagnosis", DiagnosisView, "why"),
        _schema("message", MessageView, "show"),
        _schema("raw-message", RawMessageView, "show --raw"),
        _schema("email", EmailView, "list"),
        _schema("error-group", ErrorGroupView, "errors"),
        _schema("event", FeedEntryView, "events"),
        _schema("action-result", ActionResultView, *_ACTIONS),
        _schema("empty-selection", EmptySelectionView, *_ACTIONS),
        _schema("suppression", SuppressionView, "suppress list"),
        _schema("feedback", IngestView, "feedback ingest", "feedback tail-log"),
        _schema("feedback-watch", WatchView, "feedback watch --once"),
        _schema("unsubscribe", UnsubscribeView, "suppress list"),
        _schema("suppression-change", SuppressionChangeView, "suppress add", "suppress remove"),
        _schema("suppression-import", SuppressionImportView, "suppress import"),
        _schema("queue", QueueView, "queue list"),
        _schema("queue-entry", QueueEntryView, "queue peek"),
        _schema(
            "pause", PauseChangeView, *("queue pause", "queue resume", "campaign pause", "campaign resume")
        ),
        _schema("restore", RestoreView, "queue restore"),
        _schema("worker", WorkerView, "workers list"),
        _schema("dead-worker", DeadWorkerView, "workers list --dead"),
        _schema("worker-difference", WorkerDifferenceView, "workers diff"),
        _schema("worker-ping", WorkerPingView, "workers ping"),
        _schema("worker-stop", WorkerStopView, "workers stop"),
        _schema("stats", StatsView, "stats"),
        _schema("snapshot", SnapshotView, "top"),
        _schema("preview", PreviewView, "preview"),
        _schema("incident", IncidentView, "incident"),
        _schema("health", HealthView, "health"),
        _schema("monitor", MonitorView, "monitor"),
        _schema("check-report", CheckReportView, "check-config"),
        _schema("setting", SettingView, "config show"),
        _schema("profile-diff", ProfileDiffView, "config diff"),
        _schema("new-settings", NewSettingsView, "init"),
        _schema("dashboard-address", DashboardAddressView, "open"),
        _schema("user", UserView, "users list", "users add"),
        _schema("user-import", UserImportView, "users import"),
        _schema("api-key", ApiKeyView, "keys list", "keys revoke"),
        _schema("new-api-key", NewApiKeyView, "keys create"),
        _schema("schema-version", SchemaVersionView, "db current", "db upgrade"),
        _schema("rekey", RekeyView, "db rekey"),
        _schema("partition", PartitionView, "db partition"),
        _schema("prune", PruneView, "prune"),
        _schema("schema-name", SchemaNameView, "schema"),
        _schema("exit-code", ExitCodeView, "help exit-codes"),
        _schema("version", VersionView, "version"),
    )
)


def find_schema(name: str) -> ObjectSchema:
    """Return the schema of a name.

    Raises:
        InvalidInput: there is no such schema.
    """
    if found := SCHEMAS.get(name):
        return found
    raise UnknownName("schema", name, SCHEMAS)
