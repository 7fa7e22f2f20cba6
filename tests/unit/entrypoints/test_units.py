"""The tree of organizational units: who is below whom, what a search shows, and what stays chosen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from autoprovisioning.domain.scope import ROOT, OrgUnit
from autoprovisioning.entrypoints.console.pages.units import Node, tree_of


def unit(path: str, *, listed: bool = True) -> OrgUnit:
    return OrgUnit(id=f"id:{path}", path=path, listed=listed)


PATHS = "/Sales,/Sales/EU/North,/Sales/EU,/Sales EU,/Sales/US,/Engineering,/Engineering/EU".split(",")
UNITS = [unit(path) for path in PATHS]


def lines(nodes: Sequence[Node], depth: int = 0) -> Iterator[str]:
    """Tell the shown nodes that can be seen without opening any."""
    for node in nodes:
        if node.shown:
            yield f"{'  ' * depth}{node.name}{' *' if node.chosen else ''}"
            if node.open:
                yield from lines(node.below, depth + 1)


def seen(chosen: Sequence[str] = (), letters: str = "") -> list[str]:
    return list(lines(tree_of(UNITS, set(chosen), letters).top))


def test_units_are_below_those_that_they_are_in_whatever_the_order_and_closed():
    assert seen() == ["Engineering", "Sales", "Sales EU"]
    sales = tree_of(UNITS, set()).top[1]
    assert [node.name for node in sales.below] == ["EU", "US"]
    assert [node.name for node in sales.below[0].below] == ["North"]


@pytest.mark.parametrize("key", ["id:/Sales/EU/North", "/Sales/EU/North"])
def test_what_is_chosen_is_seen_at_once(key):
    assert seen([key]) == ["Engineering", "Sales", "  EU", "    North *", "  US", "Sales EU"]


@pytest.mark.parametrize(
    ("letters", "shown"),
    [
        ("eu", ["Engineering", "  EU", "Sales", "  EU", "Sales EU"]),
        ("NORTH", ["Sales", "  EU", "    North"]),
        ("sales/eu", ["Sales", "  EU"]),
        ("/sales/eu/n", ["Sales", "  EU", "    North"]),
        ("sales", ["Sales", "Sales EU"]),
        ("nowhere", []),
    ],
)
def test_a_search_shows_what_matches_and_the_way_to_it(letters, shown):
    assert seen(letters=letters) == shown


def test_what_is_below_a_match_can_be_opened_and_what_is_left_out_stays_chosen():
    tree = tree_of(UNITS, {"id:/Engineering/EU"}, "sales")
    assert (tree.found, tree.left_out) == (2, 1)
    sales = next(node for node in tree.top if node.name == "Sales")
    assert not sales.open
    assert all(node.shown for node in (*sales.below, *sales.below[0].below))
    engineering = next(node for node in tree.top if node.name == "Engineering")
    assert (engineering.shown, engineering.below[0].chosen) == (False, True)


def test_whoever_has_no_parent_here_is_at_the_top_by_the_path():
    units = [unit("/Sales"), unit("/Sales/Gone", listed=False), unit("/Legal/EU"), ROOT]
    tree = tree_of(units, {"/", "id:/Sales/Gone"})
    assert list(lines(tree.top)) == ["/ *", "/Legal/EU", "Sales", "/Sales/Gone *"]


def test_a_large_tree_takes_as_long_for_each_unit_as_a_small_one():
    """No figure: the time for each of 20,000 units, by that for each of 2,000."""

    def each(number: int) -> float:
        tops = [f"/a{top}" for top in range(number // 110)]
        middle = [f"{top}/b{one}" for top in tops for one in range(10)]
        leaves = [f"{one}/c{leaf}" for one in middle for leaf in range(10)]
        units = [unit(path) for path in (*leaves, *middle, *tops)]
        best = min(_seconds(units) for _ in range(3))
        return best / len(units)

    assert each(20_000) < 4 * each(2_000)


def _seconds(units: Sequence[OrgUnit]) -> float:
    began = time.process_time()
    tree_of(units, {"id:/a1/b1/c1"}, "c7")
    return time.process_time() - began
