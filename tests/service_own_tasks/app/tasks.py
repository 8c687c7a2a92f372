"""The email tasks of the service: each catches every error and returns False then."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.service_own_tasks.app import mail
from tests.service_own_tasks.app.celery_app import celery_app


@celery_app.task(name="send_email_task")
def send_email_task(
    subject: str, recipients: list[dict[str, str]], template_name: str, context: dict[str, Any]
) -> bool:
    """Send any email."""
    return asyncio.run(mail.send(subject, recipients, template_name, context))


@celery_app.task(name="send_welcome_email_task")
def send_welcome_email_task(user_data: dict[str, Any]) -> bool:
    """Send the welcome email."""
    return _send_to_user("Welcome!", user_data, "welcome", {})


@celery_app.task(name="send_password_reset_email_task")
def send_password_reset_email_task(user_data: dict[str, Any], reset_url: str) -> bool:
    """Send the link that resets a password."""
    return _send_to_user("Reset your password", user_data, "link", {"url": reset_url})


@celery_app.task(name="send_verification_email_task")
def send_verification_email_task(user_data: dict[str, Any], verification_url: str) -> bool:
    """Send the link that verifies an address."""
    return _send_to_user("Verify your address", user_data, "link", {"url": verification_url})


@celery_app.task(name="send_new_ip_notification_task")
def send_new_ip_notification_task(
    user_data: dict[str, Any], ip_address: str, whitelist_url: str, blacklist_url: str
) -> bool:
    """Send the notice of a sign-in from a new address."""
    context = {"ip_address": ip_address, "whitelist_url": whitelist_url, "blacklist_url": blacklist_url}
    return _send_to_user("New sign-in", user_data, "new_ip", context)


def _send_to_user(
    subject: str, user_data: dict[str, Any], template_name: str, context: dict[str, Any]
) -> bool:
    name = user_data.get("first_name") or user_data.get("username") or ""
    recipients = [{"name": name, "email": user_data["email"]}]
    return send_email_task.run(subject, recipients, template_name, {"name": name, **context})
