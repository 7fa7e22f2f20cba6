"""What is text, and what an id: whatever comes from outside is held to it before it is stored or asked for."""

from __future__ import annotations

import re
import unicodedata

USER_ID = re.compile(r"[A-Za-z0-9]{1,64}")  # of the directory; users.get would take an address for an id as well
OUR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of connections, runs, channels, previews and inquiries
LONGEST_SEARCH = 320  # characters that are searched for: an e-mail address has no more
LINES = "\t\n\r"  # fine in a text of several lines, such as an address


def has_controls(text: str, allowed: str = "") -> bool:
    """Say whether a text holds control characters, line separators or half of a surrogate pair."""
    return any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text if char not in allowed)


class _Uncombined(dict[int, int | None]):
    """What characters become without accents that were set apart, learnt one by one: 100,000 names are folded."""

    def __missing__(self, code: int) -> int | None:
        kept = self[code] = None if unicodedata.combining(chr(code)) else code
        return kept


_uncombined = _Uncombined()


def folded(text: str) -> str:
    """Return a text as it is searched for: case, accents and the number of blanks make no difference."""
    return unaccented(" ".join(text.split()).casefold())


def unaccented(text: str) -> str:
    """Return a text without accents."""
    return text if text.isascii() else unicodedata.normalize("NFKD", text).translate(_uncombined)
