"""Whoever is recognized is judged as if nobody were."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

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
DESIRED = [mapping.apply(resource) for mapping in (MAPPINGS[1], MAPPINGS[2]) for resource in RESOURCES]
DESIRED += [MAPPINGS[0].apply(resource) for resource in RESOURCES if "familyName" in resource["name"]]
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

LOOK = st.tuples(
    st.sampled_from(RESOURCES),
    st.sampled_from(MAPPINGS),
    st.sampled_from(DESIRED),
    st.sampled_from(STANDING),
    st.sampled_from([True, True, True, False, None]),
)


def planned(recognized: Recognized, resource, mapping, desired, standing, in_scope) -> Plan:
    """Judge one user, whose entry holds what was applied last."""
    connection = Connection(id="c1", state=State.ON, settings=Settings(endpoint="https://k.example", mapping=mapping))
    known = replace(entry(fingerprint=fingerprint(desired)), **standing)
    planner = Planner(connection, {"u1": known}, rules(), NOW, recognized=recognized)
    planner.see(user_of(dict(resource)), in_scope)
    return planner.plan


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.lists(LOOK, min_size=1, max_size=30))
def test_whoever_is_recognized_is_judged_as_if_nobody_were(looks):
    recognized = Recognized()
    for look in looks:
        assert repr(planned(recognized, *look)) == repr(planned(Recognized(), *look))


def test_nothing_is_mapped_again_for_a_user_who_is_recognized(monkeypatch):
    recognized = Recognized()
    look = (ADA, MAPPINGS[0], MAPPINGS[0].apply(ADA), {}, True)
    assert planned(recognized, *look).unchanged == 1
    with monkeypatch.context() as patched:
        patched.setattr(AttributeMapping, "apply", None)
        assert planned(recognized, *look).unchanged == 1


def test_a_name_that_changes_and_changes_back_is_written_both_times():
    recognized = Recognized()
    ada, king = (MAPPINGS[0].apply(resource) for resource in RESOURCES[:2])
    looks = [(RESOURCES[0], ada), (RESOURCES[1], ada), (RESOURCES[1], king), (RESOURCES[0], king), (RESOURCES[0], ada)]
    plans = [planned(recognized, resource, MAPPINGS[0], applied, {}, True) for resource, applied in looks]
    assert [len(plan.writes) for plan in plans] == [0, 1, 0, 1, 0]


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
