"""An administrator's way through the console, in a browser, against real functions: from the wizard to the deletion."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import GROUP, System

HOME = f"/connections/{CONNECTION}"
PATIENCE = 40_000  # milliseconds: what real functions need on a busy machine


@pytest.fixture
def page(system, open_page) -> Page:
    """The list of apps, as a super administrator sees it."""
    shown = open_page(base_url=system.world.console_url)
    shown.goto("/")
    return shown


@pytest.fixture
def provisioned(system) -> System:
    """A connection that is on, everybody provisioned, and shown: the console shows for seconds what it read before."""
    system.restored()
    listed = f"/connections/{CONNECTION}/users"
    wait_for(lambda: len(system.api("GET", listed).json()["items"]) == len(system.active()), "everybody in the list")
    return system


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def more(page: Page, name: str) -> None:
    """Follow a link of the menu."""
    page.get_by_role("main").locator("summary").filter(has_text="More").click()
    follow(page, name)


def follow(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("link", name=name, exact=True).click()


def section(page: Page, name: str) -> None:
    """Go to a page of the connection by its menu, which also says how much waits there."""
    page.get_by_role("navigation").get_by_role("link", name=re.compile(rf"^{name}( [\d,]+)?$")).click()


def heading(page: Page, name: str) -> Locator:
    return page.get_by_role("heading", level=1, name=name, exact=True)


def count(page: Page, name: str) -> Locator:
    """Return a counter of a page by its label, with what it counts."""
    return page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True)).get_by_role("strong")


def row(page: Page, table: str, text: str | re.Pattern[str]) -> Locator:
    """Return the rows of a table that have a text."""
    return page.get_by_role("table", name=table, exact=True).get_by_role("row").filter(has_text=text)


def announced(page: Page, text: str) -> None:
    """Say that a page tells this, to screen readers too."""
    expect(page.get_by_role("status").filter(has_text=text)).to_be_attached(timeout=PATIENCE)


def fill_in(page: Page, token: str, endpoint: str) -> None:
    page.get_by_label("Access token").fill(token)
    page.get_by_label("Endpoint URL").fill(endpoint)
    page.get_by_label("Name of this connection").fill("Keeper of Acme")
    press(page, "Continue")


def test_from_the_wizard_to_provisioned_users(system, page, open_page):
    follow(page, "Set up autoprovisioning")
    expect(page.get_by_text("Show Node Structure")).to_be_visible()

    fill_in(page, "not-the-token-0123456789", system.keeper.endpoint)
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("Nothing was saved")
    expect(refusal).to_be_focused()
    expect(page.get_by_label("Access token")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Endpoint URL")).to_have_value(system.keeper.endpoint)
    assert system.services().connections.all() == []
    open_page.forgive("400")

    fill_in(page, system.keeper.token, system.keeper.endpoint)
    expect(heading(page, "Attribute mapping")).to_be_visible()
    announced(page, "saved as a draft")
    map_job_titles(page)
    choose_the_group(page)
    expect(heading(page, "Deprovisioning")).to_be_visible()
    left = page.get_by_role("group", name="When the app is turned off for a user")
    left.get_by_role("combobox", name="Suspend their account").select_option("after 7 days")
    left.get_by_role("combobox", name="Delete their account").select_option("after another number of days")
    left.get_by_role("textbox", name="Days until: Delete their account").fill("90")
    press(page, "Continue")
    expect(page.get_by_text("suspend after 7 days, delete after 90 days")).to_be_visible()
    press(page, "Finish")

    expect(count(page, "Created")).to_have_text("12", timeout=PATIENCE)
    announced(page, "The preview is ready.")
    expect(row(page, "Users concerned", "person7@example.com")).to_contain_text("Created")
    assert system.keeper.accounts() == []

    turn_on_and_watch(system, page)
    usage_tells(page, "Create User By Auto Provisioning", "12")
    assert len(system.active()) == 12


def test_a_pilot_from_selected_people_to_everybody(system, page, open_page, presentable):
    system.connect()
    page.goto(f"{HOME}/turn-off")
    press(page, "Turn off")
    page.get_by_role("main").locator("summary").filter(has_text="More").click()
    press(page, "Preview turning on")
    expect(count(page, "Created")).to_have_text("12", timeout=PATIENCE)
    for number in (3, 7):
        page.get_by_label(f"Choose person{number}@example.com for the pilot").check()
    presentable(page)
    press(page, "Choose selected people for a pilot")
    people = page.get_by_label("Chosen people", exact=True)
    expect(people).to_have_value("person3@example.com\nperson7@example.com")
    presentable(page)
    press(page, "Turn on for chosen people only")
    announced(page, "on for the chosen people only")
    expect(page.get_by_text("Syncing active for 2 chosen people only.")).to_be_visible()
    presentable(page)
    wait_for(lambda: system.active() == {"u3", "u7"}, "their accounts", 40)
    wait_for(lambda: not system.services().runs.open(CONNECTION), "the end of the run", 40)

    follow(page, "Change who")
    people.fill("person3@example.com\nnobody@example.com")
    press(page, "Save")
    expect(page.get_by_role("alert")).to_be_focused()
    open_page.forgive("400")
    presentable(page)
    page.on("dialog", lambda dialog: dialog.accept())  # what was typed is not saved
    page.goto(HOME)
    follow(page, "Turn on for everybody")
    press(page, "Preview turning on for everybody")
    expect(count(page, "Created")).to_have_text("10", timeout=PATIENCE)
    follow(page, "Turn on for everybody and create 10 accounts")
    press(page, "Turn on for everybody and create 10 accounts")
    announced(page, "on for everybody")
    expect(page.get_by_role("heading", name="Pilot")).to_have_count(0)
    wait_for(lambda: len(system.active()) == 12, "everybody", 40)


def map_job_titles(page: Page) -> None:
    """Add a row to the mapping."""
    press(page, "Add a row")
    added = page.get_by_role("group", name="Row 8", exact=True)
    added.get_by_label("Google directory attribute").select_option("Employee Details > Job title")
    added.get_by_label("Keeper attribute").select_option("title")
    press(page, "Continue")


def choose_the_group(page: Page) -> None:
    """Find the scope group by its first letters, while they are typed, and add it."""
    page.get_by_label("Search groups").press_sequentially("kee")
    press(page, "Add Keeper users")
    expect(page.get_by_role("list", name="Chosen groups")).to_contain_text(GROUP)
    press(page, "Continue")


def turn_on_and_watch(system: System, page: Page) -> None:
    """Turn on, and see the run end on the page that showed it running."""
    system.freeze("apply_changes")
    follow(page, "Turn on and create 12 accounts")
    press(page, "Turn on and create 12 accounts")
    announced(page, "Autoprovisioning is on.")
    wait_for(lambda: _batches_out(system), "the batch", 40)
    section(page, "Health")
    expect(page.get_by_role("progressbar", name="The running reconciliation")).to_be_visible()
    announced(page, "A reconciliation is running.")
    system.thaw("apply_changes")
    announced(page, "No reconciliation is running.")
    expect(row(page, "Latest runs, newest first", "12 created")).to_contain_text("done")
    expect(page.get_by_role("progressbar")).to_have_count(0)


def _batches_out(system: System) -> bool:
    [connection] = system.services().connections.all()
    runs = system.services().runs.open(connection.id)
    return any(run.state.value != "observing" for run in runs)


def usage_tells(page: Page, event: str, number: str) -> None:
    """See a count on the Usage page, and the chart drawn."""
    section(page, "Usage")
    expect(row(page, "Usage by admin log event", event)).to_contain_text(number)
    drawn = "!!window.Chart && !!Chart.getChart(document.querySelector('canvas'))"
    page.wait_for_function(drawn)


def test_why_and_provision_now(provisioned, page):
    page.goto(HOME)
    section(page, "People")
    page.get_by_label("Name or address").fill("given5")
    press(page, "Search")
    follow(page, "Given5 Family5")
    expect(page.get_by_role("main")).to_contain_text(f"In scope. Member of {GROUP}")
    account = page.get_by_role("region", name="Account in Keeper", exact=True).last
    expect(account).to_contain_text(provisioned.account("u5")["id"], timeout=PATIENCE)
    announced(page, "Done.")

    provisioned.directory.weather(lose=True)
    provisioned.directory.patch("u5", {"name": {"familyName": "Renamed"}})
    page.reload()
    expect(row(page, "Account in Keeper", "name.familyName")).to_contain_text("differs", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Mapped values")).to_be_hidden()
    press(page, "Provision now")
    expect(heading(page, "Provision now")).to_be_visible()
    announced(page, "Done.")
    expect(row(page, "Account in Keeper", "name.familyName")).to_contain_text("Renamed")
    steps = page.get_by_role("region", name="What was done").get_by_role("listitem")
    expect(steps.filter(has_text="Recorded as: Update Auto Provisioned User")).to_have_count(1)
    assert provisioned.account("u5")["name"]["familyName"] == "Renamed"


def test_an_edit_of_the_scope_is_previewed_then_saved(provisioned, page):
    provisioned.directory.control("PUT", "state", _with_a_smaller_group(provisioned))
    page.goto(HOME)
    follow(page, "Provisioning scope")
    press(page, "Remove Keeper users")
    page.get_by_label("Search groups").fill("pi")
    press(page, "Add Pilot users")
    press(page, "Preview changes")

    expect(count(page, "Suspended")).to_have_text("4", timeout=PATIENCE)
    page.get_by_role("link", name="4 Suspended").click()
    expect(row(page, "Users concerned", "person11@example.com")).to_contain_text("Suspended")
    assert len(provisioned.active()) == 12
    press(page, "Save and suspend 4 people")
    announced(page, "Saved.")
    expect(page.get_by_text("Group Pilot users (pilot@example.com)")).to_be_visible()
    wait_for(lambda: len(provisioned.active()) == 8, "the suspensions", 40)


def test_units_are_found_in_a_tree_by_keyboard_and_chosen(system, page, presentable):
    system.connect()
    for name, parent in (("EU", "/Sales"), ("North", "/Sales/EU"), ("Legal", "/"), ("EU", "/Legal")):
        system.directory.call("POST", "customer/my_customer/orgunits", {"name": name, "parentOrgUnitPath": parent})
    page.goto(f"{HOME}/scope")
    tree = page.get_by_role("group", name="Organizational units").locator("#units")
    expect(tree.get_by_role("checkbox", name="EU")).to_have_count(0)  # all are closed
    tree.get_by_role("checkbox", name="Legal").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # opens what is below
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(tree.get_by_role("checkbox", name="EU")).to_be_checked()

    page.get_by_label("Search organizational units").fill("nor")
    announced(page, "1 unit matches. Chosen and not shown: 1.")
    expect(tree.get_by_role("checkbox", name="North")).to_be_visible()
    expect(tree.get_by_role("checkbox", name="Legal")).to_be_hidden()
    tree.get_by_role("checkbox", name="North").check()
    page.get_by_label("Search organizational units").press("Enter")  # does not send the form
    for width in (375, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    presentable(page)
    page.get_by_label("Search organizational units").fill("")
    expect(tree.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="match")).to_have_count(0)
    press(page, "Preview changes")
    for path in ("/Legal/EU", "/Sales/EU/North"):
        expect(page.get_by_text(f"Organizational unit {path}")).to_be_visible(timeout=PATIENCE)


def _with_a_smaller_group(system: System) -> dict[str, Any]:
    state = system.directory.control("GET", "state")
    members = [member for member in next(iter(state["members"].values())) if member["id"] in _PILOT]
    state["groups"].append({"id": "g-pilot", "email": "pilot@example.com", "name": "Pilot users"})
    state["members"]["g-pilot"] = members
    return state


_PILOT = {f"u{number}" for number in range(8)}


def test_a_revoked_token_pauses_and_reauthorizing_catches_up(provisioned, page):
    provisioned.keeper.rotate()
    provisioned.directory.patch("u2", {"name": {"familyName": "Patience"}})
    wait_for(lambda: provisioned.state() == "paused", "the pause")
    page.reload()
    expect(page.get_by_role("cell", name="Paused: needs reauthorization", exact=True)).to_be_visible()
    follow(page, "Keeper")
    page.get_by_role("link", name="Reauthorize", exact=True).first.click()
    assert page.url == f"{provisioned.world.reauthorize_url}/?connection={CONNECTION}"
    page.get_by_label("Access token").fill(provisioned.keeper.token)
    press(page, "Re-authorize")
    announced(page, "Keeper accepts the access token")
    follow(page, "Show health")
    provisioned.await_account("u2", lambda account: account["name"]["familyName"] == "Patience", 40)
    page.goto("/")
    expect(page.get_by_role("cell", name="On", exact=True)).to_be_visible()


def test_a_held_plan_is_seen_and_approved(provisioned, page):
    page.goto(HOME)
    follow(page, "Name and limits")
    page.get_by_label("Users", exact=True).fill("1")
    page.get_by_label("Percent of active users").fill("1")
    press(page, "Save")
    announced(page, "Saved.")
    provisioned.directory.weather(lose=True)
    for number in range(1, 5):
        provisioned.directory.patch(f"u{number}", {"suspended": True})
    wait_for(lambda: provisioned.sync() and provisioned.services().holds.standing(CONNECTION), "the hold", 40)

    page.goto("/")
    expect(page.get_by_role("cell", name="Held: waiting for approval", exact=True)).to_be_visible()
    follow(page, "Keeper")
    section(page, "Approvals")
    page.get_by_role("list", name="Held plans, newest first").get_by_role(
        "link", name="4 people would lose access"
    ).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("4 people would lose access")
    expect(row(page, "Those affected", "person4@example.com")).to_contain_text("Suspended in the directory")
    page.get_by_label("Name or address").fill("person4@")
    page.keyboard.press("Enter")
    press(page, "Suspend 1 person")
    announced(page, "Approved: a reconciliation is requested")
    expect(page.get_by_role("heading", level=1)).to_have_text("3 people would lose access")
    wait_for(lambda: not provisioned.account("u4")["active"], "the suspension", 40)
    [held] = provisioned.services().holds.standing(CONNECTION)
    wait_for(lambda: provisioned.services().holds.get(CONNECTION, held.digest).standings().get("done"), "its end", 40)
    press(page, "Keep their access")
    announced(page, "Rejected: these accounts stay as they are")
    expect(page.get_by_role("button", name="Withdraw 3 decisions")).to_be_visible()
    expect(page.get_by_text("is asked again")).to_be_visible()


def test_turned_off_then_deleted_with_the_audit_left(provisioned, page):
    page.goto(HOME)
    more(page, "Turn off")
    press(page, "Turn off")
    announced(page, "Autoprovisioning is off.")
    expect(page.get_by_text("Inactive: no changes are made")).to_be_visible()
    accounts = provisioned.keeper.accounts()

    more(page, "Delete configuration")
    page.get_by_label("Type the name of the connection to confirm").fill("Keeper")
    press(page, "Delete configuration")
    announced(page, "The configuration is being deleted, as soon as no change is in flight.")
    wait_for(lambda: provisioned.state() == "gone", "the deletion")
    page.goto("/")
    expect(page.get_by_role("heading", name="Autoprovisioning isn't configured")).to_be_visible()
    assert provisioned.keeper.accounts() == accounts
    follow(page, "Activity of Keeper")
    events = page.get_by_role("list", name="Activity, newest first").get_by_role("listitem")
    expect(events.filter(has_text="Deleted the configuration")).to_have_count(1)
    expect(events.filter(has_text="person3@example.com got an account")).to_have_count(1)


def test_the_second_of_two_administrators_learns_of_the_first(provisioned, page, open_page, presentable):
    second = open_page(base_url=provisioned.world.console_url)
    for each in (page, second):
        each.goto(f"{HOME}/limits")
    page.get_by_label("Name of this connection").fill("Named by the first")
    press(page, "Save")
    announced(page, "Saved.")
    second.get_by_label("Name of this connection").fill("Named by the second")
    press(second, "Save")
    told = second.get_by_role("alert")
    expect(told).to_be_focused()
    expect(told.get_by_role("listitem")).to_contain_text("Keeper →, then Named by the first")
    expect(second.get_by_label("Name of this connection")).to_have_value("Named by the second")
    open_page.forgive("412")
    presentable(second)
    follow(second, "Discard it and show the current settings")
    expect(second.get_by_label("Name of this connection")).to_have_value("Named by the first")
    assert provisioned.services().connections.get(CONNECTION).settings.name == "Named by the first"


def test_without_scripts_the_forms_do_the_same(system, open_page):
    page = open_page(base_url=system.world.console_url, java_script_enabled=False)
    page.goto("/connections/new")
    fill_in(page, system.keeper.token, system.keeper.endpoint)
    press(page, "Add a row")
    press(page, "Remove row 8")
    press(page, "Continue")
    page.get_by_label("Search groups").fill("kee")
    press(page, "Search")
    press(page, "Add Keeper users")
    press(page, "Continue")
    press(page, "Continue")
    press(page, "Finish")
    # The page asks again by itself, by a refresh in its head.
    expect(count(page, "Created")).to_have_text("12", timeout=PATIENCE)
    follow(page, "Turn on and create 12 accounts")
    press(page, "Turn on and create 12 accounts")
    expect(page.get_by_text("Syncing active")).to_be_visible()
    wait_for(lambda: len(system.active()) == 12, "the accounts", 40)
    section(page, "People")
    page.get_by_label("Name or address").fill("person3")
    press(page, "Search")
    follow(page, "Given3 Family3")
    press(page, "Look up in Keeper")
    expect(row(page, "Account in Keeper", "SCIM id")).to_contain_text(system.account("u3")["id"], timeout=PATIENCE)
    section(page, "Usage")
    expect(row(page, "Usage by admin log event", "Create User By Auto Provisioning")).to_contain_text("12")
    expect(page.locator("figure noscript")).to_be_visible()  # which no role or text finds: it is text to the parser
