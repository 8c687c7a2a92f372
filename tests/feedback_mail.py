"""The mail of the corpora in tests/data/feedback/mail: bounces, automatic replies and complaints.

Each file holds messages after lines `%%% name | verdict`. In them, `{TOKEN}` stands for the token of the
bounce address, `{MESSAGE_ID}` for the Message-ID of the email, and `{8BIT}` for octets of no known charset.
The messages are written after the standards, and after public documentation of the programs that send such.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailctl.security.bounce_address import BounceAddress
from mailctl.security.keyring import Keyring

FOLDER = Path(__file__).parent / "data" / "feedback" / "mail"
EMAIL_ID = "0195a1b2-c3d4-4e5f-8a9b-0c1d2e3f4a5b"
MESSAGE_ID = "5f2c1e0d9a8b7c6d5e4f3a2b1c0d9e8f@example.org"
BOUNCES = BounceAddress("bounces@bounce.example.org", Keyring(["a-secret-key-for-tests"]))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A message of a corpus, and what it is expected to say."""

    name: str
    verdict: str
    template: str

    def __str__(self) -> str:
        return self.name

    def mail(self, *, token: str | None = None, message_id: str = MESSAGE_ID) -> bytes:
        """Return the message about an email; without a token, about the usual one."""
        text = self.template.replace("{TOKEN}", BOUNCES.token(EMAIL_ID) if token is None else token)
        return text.replace("{MESSAGE_ID}", message_id).encode().replace(b"{8BIT}", b"\xff\xfe\x80\x81")


def samples(name: str) -> list[Sample]:
    """Return the messages of a corpus."""
    found = FOLDER.joinpath(f"{name}.txt").read_text(encoding="utf-8").split("%%% ")[1:]
    return [_sample(each) for each in found]


def _sample(text: str) -> Sample:
    line, _, template = text.partition("\n")
    name, _, verdict = line.partition(" | ")
    return Sample(name=name.strip(), verdict=verdict.strip(), template=template)
