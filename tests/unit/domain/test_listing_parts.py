"""In which parts a directory is listed, as its size and the time since the last listing of everybody have it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.listing_parts import (
    CARRIED,
    LARGEST,
    LETTERS,
    LONGEST,
    QUICK,
    SMALL,
    WHOLE_EVERY,
    Listings,
)
from tests.support.builders import NOW, SECOND

SLOW = 2 * QUICK
EVEN = dict.fromkeys(LETTERS, 1 + SMALL // len(LETTERS))


def test_nothing_known_is_one_listing():
    assert Listings().parts(NOW) == ()


@pytest.mark.parametrize(("users", "parts"), [(SMALL - 1, 0), (SMALL, len(LETTERS))])
def test_the_size_of_the_last_listing_decides(users, parts):
    assert len(Listings().whole({"a": users}, NOW, SLOW).parts(NOW)) == parts


@pytest.mark.parametrize(("waited", "parts"), [(QUICK - SECOND, 0), (QUICK, len(LETTERS)), (None, len(LETTERS))])
def test_a_listing_that_waits_for_little_is_made_in_one(waited, parts):
    assert len(Listings().whole(EVEN, NOW, waited).parts(NOW)) == parts


def test_what_the_next_listing_does_not_depend_on_makes_no_difference():
    known = Listings().whole(EVEN, NOW, SLOW)
    more = {letter: users + number for number, (letter, users) in enumerate(EVEN.items())}
    later = NOW + SECOND
    assert not known.whole(more, later, 3 * SLOW).differ(known, later)
    assert known.whole(EVEN | {"_": 1}, later, SLOW).differ(known, later)
    assert known.whole(EVEN, later, SECOND).differ(known, later)
    assert replace(known, doubted_at=later).differ(known, later)
    assert known.whole(EVEN, NOW + WHOLE_EVERY, SLOW).differ(known, NOW + WHOLE_EVERY)


def test_everybody_is_listed_in_one_listing_once_a_day():
    known = Listings().whole(EVEN, NOW, SLOW)
    assert known.parts(NOW + WHOLE_EVERY - SECOND)
    assert known.parts(NOW + WHOLE_EVERY) == ()


def test_parts_that_were_no_help_are_left_alone_for_a_day():
    doubted = replace(Listings().whole(EVEN, NOW, SLOW), doubted_at=NOW)
    assert doubted.parts(NOW + timedelta(hours=23)) == ()
    later = doubted.whole(EVEN, NOW + WHOLE_EVERY, SLOW)
    assert later.parts(NOW + WHOLE_EVERY)


def test_the_largest_parts_come_first():
    parts = Listings().whole(EVEN | {"m": 9000, "0": 7000}, NOW, SLOW).parts(NOW)
    assert parts[:3] == ("m", "0", "1")
    assert set(parts) == set(LETTERS)


def test_an_odd_character_is_a_part_of_its_own_unless_a_query_cannot_carry_it():
    parts = Listings().whole(EVEN | {"_": 3, "-": 1, "'": 4, "é": 2, "": 1, "*": 1}, NOW, SLOW).parts(NOW)
    assert set(parts) - set(LETTERS) == {"_", "-"}


def test_a_part_that_is_too_large_is_divided_by_the_next_character():
    known = Listings().whole(EVEN, NOW, SLOW)
    found = known.in_parts(LETTERS, {"st": LARGEST, "s'": 3, "sü": 2, "s.": 7, "a.": 20})
    assert found.sizes["st"] == LARGEST
    assert {part[1:] for part in found.sizes if part[0] == "s"} == CARRIED
    assert "s" not in found.sizes
    assert found.sizes["a"] == 20
    deeper = found.in_parts(found.sizes, {"stu": LARGEST + 1, "s..": 7})
    assert ("st" in deeper.sizes, deeper.sizes["stu"], deeper.sizes["s."]) == (False, LARGEST + 1, 7)


def test_a_larger_directory_has_larger_parts():
    even = {f"{letter}a": 3 * LARGEST for letter in LETTERS}
    assert set(Listings().whole(EVEN, NOW, SLOW).in_parts(LETTERS, even).sizes) == set(LETTERS)


def test_one_listing_keeps_the_parts_that_are_still_needed():
    known = Listings().whole(EVEN, NOW, SLOW).in_parts(LETTERS, {"st": LARGEST + 1, "ma": LARGEST + 1})
    found = known.whole(EVEN | {"s": LARGEST + 1, "_": 1}, NOW + SECOND, SLOW)
    assert {part for part in found.sizes if part[0] == "s"} == {f"s{letter}" for letter in CARRIED}
    assert {part for part in found.sizes if part[0] == "m"} == {"m"}
    assert "_" in found.sizes
    assert found.whole_at == NOW + SECOND


def test_what_there_was_no_time_for_comes_first_the_next_time_and_keeps_its_size():
    known = Listings().whole(EVEN | {"m": 9000}, NOW, SLOW)
    parts = known.parts(NOW)
    unread = ("m", *parts[-3:])
    left = known.in_parts(parts, {"aa": 5, "ma": 4000}, unread)
    assert left.parts(NOW)[:4] == unread
    assert set(left.parts(NOW)) == set(parts)
    assert (left.sizes["m"], left.sizes["a"], left.sizes["z"]) == (9000, 5, EVEN["z"])
    assert left.differ(known, NOW)
    for read in (left.in_parts(parts, {"ma": 9000}), left.whole(EVEN, NOW, SLOW)):
        assert read.parts(NOW)[:4] != unread
        assert read.differ(left, NOW)
    assert left.whole(EVEN, NOW, None).unread == unread, "one listing that was not finished has not read them either"


def test_a_part_that_takes_longer_than_a_run_is_divided_however_small_it_seems():
    known = Listings().whole(dict.fromkeys(LETTERS, 1000), NOW, SLOW)
    parts = known.parts(NOW)
    left = known.in_parts(parts, {"0a": 103, "2s": 1}, parts, endless=parts[:2])
    divided = {part for part in left.parts(NOW) if part[0] in "01"}
    assert divided == {head + letter for head in "01" for letter in CARRIED}
    assert {*left.parts(NOW)[: len(divided)]} == divided, "still before the others"
    assert (left.sizes["0a"], left.sizes["0b"], left.sizes["1a"], left.sizes["2"]) == (103 + 22, 22, 25, 1000)
    longest = "a" * LONGEST
    assert replace(known, sizes={longest: 1}).in_parts([longest], {}, [longest], [longest]).sizes == {longest: 1}
