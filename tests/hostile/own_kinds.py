"""A kind of the service's own whose subject is what it is given."""

from datetime import timedelta

from mailctl.domain.catalog import Kind

KINDS = Kind(
    name="invoice",
    subject="{number}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number",),
)
