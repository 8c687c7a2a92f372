"""Variants of values: parts of texts are cut out, repeated, and replaced by parts of other texts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

#: Characters that one change inserts at most.
_MAX_INSERTED = 4000
#: How often the inserted part is repeated.
_TIMES = (0, 1, 1, 1, 2, 50, 1000)


def variants(values: Sequence[Any], count: int, chance: random.Random) -> Iterator[Any]:
    """Yield the values, then changed ones, until there are as many as wanted."""
    yield from values
    donors = list(_texts(values))
    for _ in range(count - len(values)):
        value = chance.choice(values)
        for _ in range(chance.randint(1, 3)):
            value = _changed(value, donors, chance)
        yield value


def _texts(value: Any) -> Iterator[str | bytes]:
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif dataclasses.is_dataclass(value):
        yield from _texts(list(vars(value).values()))


def _changed(value: Any, donors: Sequence[str | bytes], chance: random.Random) -> Any:
    """Return a value in which one text differs; what is no text and has none stays as it is."""
    if isinstance(value, str | bytes):
        return _spliced(value, [each for each in donors if type(each) is type(value)], chance)
    if isinstance(value, dict) and value:
        name = chance.choice(list(value))
        return {**value, name: _changed(value[name], donors, chance)}
    if isinstance(value, list | tuple) and value:
        place = chance.randrange(len(value))
        return type(value)([*value[:place], _changed(value[place], donors, chance), *value[place + 1 :]])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = chance.choice([field.name for field in dataclasses.fields(value)])
        return dataclasses.replace(value, **{name: _changed(getattr(value, name), donors, chance)})
    return value


def _spliced(text: Any, donors: Sequence[Any], chance: random.Random) -> Any:
    donor = chance.choice(donors or [text])
    place, start = chance.randint(0, len(text)), chance.randint(0, len(donor))
    part = donor[start : start + chance.choice((1, 3, 20, 300))]
    inserted = (part * chance.choice(_TIMES))[:_MAX_INSERTED]
    return text[:place] + inserted + text[place + chance.choice((0, 0, 1, 5, 50)) :]
