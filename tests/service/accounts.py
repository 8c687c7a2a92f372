"""What people do with their accounts. Each email is recorded in the transaction of what it tells of."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mailctl import EmailService, links, redeem
from tests.service.database import KnownAddress, User

#: Characters of a password at least.
SHORTEST_PASSWORD = 8
#: The ends of the tokens in an email about a new address.
_ALLOW, _BLOCK = "allow", "block"


class Denied(Exception):
    """Something that a person cannot do; the text is for that person, the status for the browser."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, kw_only=True)
class NewAccount:
    """What somebody says who wants an account."""

    email: str
    username: str
    first_name: str = ""
    password: str = ""


async def sign_up(database: AsyncSession, account: NewAccount) -> str:
    """Make a user and the email that asks to confirm the address; both come with the caller's commit.

    Returns:
        The id of the email.
    """
    user = User(
        email=account.email.lower(),
        username=account.username,
        first_name=account.first_name,
        password=await _hashed(account.password) if account.password else "",
    )
    database.add(user)
    try:
        await database.flush()
    except IntegrityError:
        raise Denied(409, "This address has an account.") from None
    return await EmailService.send_verification_email(user, session=database)


async def request_reset(database: AsyncSession, email: str) -> None:
    """Send a link to choose a new password, if there is such a user; the caller is not told."""
    user = await database.scalar(select(User).where(User.email == email.lower()))
    if user is not None:
        await EmailService.send_password_reset_email(user, session=database)
        await database.commit()


async def sign_in(database: AsyncSession, email: str, password: str, ip: str) -> None:
    """Let somebody in; from an address that is new, with an email that asks about it."""
    user = await database.scalar(select(User).where(User.email == email.lower()))
    if user is None or not await _is_password(password, user.password):
        raise Denied(401, "Wrong email address or password.")
    if not user.is_verified:
        raise Denied(403, "Confirm your address first: we have sent you an email.")
    known = await database.get(KnownAddress, (user.id, ip))
    if known is None:
        await _ask_about(database, user, ip)
    elif known.is_allowed is False:
        raise Denied(403, "The owner of this account has blocked this address.")


async def verify_address(database: AsyncSession, t: str) -> None:
    """Confirm the address that a link was sent to."""
    user = await _user_of(database, await redeem(t, purpose="verify-email", session=database))
    user.is_verified = True
    await database.commit()


async def reset_password(database: AsyncSession, t: str, password: str) -> None:
    """Set the password that somebody chose on the page of a link."""
    check_password(password)
    user = await _user_of(database, await redeem(t, purpose="reset-password", session=database))
    user.password = await _hashed(password)
    # The link came to this address.
    user.is_verified = True
    await database.commit()


def check_password(password: str) -> None:
    """Refuse a password that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise Denied(422, f"Choose {SHORTEST_PASSWORD} characters or more.")


async def answer_about_address(database: AsyncSession, t: str) -> bool:
    """Allow or block the address that an email asked about; returns which."""
    secret, _, answer = t.rpartition(".")
    known = await database.scalar(select(KnownAddress).where(KnownAddress.token_digest == _digest(secret)))
    if known is None or known.is_allowed is not None or answer not in (_ALLOW, _BLOCK):
        raise Denied(400, "This link is not valid. Ask for a new one.")
    known.is_allowed = is_allowing(t)
    await database.commit()
    return known.is_allowed


def is_allowing(t: str) -> bool:
    """Whether a link allows an address."""
    return t.endswith(f".{_ALLOW}")


async def _ask_about(database: AsyncSession, user: User, ip: str) -> None:
    secret = secrets.token_urlsafe(24)
    database.add(KnownAddress(user_id=user.id, ip=ip, token_digest=_digest(secret), is_allowed=None))
    # Tokens of the service, which are passed on as they are; the other emails leave the links to mailctl.
    tokens = (f"{secret}.{answer}" for answer in (_ALLOW, _BLOCK))
    await EmailService.send_new_ip_notification(user, ip, *tokens, session=database)
    await database.commit()


async def _user_of(database: AsyncSession, claims: links.LinkClaims) -> User:
    user = await database.get(User, int(claims.user_id or 0))
    if user is None or user.email != claims.email:
        raise Denied(400, "This link is not valid. Ask for a new one.")
    return user


async def _hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{(await asyncio.to_thread(_scrypt, password, salt)).hex()}"


async def _is_password(password: str, stored: str) -> bool:
    salt, _, digest = stored.partition(":")
    found = await asyncio.to_thread(_scrypt, password, bytes.fromhex(salt))
    return bool(digest) and hmac.compare_digest(found, bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
