"""The page of a held plan: decided as a whole, by cause, for those ticked, and taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict
from autoprovisioning.domain.people import Listed
from tests.support.builders import SECOND
from tests.support.console import HOME, Place
from tests.support.in_memory import START

DIGEST = "d" * 32
MEMBERS = tuple(
    Member(resource=f"u{number}", action="suspend", trigger="app_off" if number < 10 else "suspended", since=START)
    for number in range(15)
)


@pytest.fixture
def place() -> Place:
    place = Place(Connection(id="c1", state=State.ON))
    place.fakes.services.holds.put("c1", Hold(digest=DIGEST, raised_at=START, members=MEMBERS, reason="too many"))
    return place


def standings(place: Place) -> dict[str, int]:
    return place.fakes.services.holds.get("c1", DIGEST).standings()


def send(place: Place, button: str, query: str = "", **filled):
    return place.browser().open(f"{HOME}/holds/{DIGEST}{query}").send("Decide", button, **filled)


def test_the_page_says_what_would_happen_and_why_and_counts_on_its_buttons(place):
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert "15 people would lose access</h1>" in shown.text
    causes = re.findall(r"<li><a[^>]*cause=.*?</b>", shown.text, re.S)
    assert [re.sub(r"<[^>]+>", "", each) for each in causes] == ["Out of scope 10", "Suspended in the directory 5"]
    assert shown.buttons()[:2] == ["Suspend 15 people", "Keep their access"]


def test_a_plan_is_decided_by_cause_then_the_rest_then_for_those_ticked(place):
    assert "Rejected" in send(place, "Keep their access", "?cause=app_off").text
    assert standings(place) == {"rejected": 10, "waiting": 5}
    send(place, "Suspend 5 people")
    assert standings(place) == {"rejected": 10, "approved": 5}
    assert len(place.fakes.queue.requests) == 1
    send(place, "approve:ticked", user=["u0", "u1"])
    assert standings(place) == {"rejected": 8, "approved": 7}
    assert "The decision was withdrawn" in send(place, "withdraw:ticked", user=["u0"]).text
    assert standings(place) == {"rejected": 8, "approved": 6, "withdrawn": 1}
    assert 'Rejected by <span class="address">admin@' in place.browser().open(f"{HOME}/holds/{DIGEST}").text
    assert "Rejected: 8" in place.browser().open(f"{HOME}/holds").text


def test_what_was_rejected_is_approved_after_all_and_taken_back_by_the_list_that_shows_it(place):
    send(place, "Keep their access")
    send(place, "Suspend 15 people", "?standing=rejected")
    assert standings(place) == {"approved": 15}
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert "15 approved</h1>" in shown.text
    assert "The approval ends" in shown.text
    shown.send("Decide", "Withdraw 15 decisions")
    assert standings(place) == {"withdrawn": 15}


@pytest.mark.parametrize("query", ["", "?cause=app_off", "?q=u3"])
def test_a_decision_about_another_number_than_the_button_said_is_none(place, query):
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}{query}")
    send(place, "reject:ticked", user=["u3"])
    late = shown.send("Decide", "approve")
    assert (late.status, standings(place)) == (412 if query != "?q=u3" else 400, {"rejected": 1, "waiting": 14})


def test_whoever_ticks_does_not_overrule_what_somebody_decided_since(place):
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    place.fakes.clock.advance(SECOND)
    send(place, "reject:ticked", user=["u3"])
    late = shown.send("Decide", "approve:ticked", user=["u2", "u3"])
    assert (late.status, standings(place)) == (412, {"rejected": 1, "waiting": 14})
    assert "has decided about 1 of them since" in late.text
    place.fakes.clock.advance(SECOND)
    send(place, "approve:ticked", user=["u2", "u3"])
    assert standings(place) == {"approved": 2, "waiting": 13}


def test_people_are_told_by_name_unit_and_role_and_found_by_them(place):
    listed = {
        "u3": Listed("ada@example.com", "Ada Lovelace", Presence.ACTIVE, "/Sales/EMEA", administers=True),
        "u4": Listed("alan@example.com", "Alan Turing", Presence.ACTIVE, "/Sales"),
    }
    connection = place.fakes.services.connections.change("c1", lambda known: replace(known, roster_layout="1"))
    entries = {name: Entry(user_id=name, email=each.email, status=Status.ACTIVE) for name, each in listed.items()}
    place.fakes.store.shards["c1", 0] = (1, entries)
    place.fakes.services.people.put(connection, START, listed, entries)
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert "100 percent of the 2 people with access" in shown.text
    assert ("Administrators <b>1</b>" in shown.text, "/Sales/<wbr>EMEA" in shown.text) == (True, True)
    send(place, "Suspend 1 person", "?q=love")
    send(place, "Keep their access", "?unit=%2FSales")
    told = place.fakes.services.holds.get("c1", DIGEST)
    assert {member.resource: verdict.standing.value for member, verdict in told.each() if verdict.at} == {
        "u3": "approved",
        "u4": "rejected",
    }
    [item] = json.loads(place.open(f"/api{HOME}/holds/{DIGEST}?administrators=yes").text)["items"]
    assert (item["name"], item["org_unit"], item["administrator"], item["standing"]) == (
        "Ada Lovelace",
        "/Sales/EMEA",
        True,
        "approved",
    )
    assert "Not known whether administrators <b>13</b>" in shown.text
    unknown = json.loads(place.open(f"/api{HOME}/holds/{DIGEST}?administrators=unknown").text)["items"]
    assert [each["administrator"] for each in unknown] == 13 * [None]
    for search, told in {"ada": "yes", "alan": "", "u5": "not known"}.items():
        [_, line] = place.open(f"/api{HOME}/holds/{DIGEST}/users.csv?search={search}").text.splitlines()
        assert line.split(",")[3] == told
    lines = place.open(f"/api{HOME}/holds/{DIGEST}/users.csv?search=alan").text.splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [["Alan Turing", "alan@example.com", "/Sales"]]


@pytest.mark.parametrize(
    ("button", "filled"),
    [
        ("approve:ticked", {}),
        ("approve:ticked", {"user": "u99"}),
        ("approve:15", {"cause": "deleted"}),
        ("approve:15", {"unit": "/Nowhere"}),
        ("approve:15", {"q": "nobody"}),
        ("approve:", {}),
        ("approve:²", {}),
        ("everybody:15", {}),
    ],
)
def test_a_decision_about_nobody_is_refused(place, button, filled):
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    pairs = [("csrf", dict(shown.form("Decide").fields)["csrf"])]
    pairs += [*({"do": button} | filled).items()]
    answer = shown.browser.send("post", f"{HOME}/holds/{DIGEST}", pairs)
    assert answer.status == 400
    assert standings(place) == {"waiting": 15}


def test_what_is_carried_out_is_shown_and_not_decided_any_more(place):
    place.fakes.services.holds.change(
        "c1", DIGEST, lambda known: known.moved(lambda *_: Standing.DONE, START, "a@x.org")
    )
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert ("Over" in shown.text, [form for form in shown.forms if form.label == "Decide"]) == (True, [])


def test_each_decision_is_a_line_of_the_audit_though_the_plan_stands_as_before(place):
    send(place, "reject")
    for user_id in ("u0", "u1", "u2"):
        send(place, "approve:ticked", user=[user_id])
    told = [event.changed["held plan"] for event in place.fakes.store.events["c1"].values()]
    assert told == ["rejected", "approved", "approved", "approved"]


def test_an_empty_list_of_users_is_not_everybody(place):
    answer = place.asking()(
        "POST",
        f"/api{HOME}/holds/{DIGEST}",
        b'{"decision": "approve", "users": []}',
        {"Content-Type": "application/json"},
    )
    assert (answer.status, standings(place)) == (400, {"waiting": 15})


@pytest.mark.parametrize(("path", "passes"), [(f"{HOME}/holds", 1), (f"/api{HOME}/holds", 0)])
def test_a_page_of_a_large_plan_goes_through_its_members_once_at_most(path, passes, monkeypatch):
    place, number, seen = Place(Connection(id="c1", state=State.ON)), 5000, []
    members = tuple(Member(resource=f"u{each}", action="suspend", trigger="app_off") for each in range(number))
    place.fakes.services.holds.put("c1", Hold(digest=DIGEST, raised_at=START, members=members, reason="too many"))
    each = Hold.each

    def counted(hold: Hold) -> Iterator[tuple[Member, Verdict]]:
        for member, verdict in each(hold):
            seen.append(member)
            yield member, verdict

    monkeypatch.setattr(Hold, "each", counted)
    shown = place.open(f"{path}/{DIGEST}")
    assert ("u24" in shown.text, "u4999" in shown.text) == (True, False)
    assert len(seen) <= passes * number + 50
