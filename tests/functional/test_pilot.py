"""A pilot on the deployed functions: by the pages, without JavaScript, and by the API."""

from __future__ import annotations

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_pages import HOME, browser, connection_of
from tests.support.plain_browser import Page
from tests.support.system import System, person

ONE = f"/connections/{CONNECTION}"


@pytest.fixture
def switched_off(system):
    """A connection that is off, and under which nobody has been provisioned yet."""
    system.connect()
    assert system.api("POST", f"{ONE}/turn-off").status == 200
    return system


def address(number: int) -> str:
    return str(person(number)["primaryEmail"])


def in_step(system: System) -> set[str]:
    """Let a run do what there is to do; return who has an account."""
    wait_for(lambda: not system.services().runs.open(CONNECTION), "the run that was requested", 30)
    system.sync()
    return {account["externalId"] for account in system.keeper.accounts()}


def previewed(system: System, page: Page) -> Page:
    """Wait for the preview that a page shows."""

    def done() -> bool:
        return bool(system.api("GET", page.address).json()["state"] == "done")

    wait_for(done, "the preview", 30)
    return browser(system).open(page.address)


def test_people_are_selected_in_a_preview_and_the_pilot_ends_with_the_number_in_the_button(switched_off):
    overview = browser(switched_off).open(HOME)
    preview = previewed(switched_off, overview.send("Preview", "Preview turning on"))
    chosen = preview.send("Pilot", "Choose selected people for a pilot", person=[address(1), address(2)])
    assert dict(chosen.form("Pilot").fields)["people"].split() == [address(1), address(2)]
    overview = chosen.send("Pilot", "Turn on for chosen people only")
    assert "Autoprovisioning is on for the chosen people only" in overview.text
    assert in_step(switched_off) == {"u1", "u2"}

    pages = {path: browser(switched_off).open(path).text for path in ("/", HOME, f"{HOME}/health", f"{HOME}/users")}
    assert "On for chosen people only" in pages["/"]
    assert "Syncing active for 2 chosen people only." in pages[HOME]
    for path in (HOME, f"{HOME}/health", f"{HOME}/users"):
        assert "A pilot: on for 2 chosen people only. Nobody else is created" in pages[path], path
    why = browser(switched_off).open(f"{HOME}/users/u3").text
    assert "The user is outside the pilot, and not operated on" in why

    ask = browser(switched_off).open(f"{HOME}/turn-on")
    assert "Turn on for everybody?" in ask.text
    preview = previewed(switched_off, ask.send("Preview", "Preview turning on for everybody"))
    assert f"{HOME}/turn-on?preview=" in " ".join(preview.links())
    confirm = browser(switched_off).open(next(link for link in preview.links() if "turn-on?preview=" in link))
    assert "10 accounts would be created" in confirm.text
    overview = confirm.send("Turn on", "Turn on for everybody and create 10 accounts")
    assert "Autoprovisioning is on for everybody" in overview.text
    assert "pilot" not in browser(switched_off).open(HOME).text.casefold().partition('<h2 id="latest-heading"')[0]
    assert in_step(switched_off) == {f"u{number}" for number in range(12)}


def test_who_a_pilot_is_for_is_edited_by_two_and_what_was_typed_is_kept(switched_off):
    page = browser(switched_off).open(f"{HOME}/pilot")
    wrong = page.send("Pilot", "save", people=f"{address(1)}\nnobody@example.com")
    assert (wrong.status, connection_of(switched_off).pilot) == (400, None)
    assert "#f-people" in wrong.links()
    assert "nobody@example.com" in dict(wrong.form("Pilot").fields)["people"]
    wrong.send("Pilot", "save", people=f"{address(1)}, u2")
    assert connection_of(switched_off).pilot == {"u1": address(1), "u2": address(2)}

    mine, theirs = (browser(switched_off).open(f"{HOME}/pilot") for _ in range(2))
    theirs.send("Pilot", "save", people=address(3))
    late = mine.send("Pilot", "save", people=address(4))
    assert (late.status, connection_of(switched_off).pilot) == (412, {"u3": address(3)})
    assert "chosen people" in late.text
    assert dict(late.form("Pilot").fields)["people"] == address(4)
    late.send("Pilot", "save")
    assert connection_of(switched_off).pilot == {"u4": address(4)}
    late = browser(switched_off).open(f"{HOME}/pilot")
    assert "Provision now" not in browser(switched_off).open(f"{HOME}/users/u1").text
    assert "Provision now" in browser(switched_off).open(f"{HOME}/users/u4").text
    off = browser(switched_off).open(f"{HOME}/turn-off").send("Turn off", "Turn off")
    assert "Inactive" in off.text
    assert connection_of(switched_off).pilot is None
    ended = late.send("Pilot", "save")
    assert (ended.status, connection_of(switched_off).pilot) == (412, None)
    changes = ended.text.partition("Another administrator has changed this connection")[2]
    assert "<code>chosen people</code>" in changes.partition("What you entered")[0]


def test_a_pilot_without_a_preview_is_not_ended_on_the_page(switched_off):
    browser(switched_off).open(f"{HOME}/pilot").send("Pilot", "save", people="u1")
    page = browser(switched_off).open(f"{HOME}/turn-on")
    csrf = dict(page.form("Preview").fields)["csrf"]
    again = browser(switched_off).send("post", f"{HOME}/turn-on", [("csrf", csrf), ("preview", "")])
    assert ("Turn on for everybody?" in again.text, connection_of(switched_off).state_word) == (True, "pilot")


def test_the_api_turns_on_for_chosen_people_and_for_everybody(switched_off):
    etag = switched_off.api("GET", ONE).headers["ETag"]
    body = {"people": [address(1)]}
    assert switched_off.api("POST", f"{ONE}/pilot", body).status == 428
    pilot = switched_off.api("POST", f"{ONE}/pilot", body, {"If-Match": etag}).json()
    assert (pilot["state"], pilot["shown_state"]) == ("pilot", "On for chosen people only")
    assert pilot["pilot"] == [{"user_id": "u1", "email": address(1)}]
    assert switched_off.api("GET", "/connections").json()["items"][0]["state"] == "pilot"
    assert switched_off.api("POST", f"{ONE}/pilot", body, {"If-Match": etag}).status == 412
    for people, field in (([], "people"), (["x"] * 201, "people"), (["nobody@example.com"], "people")):
        etag = switched_off.api("GET", ONE).headers["ETag"]
        refused = switched_off.api("POST", f"{ONE}/pilot", {"people": people}, {"If-Match": etag})
        assert (refused.status, refused.json()["field"]) == (400, field)
    assert "outside the pilot" in switched_off.api("GET", f"{ONE}/users/u2").text
    preview = switched_off.api("POST", f"{ONE}/previews", {"everybody": True}, {"If-Match": etag}).json()
    assert preview["everybody"] is True
    before = switched_off.api("GET", ONE).headers["ETag"]
    assert switched_off.api("POST", f"{ONE}/turn-off").json()["state"] == "off"
    assert switched_off.api("POST", f"{ONE}/pilot", body, {"If-Match": before}).status == 412
    assert switched_off.api("POST", f"{ONE}/pilot", body, {"If-Match": "*"}).json()["state"] == "pilot"
    everybody = switched_off.api("POST", f"{ONE}/turn-on", {"preview": preview["id"]}).json()
    assert (everybody["state"], everybody["pilot"]) == ("on", None)
    etag = switched_off.api("GET", ONE).headers["ETag"]
    assert switched_off.api("POST", f"{ONE}/pilot", body, {"If-Match": etag}).status == 409


def test_a_run_says_for_whom_it_is(switched_off):
    switched_off.api("POST", f"{ONE}/pilot", {"people": ["u1"]}, {"If-Match": "*"})
    assert in_step(switched_off) == {"u1"}
    assert switched_off.sync()["pilot"] == 1
