"""A table of users in the database of a service, and its directory."""

from __future__ import annotations

from mailctl.domain.models import User
from mailctl.users import (
    ServiceUserDirectory,
)

USERS = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT, first_name TEXT, password TEXT)",
    "INSERT INTO users VALUES (42, 'u@example.com', 'u', 'Ursula', 'secret')",
)
URSULA = User(id="42", email="u@example.com", username="u", first_name="Ursula")


def get(url: str, user_id: str, *, query: str = "") -> User:
    directory = ServiceUserDirectory(url, query=query)
    try:
        return directory.get(user_id)
    finally:
        directory.close()


def describe(url: str, *, query: str = "") -> str:
    directory = ServiceUserDirectory(url, query=query)
    try:
        return directory.describe()
    finally:
        directory.close()
