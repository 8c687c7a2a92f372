"""Users of a service, as its code has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Account:
    """A user of the service."""

    id: int = 7
    email: str = "zoe@example.com"
    username: str = "zoe"


ZOE = Account()
