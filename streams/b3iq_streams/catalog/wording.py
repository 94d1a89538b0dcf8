"""What must never stand in a public answer, whoever put it into a word or an id: tokens, addresses, paths.

Hosts choose model ids and words such as their queue's state, so allow-listed fields alone do not keep these out. Does not
know which fields there are (`models.py`).
"""

import re

HIDDEN = "withheld"
_SECRET = r"b3iq_(?:local|gateway|support)_"  # noqa: S105 (what tokens begin with)
_FILE = r"^[a-z]:/|^(?:home|users|root|mnt|opt|tmp|var)/.+/"
_ID = re.compile(rf"{_SECRET}|://|^(?:localhost|127\.[0-9.]+)(?::|$)|{_FILE}", re.IGNORECASE)
_TEXT = re.compile(rf"{_SECRET}|://|(?:^|\s)(?:/|~/|[a-z]:\\)", re.IGNORECASE)


def public_id(text: str) -> bool:
    """Whether an id may be shown; one that carries a token or an address may not, and neither may anything about it."""
    return _ID.search(text) is None


def public_text(text: str) -> str:
    """The text itself, or a word that stands for it."""
    return HIDDEN if _TEXT.search(text) else text
