"""The diagnosis of an email: why it is in its state, decided from collected evidence."""

from mailctl.diagnosis.models import Case, Cause, Certainty, Diagnosis, Evidence, UnknownId
from mailctl.diagnosis.rules import diagnose
from mailctl.diagnosis.unknown_id import diagnose_unknown

__all__ = [
    "Case",
    "Cause",
    "Certainty",
    "Diagnosis",
    "Evidence",
    "UnknownId",
    "diagnose",
    "diagnose_unknown",
]
