"""Why an email is where it is: decided from evidence alone, without asking anybody."""

from mailctl.diagnosis.models import Case, Cause, Certainty, Diagnosis, Evidence, Unknown
from mailctl.diagnosis.rules import diagnose
from mailctl.diagnosis.unknown_id import diagnose_unknown

__all__ = [
    "Case",
    "Cause",
    "Certainty",
    "Diagnosis",
    "Evidence",
    "Unknown",
    "diagnose",
    "diagnose_unknown",
]
