"""Finds characters that hide or reorder text or control a terminal, and text that clients turn into links."""

from __future__ import annotations

import re
import unicodedata

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Control characters of terminals (C0, DEL, C1) and of bidirectional text (UAX #9), line and paragraph
#: separators, and lone surrogates, which cannot be encoded.
_CONTROLS_IN_LINES = re.compile(
    rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{''.join(sorted(_BIDI_CONTROLS))}]"
)
_CONTROLS = re.compile(rf"[\n\t]|{_CONTROLS_IN_LINES.pattern}")
#: Joiners that names and emoji contain.
_JOINERS = frozenset("\u200c\u200d")
#: Letters and marks that are invisible.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp", "Co", "Cn"})
#: The flags of England, Scotland and Wales; elsewhere, such tags hide text.
_TAGGED_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,6}\U000e007f")
#: Text that a mail client could turn into a link, an address or markup.
_LINK_LIKE = re.compile(
    r"""(?ix) [a-z][a-z0-9+.-]{1,15}:[/\\]{1,2} | // | \\\\ | \bwww\.
        | \b(?:mailto|tel|callto|facetime|sips?|skype|sms|xmpp|(?:java|vb)script|data|file|view-source):
        | [\[(]\s*(?:\.|dot)\s*[\])] | \bdot\s+(?:com|net|org|info|biz|io|ru|cn|xyz|top|site|online|shop)\b
        | [^\s.]\.(?:[^\W\d_]{2,18}|xn--[a-z0-9-]+)\b | \b\d{1,3}(?:\.\d{1,3}){3}\b
        | [@<>{}] | %[0-9a-f]{2} | &\# | \[[^\]]*\]\( """
)
#: A dot after a title or an initial, but not within a domain such as t.co.
_ABBREVIATION = re.compile(r"(?i)\b(?:dr|mr|mrs|ms|jr|sr|st|prof|[^\W\d_])\.(?=\s|$|[^\W\d_]\.)")
#: Characters that look like the dot of a domain, besides those that NFKC normalizes.
_DOTS = str.maketrans(dict.fromkeys("\u3002\u2024\ua4f8\u06d4\u0701\u0702", "."))
_MAX_STACKED_MARKS = 4
#: Characters of a message about a value, of which it then quotes the beginning and the end.
_MAX_MESSAGE_LENGTH = 2000
#: Scripts whose letters look alike; a domain label needs only one of them.
_CONFUSABLE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


def first_unprintable(text: str) -> str | None:
    """Return the first character that a line of text must not contain; None if there is none.

    These are control characters, lone surrogates, and characters that are invisible or reorder text.
    """
    if text.isascii() and text.isprintable():  # the usual case
        return None
    return next((char for char in _TAGGED_FLAG.sub("", text) if not _is_printable(char)), None)


def has_controls(text: str) -> bool:
    """Whether a text contains a control character, including line feeds and tabs."""
    return _CONTROLS.search(text) is not None


def escape_controls(text: str) -> str:
    r"""Return a text with its control characters escaped, such as \x1b, except line feeds and tabs."""
    return _CONTROLS_IN_LINES.sub(lambda found: _escaped(found[0]), text)


def escape_controls_as_line(text: str) -> str:
    r"""Return a text as one line, with all its control characters escaped, such as \n and \x1b."""
    return _CONTROLS.sub(lambda found: _escaped(found[0]), text)


def escape_json_controls(text: str) -> str:
    r"""Return JSON with escapes such as \u009b for the control characters that JSON strings may contain."""
    return _CONTROLS_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shorten_quotes(text: str) -> str:
    """Return a message without its middle if it quotes values of any length."""
    if len(text) <= _MAX_MESSAGE_LENGTH:
        return text
    half = _MAX_MESSAGE_LENGTH // 2
    return f"{text[:half]} … {text[-half:]}"


def is_link_like(text: str) -> bool:
    """Whether a mail client could turn something in `text` into a link, an address or markup."""
    decomposed = unicodedata.normalize("NFKD", text)
    # Marks and joiners hide a domain from the search, but not from mail clients.
    bare = "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cf"))
    probes = (unicodedata.normalize("NFKC", text), unicodedata.normalize("NFKC", bare))
    return any(_LINK_LIKE.search(_ABBREVIATION.sub(" ", probe.translate(_DOTS))) for probe in probes)


def has_stacked_marks(text: str) -> bool:
    """Whether a letter has so many combining marks that they cover the lines around it."""
    run = 0
    for char in unicodedata.normalize("NFD", text):
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run > _MAX_STACKED_MARKS:
            return True
    return False


def mixes_scripts(label: str) -> bool:
    """Whether a domain label mixes letters of scripts that look alike, such as Latin and Cyrillic."""
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in label if char.isalpha()}
    return len(scripts & _CONFUSABLE_SCRIPTS) > 1


def _is_printable(char: str) -> bool:
    category = unicodedata.category(char)
    if char in _BIDI_CONTROLS or char in _BLANKS or category in _FORBIDDEN_CATEGORIES:
        return False
    return category != "Cf" or char in _JOINERS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
