"""A step of a deployment: a look, and the commands that are run if what is there is not as wanted."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from infra.gcp.marks import Owned

Command = tuple[str, ...]
FOUND = "{found}"  # in a command that changes: the name of what the look found; once for each name
AS_JSON = "--format=json"


@dataclass(frozen=True, slots=True)
class Exactly:
    """A wanted value that allows nothing else beside it."""

    value: Any


@dataclass(frozen=True, slots=True)
class OneOf:
    """A wanted value that Google may return in any of these forms; None means that it is left out."""

    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that must be there. `find` picks it from the look's answer, None where it is not in it."""

    title: str
    look: Command
    make: tuple[Command, ...]
    wanted: Mapping[str, Any] = field(default_factory=dict)
    change: tuple[Command, ...] = ()  # where it is there and differs; `make` if empty
    unmade: Callable[[Any], bool] = lambda _: False  # whether what was found was never completed: `make` again
    find: Callable[[Any], Any] = lambda answer: answer
    # What the commands read, from what was found: secrets, which no command line may show, and what must be sent back.
    stdin: Callable[[Any], str] = lambda _: ""
    names: Callable[[Any], list[str]] = lambda found: [found["name"]] if "name" in found else []  # for FOUND
    chapter: str = ""  # the heading it is shown under
    owned: Owned | None = None  # if its name may have been somebody else's first
    by_hand: str = ""  # what to do if an administrator of the project may be refused; the rest then goes on
    among: str = ""  # similar steps in a row are shown as one: "45 fields in no index"

    def due(self, found: Any) -> tuple[Command, ...]:
        """Return the commands that bring about what is wanted, from what was found; None for nothing."""
        return self.change if self.change and found is not None and not self.unmade(found) else self.make

    @property
    def commands(self) -> tuple[Command, ...]:
        """Return every command this step may issue."""
        return (self.look, *self.make, *self.change)


def gcloud(*parts: str, **flags: str | bool | Sequence[str]) -> Command:
    """Return a command: positional parts first, then the flags by their own names, a list as repeated flags."""
    argv = ["gcloud", *parts]
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            argv.append(flag if value else f"--no-{flag[2:]}")
        else:
            argv += [f"{flag}={item}" for item in ([value] if isinstance(value, str) else value)]
    return tuple(argv)


def under(chapter: str, steps: Iterable[Step]) -> list[Step]:
    """Return the steps with the heading that they are shown under."""
    return [replace(step, chapter=chapter) for step in steps]


def checklist(steps: Iterable[Step]) -> Iterator[tuple[str, str, list[Step]]]:
    """Yield what is shown as one item, in order: a heading where a new one begins, a title, and the steps."""
    before = ""
    for (chapter, title), alike in groupby(steps, key=lambda step: (step.chapter, step.among or step.title)):
        several = list(alike)
        heading = chapter if chapter != before else ""
        yield heading, f"{len(several)} {title}" if several[0].among else title, several
        before = chapter


def filled(command: Command, names: Iterable[str]) -> list[Command]:
    """Return a command once for each name that FOUND stands for in it; just itself where it has no FOUND."""
    if not any(FOUND in part for part in command):
        return [command]
    return [tuple(part.replace(FOUND, name) for part in command) for name in names]


def shown(command: Command) -> str:
    """Return a command as one types it: only the values of flags are quoted."""
    return " ".join(_quoted(part) for part in command)


def _quoted(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={shlex.quote(value)}" if part.startswith("--") and equals else shlex.quote(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field of an answer that is not as wanted; None for what is left out."""

    field: str
    found: Any
    wanted: Any


def differences(actual: Any, wanted: Any, field: str = "") -> list[Difference]:
    """Return which fields of an answer are not as wanted; what is not wanted is not looked at.

    Google's JSON leaves out zeros, empty texts and empty lists, and lists what has a key in any order.
    """
    match wanted:
        case Exactly():
            return [] if actual == wanted.value else [Difference(field=field, found=actual, wanted=wanted.value)]
        case OneOf():
            if any(not differences(actual, form) for form in wanted.forms):
                return []
            return [Difference(field=field, found=actual, wanted=wanted.forms[0])]
        case Mapping():
            fields: Mapping[str, Any] = actual if isinstance(actual, Mapping) else {}
            below = f"{field}." if field else ""
            return [each for key, value in wanted.items() for each in differences(fields.get(key), value, below + key)]
        case list() | tuple():
            return _listed_differences(actual or [], wanted, field)
        case _:
            same = actual == wanted or (not wanted and not actual)
            return [] if same else [Difference(field=field, found=actual, wanted=wanted)]


def _listed_differences(actual: Sequence[Any], wanted: Sequence[Any], field: str) -> list[Difference]:
    there, described = _by_key(actual), _by_key(wanted)
    if there.keys() != described.keys():
        return [Difference(field=field, found=actual, wanted=_plain(wanted))]
    return [each for key, value in described.items() for each in differences(there[key], value, f"{field}[{key}]")]


def _plain(wanted: Any) -> Any:
    """Return a wanted value as it would be returned, in the first of its forms."""
    match wanted:
        case Exactly():
            return wanted.value
        case OneOf():
            return wanted.forms[0]
        case Mapping():
            return {key: _plain(value) for key, value in wanted.items()}
        case list() | tuple():
            return [_plain(item) for item in wanted]
        case _:
            return wanted


def _by_key(items: Sequence[Any]) -> dict[Any, Any]:
    """Return items by their own key; by their places where they have none."""
    if all(isinstance(item, Mapping) and "key" in item for item in items):
        return {item["key"]: item for item in items}
    return dict(enumerate(items))


def first(matches: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a finder in a list."""
    return lambda answer: next((item for item in answer or [] if matches(item)), None)


def binding(role: str, member: str, condition: str = "") -> Callable[[Any], Any]:
    """Return a finder of a member's binding in an IAM policy."""

    def matches(item: Any) -> bool:
        expression = item.get("condition", {}).get("expression", "")
        return item["role"] == role and member in item.get("members", ()) and expression == condition

    return lambda policy: first(matches)((policy or {}).get("bindings"))
