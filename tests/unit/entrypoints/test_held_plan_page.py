"""The page of a held plan: decided as a whole, by cause, for those ticked, and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict
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


def send(place: Place, button: str, **filled):
    return place.browser().open(f"{HOME}/holds/{DIGEST}").send("Decide", button, confirmed="yes", **filled)


def test_a_plan_is_decided_by_cause_then_the_rest_then_for_those_ticked(place):
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert "Out of scope: 10 changes waiting" in shown.text
    assert "Waiting for a decision" in shown.text
    assert "Rejected" in send(place, "reject", about="cause:app_off").text
    assert standings(place) == {"rejected": 10, "waiting": 5}
    send(place, "approve", about="")
    assert standings(place) == {"rejected": 10, "approved": 5}
    assert len(place.fakes.queue.requests) == 1
    send(place, "approve", about="users", user=["u0", "u1"])
    assert standings(place) == {"rejected": 8, "approved": 7}
    assert "The decision was withdrawn" in send(place, "withdraw", about="users", user=["u0"]).text
    assert standings(place) == {"rejected": 8, "approved": 6, "withdrawn": 1}
    assert "Rejected by admin@example.com" in place.browser().open(f"{HOME}/holds/{DIGEST}").text
    assert "Rejected: 8" in place.browser().open(f"{HOME}/holds").text


@pytest.mark.parametrize(
    "filled",
    [
        {"about": "users"},
        {"about": "users", "user": "u99"},
        {"about": "cause:deleted"},
        {"about": "cause:"},
        {"about": "nobody"},
    ],
)
def test_a_decision_about_nobody_is_refused(place, filled):
    assert send(place, "approve", **filled).status == 400
    assert standings(place) == {"waiting": 15}


def test_what_is_carried_out_is_shown_and_not_decided_any_more(place):
    place.fakes.services.holds.change(
        "c1", DIGEST, lambda known: known.moved(lambda *_: Standing.DONE, START, "a@x.org")
    )
    shown = place.browser().open(f"{HOME}/holds/{DIGEST}")
    assert ("Over" in shown.text, [form for form in shown.forms if form.label == "Decide"]) == (True, [])


def test_each_decision_is_a_line_of_the_audit_though_the_plan_stands_as_before(place):
    send(place, "reject", about="")
    for user_id in ("u0", "u1", "u2"):
        send(place, "approve", about="users", user=[user_id])
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
