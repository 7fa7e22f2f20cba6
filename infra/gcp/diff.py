"""`make diff`: what a deployment would change now, field by field. Nothing is changed, and no payload is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from infra.gcp import commands, preflight, publishing, services
from infra.gcp.deploy import Done, learn_billing, learn_channels, learn_image, learn_number, newest_keys, state_of
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import Step, checklist, differences
from infra.gcp.target import ORGANIZATION, Target
from infra.gcp.variants import chosen

NOTHING = "nothing"
HIDDEN = "(a value of its own)"  # of a variable that is not ours: it may hold a secret


def diff(target: Target, cloud: Gcloud, say: Callable[[str], None]) -> int:
    """Say what differs; returns 1 if anything does, else 0.

    Raises:
        GcloudFailed: something cannot be looked at.
        SystemExit: there is no such project, or its deployment is in another region.
    """
    target = learn_number(target, cloud)
    preflight.same_region(target, cloud)
    target = preflight.as_it_is(target, cloud)
    strange = preflight.refusals(target, cloud)
    target = learn_channels(replace(target, key_versions=newest_keys(target, cloud)), cloud)
    target = publishing.learn(learn_image(learn_billing(target, cloud), cloud), cloud)
    if target.sink == ORGANIZATION and not target.organization_open and target.publishes:
        say(publishing.unseen(target))
    renewing = {services.deployed_title(item) for item in chosen(target).functions}
    alike, different, renewed = 0, 0, False
    heading = ""
    for chapter, _, several in checklist(commands.all_steps(target)):
        heading = chapter or heading
        for step in several:
            lines = list(_lines(step, cloud))
            renewed = renewed or (bool(lines) and step.title in renewing)
            alike, different = (alike, different + 1) if lines else (alike + 1, different)
            if lines and heading:
                say(f"\n{heading}")
                heading = ""
            for line in lines:
                say(line)
    say(f"\n{different} differ, {alike} are as wanted. Nothing was changed.")
    if renewed:
        say("New revisions get all traffic once they have passed the smoke test.")
    told = preflight.reminder(target, cloud)
    if told:
        say(f"\n{told}. {preflight.advice(target)}")
    if strange:
        say(f"\nAs it stands, a deployment would be refused.\n{strange}")
    return 1 if different or strange else 0


def _lines(step: Step, cloud: Gcloud) -> Iterator[str]:
    try:
        due, found = state_of(step, cloud)
    except GcloudFailed as error:
        if not step.by_hand:
            raise
        yield f"  by hand    {step.title}"
        yield f"             refused: {error.said}"
        return
    if due is Done.MADE and step.make:
        yield f"  make       {step.title}"
    elif due is Done.CHANGED:
        yield f"  change     {step.title}"
        for each in differences(found, step.wanted):
            yield from _becomes(each.field, each.found, each.wanted)


def _becomes(field: str, found: Any, wanted: Any) -> Iterator[str]:
    """Yield a line for a field; for each key of a map that must have these keys and no others."""
    if not isinstance(wanted, Mapping):
        yield f"             {field}: {_shown(found)} -> {_shown(wanted)}"
        return
    there = found if isinstance(found, Mapping) else {}
    for key in sorted({*there, *wanted}):
        if there.get(key) != wanted.get(key):
            before = HIDDEN if key not in wanted else _shown(there.get(key))
            yield f"             {field}.{key}: {before} -> {_shown(wanted.get(key))}"


def _shown(value: Any) -> str:
    return NOTHING if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
