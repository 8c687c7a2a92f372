"""A real Dovecot with a configuration of its own: IMAP and LMTP on loopback, one Maildir for one user."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

from typing_extensions import override

from tests.servers.process import Server, children_of, free_port

USER, PASSWORD = "bounces@example.org", "a-pässword-of-the-mailbox"
#: The folder besides the inbox, and the name of its Maildir: in modified UTF-7 (RFC 3501 section 5.1.3).
FOLDER, _NAME_ON_DISK = "Rückläufer & Spam", "R&APw-ckl&AOQ-ufer &- Spam"
_CONFIG = """
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
ssl = required
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = yes
auth_mechanisms = plain login xoauth2
verbose_proctitle = yes
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {group}
mail_location = maildir:{folder}/mail
first_valid_uid = 1
mail_uid = {owner}
mail_gid = {group}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={folder}/mail
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {starttls_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  mailbox "{other_folder}" {{
    auto = create
  }}
}}
"""


#: Access tokens are signed with a key that Dovecot knows (RFC 7519), and say who signs in.
_OAUTH2_CONFIG = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
"""
_TOKEN_KEY = b"a-key-that-signs-tokens"


def access_token(*, user: str = USER, key: bytes = _TOKEN_KEY) -> str:
    """Return an access token that Dovecot accepts, unless it is signed with another key."""
    claims = {"sub": user, "email": user, "iat": int(time.time()), "exp": int(time.time()) + 3600}
    parts = [_encoded({"alg": "HS256", "typ": "JWT"}), _encoded(claims)]
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def _encoded(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def missing_for_dovecot() -> str:
    """Return what this host lacks for a Dovecot of the tests; "" if it has all."""
    if os.geteuid() != 0:
        return "Dovecot with users of its own starts as root alone"
    return "" if shutil.which("dovecot") else "there is no Dovecot (apt install dovecot-imapd)"


def _title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


class Dovecot(Server):
    """Dovecot with one mailbox.

    Args:
        cert: the file of its certificate.
        key: the file of the key.
    """

    _stop_signal = signal.SIGTERM

    def __init__(self, *, cert: Path, key: Path) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="dovecot-")), port=free_port())
        self._cert, self._key = cert, key
        #: Where TLS begins with STARTTLS.
        self.starttls_port = free_port()

    @property
    def maildir(self) -> Path:
        """The Maildir of the inbox."""
        return self.folder / "mail"

    @override
    def _prepare(self) -> None:
        self.folder.chmod(0o755)
        for name in ("", "new", "cur", "tmp"):
            (self.maildir / name).mkdir(parents=True, exist_ok=True)
            shutil.chown(self.maildir / name, "nobody", "nogroup")
        text = _CONFIG.format(
            folder=self.folder,
            cert=self._cert,
            key=self._key,
            login_user="dovenull",
            internal_user="dovecot",
            owner="nobody",
            group="nogroup",
            password=PASSWORD,
            other_folder=FOLDER,
            port=self.port,
            starttls_port=self.starttls_port,
        )
        (self.folder / "dovecot.conf").write_text(text)
        (self.folder / "oauth2.conf").write_text(_OAUTH2_CONFIG.format(folder=self.folder))
        keys = self.folder / "keys" / "default" / "HS256"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "default").write_bytes(base64.b64encode(_TOKEN_KEY))

    @override
    def _command(self) -> list[str]:
        return [str(shutil.which("dovecot")), "-F", "-c", str(self.folder / "dovecot.conf")]

    @override
    def stop(self) -> None:
        """Stop it, and delete its folder."""
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @override
    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2):
                return True
        except OSError:
            return False

    def deliver(self, data: bytes, *, name: str, folder: str = "") -> None:
        """Put a message into the inbox or another folder, as a local delivery agent does."""
        path = self.maildir / "tmp" / name
        path.write_bytes(data)
        shutil.chown(path, "nobody", "nogroup")
        path.rename(self.maildir_of(folder) / "new" / name)

    def maildir_of(self, folder: str) -> Path:
        """Return the Maildir of a folder; "" is the inbox."""
        return self.maildir / f".{_NAME_ON_DISK}" if folder else self.maildir

    def idle_clients(self) -> int:
        """Return how many clients wait for news (RFC 2177), by the titles of their processes."""
        assert self._process is not None
        titles = [_title_of(pid) for pid in children_of(self._process.pid)]
        return sum(USER in title and "IDLE" in title for title in titles)
