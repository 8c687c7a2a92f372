"""A real Dovecot with a configuration of its own: IMAP and LMTP on loopback, one Maildir for one user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from typing_extensions import override

from tests.servers.process import Server, free_port

USER, PASSWORD = "bounces@example.org", "a-password-of-the-mailbox"
_CONFIG = """
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {group}
mail_location = maildir:{folder}/mail
first_valid_uid = 1
mail_uid = {owner}
mail_gid = {group}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={folder}/mail
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
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
  mailbox Junk {{
    auto = create
  }}
}}
"""


def missing_for_dovecot() -> str:
    """Return what this host lacks for a Dovecot of the tests; "" if it has all."""
    if os.geteuid() != 0:
        return "Dovecot with users of its own starts as root alone"
    return "" if shutil.which("dovecot") else "there is no Dovecot (apt install dovecot-imapd)"


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
            port=self.port,
        )
        (self.folder / "dovecot.conf").write_text(text)

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

    def deliver(self, data: bytes, *, name: str) -> None:
        """Put a message into the inbox, as a local delivery agent does."""
        path = self.maildir / "tmp" / name
        path.write_bytes(data)
        shutil.chown(path, "nobody", "nogroup")
        path.rename(self.maildir / "new" / name)
