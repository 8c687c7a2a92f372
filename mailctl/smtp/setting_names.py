"""What the settings of a mail server are called: EMAIL_PORT for the default one, others for named servers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The values of a named server, by the setting that the default server has for the same.
VALUES_BY_SETTING = {
    "EMAIL_HOST": "host",
    "EMAIL_PORT": "port",
    "EMAIL_TLS": "tls",
    "EMAIL_HOST_USER": "user",
    "EMAIL_HOST_PASSWORD": "password",
    "EMAIL_CA_FILE": "ca_file",
    "EMAIL_TLS_CLIENT_CERT": "client_cert",
    "EMAIL_TLS_CLIENT_KEY": "client_key",
    "EMAIL_HELO_NAME": "helo_name",
    "EMAIL_AUTH": "auth",
    "EMAIL_OAUTH_TOKEN": "oauth_token",
    "EMAIL_OAUTH_TOKEN_COMMAND": "oauth_token_command",
    "MAILCTL_SMTP_CONNECTIONS": "connections",
}
_SETTING = re.compile(r"\b(?:EMAIL|MAILCTL)_[A-Z_]+\b")


@dataclass(frozen=True)
class SettingNames:
    """The names of the settings of one mail server.

    Args:
        names: by the name of the same setting of the default server; empty for that server.
    """

    names: Mapping[str, str] = field(default_factory=dict)

    def in_text(self, text: str) -> str:
        """Return a sentence of mailctl about the default server as one about this server."""
        if not self.names:
            return text
        return _SETTING.sub(lambda found: self.names.get(found[0], found[0]), text)


#: Those of the default mail server.
DEFAULT_NAMES = SettingNames()
