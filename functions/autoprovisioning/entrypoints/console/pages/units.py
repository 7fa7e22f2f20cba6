"""The organizational units as a tree that can be searched; `assets/units.js` narrows it in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from autoprovisioning.domain.scope import OrgUnit


@dataclass(slots=True, kw_only=True)
class Node:
    """A unit and those below it. A search does not show all of them; `open` says that those below are seen at once."""

    unit: OrgUnit
    name: str
    chosen: bool
    above: Node | None
    below: list[Node] = field(default_factory=list)
    matches: bool = False
    shown: bool = True
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The units at the top, how many a search found, and how many chosen ones it leaves out."""

    top: Sequence[Node]
    letters: str
    found: int
    left_out: int


def tree_of(units: Sequence[OrgUnit], chosen: AbstractSet[str], letters: str = "") -> Tree:
    """Arrange units below those that they are in; one whose parent is not among them is at the top, by its path.

    A search shows the units whose name has these letters, or where the path begins to have them if there is a slash
    among them, with everything above and below. All others stay in the page, so that what is chosen there stays chosen.
    Those above what was found are open, without a search those above what is chosen.
    """
    nodes: list[Node] = []
    at: dict[str, Node] = {}  # several chosen ones may have a path in common as long as nobody can list them
    for unit in sorted(units, key=lambda unit: unit.path.casefold().split("/")):
        parent, _, name = unit.path.rpartition("/")
        above = at.get(parent) if unit.listed else None
        label = name if above is not None or not parent else unit.path
        node = Node(unit=unit, name=label or "/", chosen=not chosen.isdisjoint((unit.key, unit.path)), above=above)
        if above is not None:
            above.below.append(node)
        nodes.append(node)
        if unit.listed:
            at[unit.path] = node
    wanted = letters.casefold()
    for node in nodes:
        node.matches = _matches(node, wanted)
        node.shown = not wanted or node.matches or (node.above is not None and node.above.shown)
    for node in reversed(nodes):  # whoever is below comes first
        leads = node.matches if wanted else node.chosen
        if node.above is not None and (leads or node.open):
            node.above.open = node.above.shown = True
    return Tree(
        top=[node for node in nodes if node.above is None],
        letters=letters,
        found=sum(node.matches for node in nodes),
        left_out=sum(node.chosen and not node.shown for node in nodes),
    )


def _matches(node: Node, wanted: str) -> bool:
    if not wanted:
        return False
    if "/" not in wanted:
        return wanted in node.name.casefold()
    path = node.unit.path.casefold()
    return wanted in path and wanted not in path.rpartition("/")[0]
