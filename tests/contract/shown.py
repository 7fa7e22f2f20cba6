"""What a log could show of an error."""

from __future__ import annotations

import traceback


def every_word(error: BaseException) -> str:
    """Return all that a log could show of an error, and of the errors behind it."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None:
        chain.append(current)
        current = current.__cause__ or current.__context__
    shown = [repr(item) + str(item) + str(vars(item)) for item in chain]
    return "\n".join([*shown, *traceback.format_exception(error)])
