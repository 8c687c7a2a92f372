"""How properties are tried: with no time limit, as other work may share the machine; nothing is kept."""

from hypothesis import settings

settings.register_profile("mailctl", deadline=None, database=None)
settings.load_profile("mailctl")
