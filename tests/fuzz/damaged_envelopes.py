"""Good messages in which something was replaced by something else."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import strategies as st

from tests.fuzz.envelopes import Envelope, bare, whole
from tests.fuzz.messages import HEADERS

TEXTS = st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just("2026-11-28T00:00:00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = ["delivery_info", "delivery_tag", "priority", "reply_to"]


@st.composite
def damaged_envelopes(draw: st.DrawFn) -> Envelope:
    """Return a good message in which something was replaced by something else."""
    is_bare = draw(st.booleans())
    envelope = bare() if is_bare else whole()
    names = HEADERS if is_bare else [*HEADERS, "compression"]
    headers = draw(st.dictionaries(st.sampled_from(names) | TEXTS, VALUES, max_size=3))
    properties = draw(st.dictionaries(st.sampled_from(PROPERTIES), VALUES, max_size=2))
    envelope = replace(
        envelope,
        headers={
            **envelope.headers,
            **{name: headers[name] for name in headers if name not in ("id", "task")},
        },
        properties={**envelope.properties, **properties},
    )
    if is_bare or draw(st.booleans()):
        return envelope
    body = draw(st.binary(max_size=30) | st.builds(lambda value: json.dumps(value).encode(), VALUES))
    charset = draw(st.sampled_from(["utf-8", "binary", "hex_codec"]) | TEXTS)
    return replace(envelope, body=body, content_encoding=charset)
