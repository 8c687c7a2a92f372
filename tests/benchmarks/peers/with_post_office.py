"""django-post_office with its default settings: two processes of `send_queued_mail` send what is due."""

from __future__ import annotations

import sys

import django
from django.conf import settings

from tests.benchmarks.peers.email import HTML, SENDER, SUBJECT, TEXT, database_url, smtp_port


def _settings() -> None:
    address, _, name = database_url().rpartition("/")
    user, _, host = address.removeprefix("postgresql://").partition("@")
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "post_office"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": user,
                "HOST": host.partition(":")[0],
                "PORT": host.partition(":")[2],
            }
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=smtp_port(),
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        SECRET_KEY="for a benchmark",
        USE_TZ=True,
    )
    django.setup()


def _record(count: int) -> None:
    from post_office import mail

    for number in range(count):
        address = f"user{number}@example.com"
        mail.send(address, SENDER, subject=SUBJECT, message=TEXT, html_message=HTML)


if __name__ == "__main__":
    _settings()
    from django.core.management import call_command

    {
        "prepare": lambda: call_command("migrate", verbosity=0),
        "record": lambda: _record(int(sys.argv[2])),
        "work": lambda: call_command("send_queued_mail", processes=2, verbosity=0),
    }[sys.argv[1]]()
