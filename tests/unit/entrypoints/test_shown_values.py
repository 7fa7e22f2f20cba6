"""How lengths of time, times and addresses are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoprovisioning.entrypoints.pages import folding, initials, shown_ago, shown_length, shown_time
from tests.support.in_memory import START


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0031, "0.0031 s"), (9.94, "9.9 s"), (42, "42 s"), (61, "1 min"), (3_720, "1 h 2 min"), (90_061, "1 d 1 h")],
)
def test_lengths_are_told_with_the_units_that_matter(seconds, text):
    assert shown_length(seconds) == text


def test_times_are_told_in_utc_and_exactly_for_machines():
    assert shown_time(START) == (
        '<time datetime="2026-11-24T09:00:00+00:00" title="2026-11-24T09:00:00+00:00">'
        "<span>24 Nov 2026,</span> <span>09:00 UTC</span></time>"
    )


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Taken: ada@example.com.", 'Taken: <span class="address">ada@<wbr>example.com.</span>'),
        ("https://a.example/v2/1", '<span class="address">https://<wbr>a.example/<wbr>v2/<wbr>1</span>'),
        ("<b>&", "&lt;b&gt;&amp;"),
    ],
)
def test_addresses_wrap_where_a_part_of_them_ends(text, folded):
    assert folding(text) == folded


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=-5), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=30), "30 days ago"),
        (timedelta(days=31), "1 Aug 2026"),
    ],
)
def test_an_age_is_shown_in_one_unit_and_exactly_in_the_title(age, text):
    now = datetime(2026, 9, 1, 12, tzinfo=UTC)
    shown = shown_ago(now - age, now)
    assert f">{text}</time>" in shown
    assert (now - age).isoformat() in shown
    assert shown_ago(None, now) == "never"


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Ada Lovelace", "AL"), ("ada", "A"), ("ada.b.lovelace@example.com", "AL"), ("", ""), ("<b> !", "")],
)
def test_initials_are_those_of_the_first_and_the_last_word(name, letters):
    assert initials(name) == letters
