"""Masks email addresses in texts and in the records of loggers."""

from __future__ import annotations

import logging
import re

from typing_extensions import override

from mailctl.settings.credential_masking import MASK

_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
# It starts at the start of a word: searching from each letter of a long word would take quadratic time.
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}+@[\w-]+(?:\.[\w-]+)*")


def mask_address(address: str) -> str:
    """Return a masked address that an operator can recognise, such as z…@example.com."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def mask_addresses_in_text(text: str) -> str:
    """Return a text in which every email address is masked; the user names of URLs stay."""
    return _ADDRESS.sub(_masked_unless_of_url, text)


def _masked_unless_of_url(found: re.Match[str]) -> str:
    local, start = found[0].rpartition("@")[0], found.start()
    is_of_url = local.startswith("//") and found.string[max(0, start - 1) : start] == ":"
    return found[0] if local == MASK or is_of_url else mask_address(found[0])


class AddressFilter(logging.Filter):
    """Masks every email address in the records of a logger, and in the tracebacks of their exceptions."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the addresses of a record; return True, so that it is logged."""
        message = record.getMessage()
        if (masked := mask_addresses_in_text(message)) != message:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters print this text instead of the exception.
            record.exc_text = mask_addresses_in_text(logging.Formatter().formatException(record.exc_info))
        return True


def masking_logger(name: str) -> logging.Logger:
    """Return the logger of a name, all of whose records are masked by an `AddressFilter`.

    For the parts that run in processes of the service, where no handler is mailctl's.
    """
    logger = logging.getLogger(name)
    if not any(isinstance(each, AddressFilter) for each in logger.filters):
        logger.addFilter(AddressFilter())
    return logger
