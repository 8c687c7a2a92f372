"""Characters: which of them hide, reorder or break lines or control a terminal, and which texts a mail client
turns into links."""

from __future__ import annotations

import re
import unicodedata

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Control characters of terminals (C0, DEL, C1) and of bidirectional text (UAX #9), line and paragraph
#: separators, and lone surrogates, which no stream can encode.
_CONTROLS_IN_LINES = re.compile(
    rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{''.join(sorted(_BIDI_CONTROLS))}]"
)
_CONTROLS = re.compile(rf"[\n\t]|{_CONTROLS_IN_LINES.pattern}")
#: Joiners that real names and emoji need.
_JOINERS = frozenset("\u200c\u200d")
#: Letters and marks that print as nothing, or as a space.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp", "Co", "Cn"})
#: The flags of England, Scotland and Wales; elsewhere such tags hide a text in a text.
_TAGGED_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,6}\U000e007f")
#: Whatever a mail client could turn into a link, an address or markup.
_LINK_LIKE = re.compile(
    r"""(?ix) [a-z][a-z0-9+.-]{1,15}:[/\\]{1,2} | // | \bwww\. | \b(?:mailto|tel|sms|javascript|data):
        | [^\s.]\.(?:[^\W\d_]{2,18}|xn--[a-z0-9-]+)\b | \b\d{1,3}(?:\.\d{1,3}){3}\b
        | [@<>{}] | %[0-9a-f]{2} | &\# | \[[^\]]*\]\( """
)
#: A dot after a title or an initial; not one that joins it to more than another initial, as in t.co.
_ABBREVIATION = re.compile(r"(?i)\b(?:dr|mr|mrs|ms|jr|sr|st|prof|[^\W\d_])\.(?=\s|$|[^\W\d_]\.)")
#: What browsers, or eyes, take for the dot of a domain, beside those that NFKC makes one.
_DOTS = str.maketrans(dict.fromkeys("\u3002\u2024\ua4f8\u06d4\u0701\u0702", "."))
_MAX_STACKED_MARKS = 4
#: Scripts whose letters look alike; nobody needs two of them in one name of a domain.
_CONFUSABLE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


def first_unprintable(text: str) -> str | None:
    """Return the first character that a line of text must not hold; None if there is none.

    Those are control characters, half characters, and what is invisible or reorders what is read.
    """
    if text.isascii() and text.isprintable():  # most are
        return None
    return next((char for char in _TAGGED_FLAG.sub("", text) if not _is_printable(char)), None)


def has_controls(text: str) -> bool:
    """Whether a text holds a control character; line feeds and tabs are among them."""
    return _CONTROLS.search(text) is not None


def escape_controls(text: str) -> str:
    r"""Return a text with its control characters escaped, such as \x1b; line feeds and tabs stay."""
    return _CONTROLS_IN_LINES.sub(lambda found: _escaped(found[0]), text)


def escape_controls_as_line(text: str) -> str:
    r"""Return a text as one line, with all its control characters escaped, such as \n and \x1b."""
    return _CONTROLS.sub(lambda found: _escaped(found[0]), text)


def escape_json_controls(text: str) -> str:
    r"""Return JSON text with the control characters escaped that JSON allows in strings, such as \u009b."""
    return _CONTROLS_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_link_like(text: str) -> bool:
    """Whether a mail client could turn something in `text` into a link, an address or markup."""
    decomposed = unicodedata.normalize("NFKD", text)
    # A mark, or a joiner, hides the end of a name from the search and not from those who make links.
    bare = "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cf"))
    probes = (unicodedata.normalize("NFKC", text), unicodedata.normalize("NFKC", bare))
    return any(_LINK_LIKE.search(_ABBREVIATION.sub(" ", probe.translate(_DOTS))) for probe in probes)


def has_stacked_marks(text: str) -> bool:
    """Whether so many marks stand on one letter that they cover the lines around it."""
    run = 0
    for char in unicodedata.normalize("NFD", text):
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run > _MAX_STACKED_MARKS:
            return True
    return False


def mixes_scripts(label: str) -> bool:
    """Whether a name mixes letters of scripts that look alike, as in a Latin word with a Cyrillic a."""
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in label if char.isalpha()}
    return len(scripts & _CONFUSABLE_SCRIPTS) > 1


def _is_printable(char: str) -> bool:
    category = unicodedata.category(char)
    if char in _BIDI_CONTROLS or char in _BLANKS or category in _FORBIDDEN_CATEGORIES:
        return False
    return category != "Cf" or char in _JOINERS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
