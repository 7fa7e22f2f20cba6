"""Who has access, over the running cloud: the list in the API and on the page, as of seconds ago."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_api_activity import everything, rows
from tests.functional.test_pages import HOME, browser
from tests.support.system import GROUP, System

PEOPLE = f"/connections/{CONNECTION}/users"


@pytest.fixture
def known(system: System) -> System:
    """A system whose second full run has kept everybody with an account."""
    system.restored()
    system.sync()
    return system


def person(system: System, search: str) -> dict[str, Any]:
    [found] = system.api("GET", f"{PEOPLE}?search={search}").json()["items"]
    return dict(found)


def test_everybody_is_listed_page_by_page_with_a_reason(known):
    listed = known.api("GET", PEOPLE).json()
    assert (listed["total"], listed["counts"]["active"], listed["cursor"]) == (12, 12, "")
    assert listed["names_at"] < listed["at"]
    assert everything(known, PEOPLE, limit=5) == listed["items"]
    assert [each["name"] for each in listed["items"]] == sorted(each["name"] for each in listed["items"])
    first = listed["items"][0]
    assert (first["google"], first["keeper"], first["why"]) == ("active", "active", f"In {GROUP}")


def test_what_changes_is_told_within_seconds_with_the_name_kept(known):
    assert person(known, "given3+family3")["keeper"] == "active"
    known.directory.patch("u3", {"suspended": True})
    known.await_account("u3", lambda account: not account["active"])
    told = wait_for(lambda: (found := person(known, "given3"))["keeper"] == "suspended" and found, "the change", 20)
    assert (told["google"], told["email"], told["why"]) == ("suspended", "person3@example.com", "Suspended in Google")
    suspended = known.api("GET", f"{PEOPLE}?state=suspended").json()
    assert [each["user_id"] for each in suspended["items"]] == ["u3"]
    assert "Suspended in Google" in browser(known).open(f"{HOME}/users?q=given3").text


def test_the_list_is_downloaded_as_it_is_shown(known):
    downloaded = known.api("GET", f"{PEOPLE}.csv?search=person1")
    assert downloaded.headers["Content-Disposition"] == f'attachment; filename="people-{CONNECTION}.csv"'
    wanted = {each["email"] for each in everything(known, PEOPLE, search="person1")}
    assert {row["e-mail"] for row in rows(downloaded.text)} == wanted
    page = browser(known).open(f"{HOME}/users?q=person1")
    assert f"/api/v1{HOME}/users.csv?search=person1" in page.links()


def test_a_cursor_that_is_none_is_refused(known):
    for cursor in ("bm8", "!", "WzEsMl0"):
        refused = known.api("GET", f"{PEOPLE}?cursor={cursor}")
        assert (refused.status, refused.json()["field"]) == (400, "cursor")
    assert known.api("GET", f"{PEOPLE}?state=dancing").json()["field"] == "state"


def test_who_is_provisioned_is_shown_though_the_directory_cannot_be_searched(known):
    known.directory.fault(match={"method": "users.list"}, status=503, times=None)
    page = browser(known).open(f"{HOME}/users?q=given3")
    assert (page.status, f"{HOME}/users/u3" in page.links()) == (200, True)
    assert "The directory could not be searched" in page.text


def test_somebody_is_found_from_anywhere_without_a_script(known):
    found = browser(known).open("/").browser.open("/find?q=given7")
    assert f"{HOME}/users/u7" in found.links()
    assert "Nobody who is provisioned" in browser(known).open("/find?q=zzz").text
