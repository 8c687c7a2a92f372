"""The email service: each method hands an email to the Celery task of its kind."""

from __future__ import annotations

from typing import Any

from tests.service_own_tasks.app import tasks
from tests.service_own_tasks.app.config import settings
from tests.service_own_tasks.app.users import User


class EmailService:
    """Sends the emails of the service in the background."""

    @staticmethod
    async def send_email(
        subject: str, recipients: list[dict[str, str]], template_name: str, context: dict[str, Any]
    ) -> str:
        """Send any email; return the task id."""
        return str(tasks.send_email_task.delay(subject, recipients, template_name, context).id)

    @staticmethod
    async def send_welcome_email(user: User) -> str:
        """Send the welcome email; return the task id."""
        return str(tasks.send_welcome_email_task.delay(_user_data(user)).id)

    @staticmethod
    async def send_password_reset_email(user: User, token: str) -> str:
        """Send the link that resets a password; return the task id."""
        url = f"{settings.FRONTEND_URL}/reset-password?t={token}"
        return str(tasks.send_password_reset_email_task.delay(_user_data(user), url).id)

    @staticmethod
    async def send_verification_email(user: User, token: str) -> str:
        """Send the link that verifies an address; return the task id."""
        url = f"{settings.FRONTEND_URL}/verify-email?t={token}"
        return str(tasks.send_verification_email_task.delay(_user_data(user), url).id)

    @staticmethod
    async def send_new_ip_notification(
        user: User, ip_address: str, whitelist_token: str, blacklist_token: str
    ) -> str:
        """Send the notice of a sign-in from a new address; return the task id."""
        address = f"{settings.FRONTEND_URL}/api/v1/ip-access/verify?t="
        return str(
            tasks.send_new_ip_notification_task.delay(
                _user_data(user), ip_address, address + whitelist_token, address + blacklist_token
            ).id
        )


def _user_data(user: User) -> dict[str, Any]:
    return {"id": user.id, "username": user.username, "email": user.email, "first_name": user.first_name}
