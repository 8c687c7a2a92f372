"""The mailbox behind an address: its other spellings count together, and are still sent to as given."""

from __future__ import annotations

#: Characters in local parts that a provider ignores, by domain, as tables for `str.translate`.
_IGNORED = {
    "gmail.com": str.maketrans("", "", "."),
    "googlemail.com": str.maketrans("", "", "."),
    "proton.me": str.maketrans("", "", ".-_"),
    "protonmail.com": str.maketrans("", "", ".-_"),
    "pm.me": str.maketrans("", "", ".-_"),
}
#: Domains whose mailboxes are those of another one.
_SAME_MAILBOXES = {"googlemail.com": "gmail.com", "protonmail.com": "proton.me", "pm.me": "proton.me"}
#: What begins a sub-address (RFC 5233).
_SEPARATOR = "+"


def canonical_mailbox(address: str) -> str:
    """Return one spelling for all addresses of a mailbox, in lower case, for counting.

    The sub-address after a plus is left out (RFC 5233), and so are dots where the provider ignores them. That
    two mailboxes of a provider without sub-addresses count together does less harm than a limit that a plus
    evades.

    Args:
        address: a valid address; "" for an unknown one.
    """
    local_part, at, domain = address.lower().rpartition("@")
    if not at:
        return address.lower()
    mailbox = local_part.partition(_SEPARATOR)[0] or local_part
    if ignored := _IGNORED.get(domain):
        mailbox = mailbox.translate(ignored)
    return f"{mailbox or local_part}@{_SAME_MAILBOXES.get(domain, domain)}"
