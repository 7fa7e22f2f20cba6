"""The one rule of the scope, every case of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoprovisioning.domain.scope import Why, standing

CASES = [
    (False, (True,), {}, False, Why.OUTSIDE),
    (True, (), {}, True, Why.UNIT),
    (None, (), {}, None, Why.UNIT),
    (True, (None, True), {}, True, Why.MEMBER),
    (None, (True,), {}, None, Why.MEMBER),
    (True, (True,), {"unproven": True}, True, Why.MEMBER),
    (True, (False, None), {}, None, Why.SILENT),
    (True, (False, None), {"approved": True}, False, Why.SILENT),
    (True, (False,), {"unproven": True}, None, Why.UNPROVEN),
    (True, (False,), {}, False, Why.NO_MEMBER),
    (None, (False,), {}, False, Why.NO_MEMBER),
]


@pytest.mark.parametrize(("unit", "groups", "more", "in_scope", "why"), CASES)
def test_the_rule(
    unit: bool | None, groups: tuple[bool | None, ...], more: dict[str, bool], in_scope: bool | None, why: Why
) -> None:
    found = standing(unit, groups, **more)
    assert (found.in_scope, found.why) == (in_scope, why)


def test_no_group_is_asked_about_somebody_outside_the_units() -> None:
    def asked() -> Iterator[bool]:
        pytest.fail("a group was asked")
        yield True

    assert standing(False, asked()).in_scope is False
