"""What is text: characters that no form or field of a directory has, and that logs, pages and lists stumble over."""

from __future__ import annotations

import unicodedata

LINES = "\t\n\r"  # fine in a text of several lines, such as an address


def has_controls(text: str, allowed: str = "") -> bool:
    """Say whether a text holds control characters, line separators or half of a surrogate pair."""
    return any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text if char not in allowed)
