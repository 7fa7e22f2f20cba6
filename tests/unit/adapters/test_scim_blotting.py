"""The token is blotted out of what was decoded, however it was written."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.scim.blotting import Blot, TooManyEscapes

TOKEN = "kT4-q9_Zw7Lm2Xc8Vb1Nn5Hh3Gg6Ff0Dd_Ss-Aa9Pp0"


def written(form: str) -> str:
    """Write each character of the token in a form of its own."""
    return "".join(form.format(ord(character)) for character in TOKEN)


def clean(text: str) -> Any:
    return Blot(TOKEN).clean(text.encode(), msgspec.json.decode(text))


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"detail": "no: {TOKEN} and {TOKEN}"}}',
        '{"detail": "' + written("\\u{:04x}") + '"}',
        '{"detail": "' + written("\\u{:04X}") + '"}',
        '{"detail": "' + written("%{:02x}") + '"}',
        '{"detail": "' + written("%{:02X}") + '"}',
        '{"detail": "' + written("\\u0025{:02X}") + '"}',
        f'{{"a": [{{"{TOKEN}": 1}}]}}',
        '{"' + written("\\u{:04x}") + '": {"b": 1}}',
    ],
)
def test_the_token_is_not_in_what_is_left(text):
    assert TOKEN not in shown(clean(text))
    assert "[token]" in shown(clean(text))


def test_nor_are_its_parts_where_it_is_split_over_texts():
    for at in range(1, len(TOKEN)):
        left = shown(clean(json.dumps({"detail": f"no: {TOKEN[:at]}", "message": TOKEN[at:], TOKEN[:at]: 1})))
        assert not [TOKEN[i : i + 15] for i in range(len(TOKEN) - 14) if TOKEN[i : i + 15] in left]


def test_what_surrounds_it_stays():
    assert clean(json.dumps({"detail": f"<{TOKEN}> no", "other": "é"})) == {"detail": "<[token]> no", "other": "é"}
    assert clean('{"url": "https://x/%C3%A9", "n": "\\u00e9"}') == {"url": "https://x/%C3%A9", "n": "é"}


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=30)))
def test_what_has_no_token_is_as_it_was(body):
    assert clean(json.dumps(body)) == body


def test_a_short_token_is_no_secret_but_one_of_eight_characters_is():
    assert Blot("short").clean(b'"short"', "short") == "short"
    assert Blot("eight-ch").clean(b'"eight-ch"', "eight-ch") == "[token]"
    assert Blot("").clean(b'"%41"', "%41") == "%41"


def seconds_for(times: int) -> float:
    """Return the CPU time for a text with so many tokens in it, and one of as many escapes, which is refused."""
    text = json.dumps({"detail": f"{TOKEN[:20]} {TOKEN} %41" * times})
    began = time.process_time()
    assert TOKEN not in shown(clean(text))
    with pytest.raises(TooManyEscapes):
        clean(json.dumps("%" * 200 * times))
    return time.process_time() - began


def test_it_takes_no_longer_than_there_is_to_read():
    assert seconds_for(20_000) < 40 * min(seconds_for(2_000) for _ in range(3))  # ten times as much to read
