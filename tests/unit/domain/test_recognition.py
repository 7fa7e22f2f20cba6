"""Whoever is recognized is judged as if nobody were."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.directory.known_users import KnownUsers
from autoprovisioning.adapters.directory.resources import user_of
from autoprovisioning.domain import recognition
from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Status, failed
from autoprovisioning.domain.mapping import AttributeMapping, Row
from autoprovisioning.domain.plan import Plan, Planner
from autoprovisioning.domain.recognition import Recognized
from autoprovisioning.domain.settings import Settings
from tests.support.builders import NOW, entry, rules

ADA = {"id": "u1", "primaryEmail": "ada@example.com", "name": {"givenName": "Ada", "familyName": "Lovelace"}}
RESOURCES = [
    ADA,
    ADA | {"name": {"givenName": "Ada", "familyName": "King"}},
    ADA | {"name": {"givenName": "Grace", "familyName": "King"}},
    ADA | {"name": {"givenName": "Ada"}},
    ADA | {"primaryEmail": "countess@example.com"},
    ADA | {"suspended": True},
    ADA | {"archived": True},
    ADA | {"suspended": "false"},
    ADA | {"orgUnitPath": "/Engineering"},
]
NAMES = tuple(Row(target=f"name.{part}", source=f"name.{part}") for part in ("givenName", "familyName"))
MAPPINGS = [
    AttributeMapping(),
    AttributeMapping(rows=(Row(target="userName", source="primaryEmail"), *NAMES)),
    AttributeMapping(rows=(Row(target="userName", source="primaryEmail"), *NAMES[:1])),
]
STANDING = [
    {},
    {},
    {},
    {"status": Status.SUSPENDED},
    {"in_scope": False},
    {"pending": True},
    {"failure": failed(None, "rejected", "no", "update:abc", NOW)},
    {"teams": ("t1",)},
]


@st.composite
def look(draw):
    """Return a user as shown, the mapping, what was applied last: most often just that, and what else is known."""
    shown, mapping = draw(st.sampled_from(RESOURCES[:3])), draw(st.sampled_from(MAPPINGS))
    before, rows = draw(st.sampled_from(RESOURCES[:3])), draw(st.sampled_from(MAPPINGS))
    if draw(st.booleans()):
        before, rows = shown, mapping
    shown = draw(st.sampled_from([shown, shown, *RESOURCES[3:]]))
    in_scope = draw(st.sampled_from([True, True, True, False, None]))
    return shown, mapping, rows.apply(before), draw(st.sampled_from(STANDING)), in_scope


def planned(
    recognized: Recognized, resource, mapping, desired, standing, in_scope, shown_by: KnownUsers | None = None
) -> Plan:
    """Judge one user, whose entry holds what was applied last; `shown_by` remembers whom it has shown."""
    connection = Connection(id="c1", state=State.ON, settings=Settings(endpoint="https://k.example", mapping=mapping))
    known = replace(entry(fingerprint=fingerprint(desired)), **standing)
    planner = Planner(connection, {"u1": known}, rules(), NOW, recognized=recognized)
    user = user_of(dict(resource))
    if shown_by is not None:
        (user,) = shown_by.page(json.dumps({"users": [resource]}).encode(), "")["users"]
    planner.see(user, in_scope)
    return planner.plan


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.lists(look(), min_size=10, max_size=30))
def test_whoever_is_recognized_is_judged_as_if_nobody_were(looks):
    recognized, directory = Recognized(), KnownUsers()
    for each in looks:
        assert repr(planned(recognized, *each, directory)) == repr(planned(Recognized(), *each))


def test_nothing_is_mapped_again_for_a_user_who_is_recognized(monkeypatch):
    recognized = Recognized()
    same = (ADA, MAPPINGS[0], MAPPINGS[0].apply(ADA), {}, True)
    assert planned(recognized, *same).unchanged == 1
    with monkeypatch.context() as patched:
        patched.setattr(AttributeMapping, "apply", None)
        assert planned(recognized, *same).unchanged == 1


def test_a_name_that_changes_and_changes_back_is_written_both_times():
    recognized = Recognized()
    ada, king = (MAPPINGS[0].apply(resource) for resource in RESOURCES[:2])
    looks = [(RESOURCES[0], ada), (RESOURCES[1], ada), (RESOURCES[1], king), (RESOURCES[0], king), (RESOURCES[0], ada)]
    plans = [planned(recognized, resource, MAPPINGS[0], applied, {}, True) for resource, applied in looks]
    assert [len(plan.writes) for plan in plans] == [0, 1, 0, 1, 0]


def test_a_mapping_that_changes_is_applied_to_whoever_was_recognized():
    recognized = Recognized()
    applied = MAPPINGS[2].apply(ADA)
    plans = [planned(recognized, ADA, mapping, applied, {}, True) for mapping in (MAPPINGS[2], MAPPINGS[1])]
    assert [len(plan.writes) for plan in plans] == [0, 1]


def test_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(recognition, "MOST", 3)
    recognized = Recognized()
    for number in range(5):
        resource = ADA | {"primaryEmail": f"ada{number}@example.com"}
        assert planned(recognized, resource, MAPPINGS[0], MAPPINGS[0].apply(resource), {}, True).unchanged == 1
    assert len(recognized.facts) == 3


@given(st.sampled_from(RESOURCES), st.sampled_from(RESOURCES))
def test_resources_are_shown_alike_only_if_they_are(one, other):
    assert (user_of(dict(one)).shown == user_of(dict(other)).shown) == (one == other)
