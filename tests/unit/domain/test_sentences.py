"""An event in a sentence: who it happened to, what, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.events import EDITED, Event, EventName
from autoprovisioning.domain.scim_user import ENTERPRISE
from autoprovisioning.domain.sentences import plan_of, sentence
from autoprovisioning.domain.words import attribute_in_words
from tests.support.builders import NOW

DONE = Event(id="e1", at=NOW, name=EventName.CREATED, actor="run r1", user_id="u1", email="ada@example.com")
RENAMED = {"displayName": "Ada King", "name.familyName": "King"}
LEFT = Cause(at=NOW, event="SUSPEND_USER", actor="boss@example.com")
SENT = {"groups": "Nürnberg, Sales"}  # how the details have it
MOVED = {"joined": ("Sales", "Nürnberg"), "left": ("Interns",)}
BY_ADMIN = replace(DONE, name=EventName.CONFIGURED, actor="boss@example.com", user_id="", email="")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (DONE, "ada@example.com got an account"),
        (replace(DONE, email=""), "u1 got an account"),
        (
            replace(DONE, name=EventName.UPDATED, changed=RENAMED, before={"displayName": "Ada Byron"}),
            "ada@example.com was renamed: Ada King, was Ada Byron",
        ),
        (
            replace(DONE, name=EventName.UPDATED, changed={"title": "Countess", "active": True, "nickName": None}),
            "ada@example.com was updated: title: Countess; access: yes; and 1 more",
        ),
        (
            replace(DONE, name=EventName.UPDATED, changed=SENT, before={"groups": "Interns"}, **MOVED),
            "ada@example.com joined the teams Sales and Nürnberg and left the team Interns",
        ),
        (
            replace(DONE, name=EventName.UPDATED, changed=SENT, joined=("Sales",), cause=LEFT),
            "ada@example.com joined the team Sales: Suspended by boss@example.com, as reported by Google",
        ),
        (
            replace(DONE, name=EventName.UPDATED, changed={**RENAMED, **SENT}, left=("A", "B", "C", "D", "E")),
            "ada@example.com was renamed and left the teams A, B, C and 2 more: Ada King",
        ),
        (
            replace(DONE, name=EventName.UPDATED, changed={"emails.value": "a@x", **SENT}, joined=("Sales",)),
            "ada@example.com was updated and joined the team Sales: e-mail: a@x",
        ),
        (replace(DONE, changed=SENT, joined=("Sales",)), "ada@example.com got an account and joined the team Sales"),
        (
            replace(DONE, name=EventName.SUSPENDED, changed={"active": False}, cause=LEFT),
            "ada@example.com lost access: Suspended by boss@example.com, as reported by Google",
        ),
        (
            replace(DONE, name=EventName.FAILED, attempted=Action.CREATE, code="x", reason="No seats are left"),
            "ada@example.com could not be created: No seats are left",
        ),
        (
            replace(DONE, name=EventName.FAILED, code="x", reason="Not shown"),
            "ada@example.com could not be provisioned: Not shown",
        ),
        (
            replace(DONE, name=EventName.HELD, user_id="", reason=f"6 suspensions. Plan {'a1' * 16}"),
            "Autoprovisioning holds changes back: 6 suspensions.",
        ),
        (replace(BY_ADMIN, reason="Turned off"), "boss@example.com turned off"),
        (
            replace(BY_ADMIN, reason=f"2 of 5 of held plan {'a1' * 16}: approved"),
            "boss@example.com 2 of 5 of held plan a1a1a1a1: approved",
        ),
        (
            replace(BY_ADMIN, reason=EDITED, changed={"name": "Vault"}, before={"name": "Keeper"}),
            "boss@example.com edited the settings: name: Vault, was Keeper",
        ),
        (replace(BY_ADMIN, actor="reconcile", reason="Followed a unit"), "Autoprovisioning followed a unit"),
    ],
)
def test_it_is_told(event, told):
    found = sentence(event)
    assert f"{found.who} {found.did}" + (f": {found.more}" if found.more else "") == told
    assert found.failed is (event.name is EventName.FAILED)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("title", "title"),
        ("userName", "user name"),
        ("name.familyName", "last name"),
        ("name.middleName", "middle name"),
        (f"{ENTERPRISE}:costCenter", "cost center"),
        (f"{ENTERPRISE}:manager.value", "manager value"),
        ('phoneNumbers[type eq "work"].value', "work phone"),
        ('addresses[type eq "home"].postalCode', "home address, postal code"),
        ('addresses[type eq "home"].formatted', "home address"),
        ("emails.value", "e-mail"),
    ],
)
def test_attributes_are_called_as_people_call_them(name, called):
    assert attribute_in_words(name) == called


def test_every_event_can_be_told():
    for name in EventName:
        for user_id in ("", "u1"):
            assert sentence(replace(DONE, name=name, user_id=user_id)).did


def test_the_plan_of_an_event_is_known_by_its_digest():
    digest = "a1" * 16
    assert plan_of(replace(DONE, name=EventName.HELD, reason=f"Plan {digest} carried out: 2 suspended")) == digest
    assert plan_of(replace(DONE, reason=digest)) == ""
    assert plan_of(replace(DONE, name=EventName.HELD, reason="none")) == ""
