"""Which SCIM ids can be used: they become the last segment of a path, and are stored with every user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.accounts import LONGEST_ID, id_problem


@pytest.mark.parametrize("scim_id", ["1", "970404910858250", "a/b", "...", "x" * LONGEST_ID, "ä b", "%2e%2e"])
def test_an_id_is_what_the_server_says(scim_id):
    assert id_problem(scim_id) == ""


@pytest.mark.parametrize(
    ("scim_id", "problem"),
    [
        ("", "it is empty"),
        (".", "it is '.', which has a special meaning in a path"),
        ("..", "it is '..', which has a special meaning in a path"),
        ("x" * 1_500_000, "it has 1500000 characters, and 256 at most can be used"),
        ("1\r\n2", "it has control characters"),
        ("1\x85", "it has control characters"),
        ("\ud800", "it has control characters"),
    ],
)
def test_an_id_that_cannot_be_used_is_told_from_the_others(scim_id, problem):
    assert id_problem(scim_id) == problem


@given(st.text())
def test_a_problem_never_repeats_a_long_id(scim_id):
    assert len(id_problem(scim_id)) < 100
