"""The console's pages through the proxy, without JavaScript: who sees what, and what forms do."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import Any

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_reauthorize import staff
from tests.support.plain_browser import Browser, Page
from tests.support.system import GROUP_ID, System
from tests.support.wire import Tap

DELEGATED = "delegated@example.com"
HOME = f"/connections/{CONNECTION}"
PAGES = (
    "/",
    "/connections/new",
    HOME,
    *(
        f"{HOME}/{name}"
        for name in "authorization mapping scope deprovisioning limits teams choose-teams turn-off delete".split()
    ),
    *(f"{HOME}/{name}" for name in "usage failures users users?q=person users/u1 holds audit health".split()),
    f"{HOME}/unprovisioned",
    f"{HOME}/keeper-changes",
    f"{HOME}/audit?name=Create+User+By+Auto+Provisioning&user=u1&since=2026-01-01&until=2099-12-31",
)


def browser(system: System, who: str = "") -> Browser:
    return Browser(
        lambda method, path, body, headers: system.through_proxy(method, path, body, headers, who),
        system.world.console_url,
    )


def connection_of(system: System, connection_id: str = CONNECTION):
    return system.services().connections.get(connection_id)


@pytest.mark.parametrize("path", PAGES)
def test_a_super_administrator_sees_every_page(settled, path):
    page = browser(settled).open(path)
    assert page.status == 200
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert settled.keeper.token not in page.text


@pytest.mark.parametrize("path", PAGES)
def test_a_delegated_administrator_sees_every_page_and_no_button_that_changes_anything(settled, path):
    staff(settled)
    page = browser(settled, DELEGATED).open(path)
    if path.endswith("delete"):
        assert "Keeper accounts stay as they are" in page.text
    assert page.status == 200
    forms = [found["action"] for tag, found in page.tags if tag == "form" and found.get("method") == "post"]
    if path == f"{HOME}/users/u1":  # what Keeper has is looked at too, and only a worker can
        assert (page.buttons(), forms) == (["Look up in Keeper"], [f"{path}/inquiries"])
    else:
        assert (page.buttons(), forms) == ([], [])
        assert "csrf" not in page.text


@pytest.mark.parametrize("path", ["/", HOME, f"{HOME}/audit", "/assets/none.css", "/nowhere"])
def test_nobody_else_sees_anything(settled, path):
    page = browser(settled, "person1@example.com").open(path)
    assert page.status == (404 if path == "/nowhere" else 403)
    assert "Keeper users" not in page.text


FORMS = (
    ("/connections/new", {"token": "t", "endpoint": "https://keeper.example", "name": "x"}),
    *((f"{HOME}/{name}", {}) for name in "mapping scope deprovisioning authorization limits choose-teams".split()),
    *((f"{HOME}/{name}", {}) for name in "turn-on turn-off pilot run previews finish".split()),
    (f"{HOME}/delete", {"confirmation": "Keeper"}),
    (f"{HOME}/holds/abc", {"do": "approve:1"}),
    (f"{HOME}/unprovisioned", {"do": "all"}),
    (f"{HOME}/failures", {"do": "all"}),
    (f"{HOME}/previews/abc", {}),
    (f"{HOME}/previews/abc/adoptions", {"do": "all"}),
    (f"{HOME}/users/u1/inquiries", {"kind": "provision"}),
)


@pytest.mark.parametrize(("path", "fields"), FORMS)
@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "stale"])
def test_a_form_without_its_own_secret_is_refused(settled, path, fields, csrf):
    if csrf == "stale":
        csrf = _stale(settled)
    pairs = [*fields.items(), *([("csrf", csrf)] if csrf is not None else [])]
    page = browser(settled).send("post", path, pairs)
    assert page.status == 403
    assert "out of date" in page.text


def test_a_form_that_was_open_for_too_long_keeps_what_was_entered(settled):
    page = browser(settled).open(f"{HOME}/limits")
    late = page.send("Name and limits", "Save", csrf=_stale(settled), minimum="77")
    assert late.status == 403
    assert "reloaded with what you entered" in late.text
    assert dict(late.form("Name and limits").fields)["minimum"] == "77"
    assert late.send("Name and limits", "Save", minimum="none").status == 400  # its new secret is accepted


def _stale(system: System) -> str:
    from datetime import UTC, datetime, timedelta

    from autoprovisioning.app.administration.csrf import form_token
    from tests.support.system import ADMIN

    key = system.world.cloud.environment["FORM_KEY"].encode()
    return form_token(key, ADMIN, datetime.now(UTC) - timedelta(hours=2))


@pytest.mark.parametrize(("path", "fields"), FORMS)
def test_a_delegated_administrator_changes_nothing(settled, path, fields):
    staff(settled)
    assert browser(settled, DELEGATED).send("post", path, list(fields.items())).status == 403


def test_a_form_of_another_site_is_refused(settled):
    ours = browser(settled).open(f"{HOME}/turn-off")
    foreign = replace(ours.browser, origin="https://evil.example")
    assert replace(ours, browser=foreign).send("Turn off").status == 403


# The wizard


def connect(system: System, **changes: str) -> Page:
    fields = {"token": system.keeper.token, "endpoint": system.keeper.endpoint, "name": "Keeper of Acme"} | changes
    return browser(system).open("/connections/new").send("Set up autoprovisioning", "Continue", **fields)


def test_a_connection_is_set_up_previewed_and_turned_on_by_plain_forms(system):
    empty = browser(system).open("/")
    assert "Autoprovisioning isn't configured" in empty.text
    mapping = connect(system)
    assert "saved as a draft" in mapping.text
    scope = mapping.send("Attribute mapping", "Continue")
    found = scope.send("Provisioning scope", "Search", q="kee")
    chosen = found.send("Provisioning scope", f"add:{GROUP_ID}")
    assert "keeper-users@example.com" in chosen.text
    deprovisioning = chosen.send("Provisioning scope", "Continue")
    finish = deprovisioning.send(
        "Deprovisioning", "Continue", app_off__suspend_after="7", app_off__delete_after="other",
        app_off__delete_after_days="90", archived="yes",
    )  # fmt: skip
    assert "suspend after 7 days, delete after 90 days" in finish.text
    assert "Archived users: treated as suspended" in finish.text
    preview = finish.send("Finish", "Finish")
    ready = wait_for(lambda: _ready(preview), "the preview", 40)
    assert "<strong>12</strong> <span>Created</span>" in ready.text
    assert system.keeper.accounts() == []
    [connection] = system.services().connections.all()
    home = f"/connections/{connection.id}"
    link = next(link for link in ready.links() if link.startswith(f"{home}/turn-on?preview="))
    assert "Turn on and create 12 accounts</a>" in ready.text
    on = browser(system).open(link).send("Turn on", "Turn on and create 12 accounts")
    assert "Syncing active" in on.text
    wait_for(lambda: len(system.active()) == 12, "the accounts", 40)
    assert [group.id for group in connection.settings.scope.groups] == [GROUP_ID]
    assert connection.settings.archived_as_suspended


def _ready(preview: Page) -> Page | None:
    again = preview.browser.open(preview.address)
    assert "The preview failed" not in again.text
    return again if "What would happen" in again.text else None


def test_a_draft_is_continued_from_the_list(system):
    connect(system)
    apps = browser(system).open("/")
    assert "Draft" in apps.text
    mapping = next(link for link in apps.links() if link.endswith("/mapping"))
    assert "Continue" in browser(system).open(mapping).buttons()


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"token": "wrong-token-0123"}, "token"), ({"endpoint": "http://elsewhere.example/scim"}, "endpoint"),
     ({"name": " "}, "name")],
)  # fmt: skip
def test_what_keeper_refuses_is_said_at_its_field_and_the_rest_is_kept(system, changes, field):
    page = connect(system, **changes)
    assert page.status == 400
    invalid = [found for tag, found in page.tags if tag == "input" and "aria-invalid" in found]
    assert [found["name"] for found in invalid] == [field]
    assert f"#f-{field}" in page.links()
    kept = dict(page.form("Set up autoprovisioning").fields)
    assert kept["token"] == ""
    assert kept["endpoint"] == changes.get("endpoint", system.keeper.endpoint)
    for token in (system.keeper.token, "wrong-token-0123"):
        assert token not in page.text
    assert system.services().connections.all() == []


# Editing


def test_an_edit_of_the_scope_is_previewed_before_it_is_saved(system):
    system.restored()
    page = browser(system).open(f"{HOME}/scope")
    without = page.send("Provisioning scope", f"remove:{GROUP_ID}")
    assert "not restricted to groups" in without.text
    preview = without.send("Provisioning scope", "Preview changes")
    ready = wait_for(lambda: _ready(preview), "the preview", 40)
    assert "<ins>Everybody in the organization</ins>" in ready.text
    assert connection_of(system).settings.scope.groups
    saved = ready.send("Save changes", "save")
    assert "Saved" in saved.text
    assert connection_of(system).settings.scope.groups == ()


def test_an_attribute_is_added_and_removed_and_a_wrong_path_is_named(settled):
    page = browser(settled).open(f"{HOME}/mapping")
    added = page.send("Attribute mapping", "add")
    rows = [value for name, value in added.form("Attribute mapping").fields if name == "target"]
    assert len(rows) == 8
    sources = [value for name, value in added.form("Attribute mapping").fields if name == "source"]
    paths = [""] * 7 + ["organisations[primary].title"]
    refused = added.send(
        "Attribute mapping", "Preview changes",
        target=[*rows[:-1], "title"], source=[*sources[:-1], "other"], path=paths,
    )  # fmt: skip
    assert refused.status == 400
    assert "Did you mean organizations?" in refused.text
    assert "#f-mapping-7-source" in refused.links()
    assert ("path", "organisations[primary].title") in refused.form("Attribute mapping").fields
    removed = refused.send("Attribute mapping", "remove:7")
    assert len([name for name, _ in removed.form("Attribute mapping").fields if name == "target"]) == 7


def test_a_deletion_before_the_suspension_is_refused_with_what_was_chosen(settled):
    page = browser(settled).open(f"{HOME}/deprovisioning")
    refused = page.send(
        "Deprovisioning", "Preview changes", deleted__suspend_after="30", deleted__delete_after="other",
        deleted__delete_after_days="3",
    )  # fmt: skip
    assert refused.status == 400
    kept = dict(refused.form("Deprovisioning").fields)
    assert (kept["deleted.suspend_after"], kept["deleted.delete_after_days"]) == ("30", "3")


LABELS = {
    "mapping": "Attribute mapping",
    "scope": "Provisioning scope",
    "deprovisioning": "Deprovisioning",
    "limits": "Name and limits",
    "authorization": "App authorization",
}
TYPED = {  # by the second administrator
    "mapping": {"source": ["primaryEmail"] * 7},
    "scope": {"unit": ["id:03sales"]},
    "deprovisioning": {"suspended__suspend_after": "21"},
    "limits": {"minimum": "77"},
    "authorization": {"endpoint": "{endpoint}?second", "token": "{token}"},
}


@pytest.mark.parametrize("page", LABELS)
def test_the_second_of_two_administrators_is_told_who_changed_what_and_nobodys_input_is_lost(system, page):
    system.restored()
    second = browser(system).open(f"{HOME}/{page}")
    first = browser(system).open(f"{HOME}/limits").send("Name and limits", "Save", name="Renamed by the first")
    assert "Saved" in first.text
    known = {"endpoint": system.keeper.endpoint, "token": system.keeper.token}
    filled = {
        name: [each.format(**known) for each in value] if isinstance(value, list) else value.format(**known)
        for name, value in TYPED[page].items()
    }
    conflict = second.send(LABELS[page], "save", **filled)
    assert conflict.status == 412
    assert "Another administrator has changed this connection" in conflict.text
    assert HOME in conflict.links()
    assert connection_of(system).settings.name == "Renamed by the first"
    said = re.sub(r"\s+", " ", re.sub("<.*?>", "", conflict.text))
    assert re.search(
        r"admin@example\.com, \d+ \w+ \d+, [\d:]+ UTC: name: Keeper &rarr;, then Renamed by the first ", said
    )
    fields = conflict.form(LABELS[page]).fields
    for name, value in filled.items():
        if name != "token":
            kept = [each for field, each in fields if field == name.replace("__", ".")]
            assert kept == (value if isinstance(value, list) else [value]), name
    assert system.keeper.token not in conflict.text
    assert dict(fields)["edition"] == str(connection_of(system).edition)


def test_what_came_too_late_can_be_sent_again(system):
    system.restored()
    second = browser(system).open(f"{HOME}/limits")
    browser(system).open(f"{HOME}/limits").send("Name and limits", "Save", percent="9")
    conflict = second.send("Name and limits", "Save", name="Renamed by the second")
    saved = conflict.send("Name and limits", "Save")
    assert saved.status == 200
    settings = connection_of(system).settings
    assert (settings.name, settings.limit.percent) == ("Renamed by the second", 9.0)  # what the second left alone stays


def test_a_preview_that_came_too_late_says_who_changed_what_and_still_what_it_was(system):
    system.restored()
    preview = browser(system).open(f"{HOME}/scope").send("Provisioning scope", "save", group=[])
    ready = wait_for(lambda: _ready(preview), "the preview", 40)
    browser(system).open(f"{HOME}/limits").send("Name and limits", "Save", name="Renamed by the first")
    late = ready.send("Save changes", "save")
    assert late.status == 412
    assert "Renamed by the first" in late.text
    assert "<ins>Everybody in the organization</ins>" in late.text
    assert connection_of(system).settings.scope.groups


def runs_asked_for(system: System, tap: Tap) -> list[dict[str, Any]]:
    from autoprovisioning.domain.runs import RunKind

    system.services().queue.request_run(RunKind.SWEEP)
    return tap.until("sweep")


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({"name": "Renamed"}, 0),
        ({"patch_dialect": "keeper"}, 0),
        ({"drift": "report"}, 0),
        ({}, 0),
        ({"minimum": "77"}, 1),
    ],
)
def test_only_what_concerns_accounts_starts_a_run(system, changes, runs):
    system.restored()
    before = connection_of(system).edition
    with system.tapped("run-requests") as tap:
        saved = browser(system).open(f"{HOME}/limits").send("Name and limits", "Save", **changes)
        asked = runs_asked_for(system, tap)
    assert saved.status == 200
    assert len(asked) == runs
    assert ("A reconciliation has been requested" in saved.text) is bool(runs)
    assert connection_of(system).edition == before + bool(changes)


def test_a_rename_during_a_run_is_followed_by_another(system):
    """An edit ends the run under way, whatever it is about: somebody must do what is left of it."""
    system.restored()
    system.directory.fault(match={"method": "users.list"}, delay=1.5)
    run = threading.Thread(target=system.world.reconcile)
    run.start()
    wait_for(lambda: system.services().runs.open(CONNECTION), "the run")
    with system.tapped("run-requests") as tap:
        browser(system).open(f"{HOME}/limits").send("Name and limits", "Save", name="Renamed")
        assert len(runs_asked_for(system, tap)) == 1
    run.join()


@pytest.mark.parametrize(
    ("filled", "field"),
    [({"minimum": "many"}, "limit.minimum"), ({"percent": "0"}, "limit.percent"), ({"percent": "nan"}, "limit.percent"),
     ({"name": ""}, "name"), ({"patch_dialect": "klingon"}, "patch_dialect"), ({"drift": "perhaps"}, "repair_drift")],
)  # fmt: skip
def test_limits_that_are_none_are_refused(settled, filled, field):
    page = browser(settled).open(f"{HOME}/limits").send("Name and limits", "Save", **filled)
    assert page.status == 400
    assert f"#f-{re.sub('[._]', '-', field)}" in page.links()


def test_a_new_endpoint_needs_its_token(settled):
    page = browser(settled).open(f"{HOME}/authorization").send("App authorization", "Save", token="")
    assert page.status == 400
    assert "#f-token" in page.links()


def test_a_users_values_are_shown_beside_the_rows_as_they_are_in_the_form(settled):
    page = browser(settled).open(f"{HOME}/mapping")
    assert "<p>Given0 Family0</p>" in page.text  # of whoever looks
    named = page.send("Sample user", sample="person3@example.com")
    assert ("<p>Given3 Family3</p>" in named.text, "<p>Given0 Family0</p>" in named.text) == (True, False)
    fields = named.form("Attribute mapping").fields
    rows = {name: [value for field, value in fields if field == name] for name in ("source", "path")}
    changed = {"source": ["other", *rows["source"][1:]], "path": ["organisations[primary].title", *rows["path"][1:]]}
    shown = named.send("Attribute mapping", "show", **changed)
    assert shown.status == 200
    assert "Did you mean organizations?" in shown.text
    assert "<p>person3@example.com</p>" in shown.text
    unknown = page.send("Sample user", sample="nobody@example.com")
    assert (unknown.status, "The directory has no user with this address." in unknown.text) == (200, True)
    rows = [{"target": "displayName", "source": "name.fullName"}, {"target": "title", "source": "organisations.title"}]
    told = settled.api("POST", f"{HOME}/mapping/sample", {"email": "person3@example.com", "mapping": rows}).json()
    assert told["user_id"] == "u3"
    assert [row["value"] for row in told["items"]] == ["Given3 Family3", None]
    assert "Did you mean organizations?" in told["items"][1]["problem"]
    assert settled.api("POST", f"{HOME}/mapping/sample", {"email": "nobody@example.com"}).status == 404


# Off, delete


def test_turning_off_keeps_the_configuration_and_turning_on_goes_on(system):
    system.restored()
    off = browser(system).open(f"{HOME}/turn-off").send("Turn off", "Turn off")
    assert "Inactive" in off.text
    assert system.state() == "off"
    on = browser(system).open(f"{HOME}/turn-on").send("Turn on", "Turn on")
    assert "Syncing active" in on.text
    assert system.state() == "on"


def test_deleting_needs_the_name_and_leaves_accounts_and_audit(system):
    system.restored()
    accounts = system.keeper.accounts()
    page = browser(system).open(f"{HOME}/delete")
    wrong = page.send("Delete configuration", "Delete configuration", confirmation="keeper")
    assert wrong.status == 400
    assert "#f-confirmation" in wrong.links()
    assert system.state() == "on"

    right = page.send("Delete configuration", "Delete configuration", confirmation="Keeper")
    assert "The configuration is being deleted" in right.text
    wait_for(lambda: system.state() == "gone", "the deletion", 30)
    assert system.keeper.accounts() == accounts
    assert f"{HOME}/audit" in browser(system).open("/").links()
    audit = browser(system).open(f"{HOME}/audit")
    assert audit.status == 200
    assert "Deleted the configuration" in audit.text
    assert browser(system).open(HOME).status == 404


# Looking


def test_a_change_shows_in_usage_audit_and_why(system):
    system.restored()
    system.directory.patch("u3", {"name": {"familyName": "Neu <b>&amp; Söhne"}})
    system.await_account("u3", lambda account: account["name"]["familyName"].startswith("Neu"))
    audit = browser(system).open(f"{HOME}/audit").send("Filters", "Filter", user="u3")
    assert "Family3" in audit.text
    assert "Neu &lt;b&gt;&amp;amp; Söhne" in audit.text
    assert "<b>" not in audit.text
    usage = browser(system).open(f"{HOME}/usage")
    assert "Update Auto Provisioned User" in usage.text
    why = browser(system).open(f"{HOME}/users").send("People", q="person3")
    assert f"{HOME}/users/u3" in why.links()
    shown = browser(system).open(f"{HOME}/users/u3")
    assert "In scope. Member of keeper-users@example.com" in shown.text


def test_provision_now_tells_its_steps_and_the_account(system):
    system.restored()
    asked = browser(system).open(f"{HOME}/users/u2").send("Provision now", "Provision now")

    def answered() -> Page | None:
        again = asked.browser.open(asked.address)
        return again if "answered" in again.text and "A worker is on it" not in again.text else None

    done = wait_for(answered, "the answer", 20)
    assert "person2@example.com" in done.text
    assert system.account("u2")["id"] in done.text


def test_a_failure_tells_its_reason_what_to_do_and_where_to_look(system):
    system.keeper.settings(seats=3)
    system.connect()
    system.sync()
    page = browser(system).open(f"{HOME}/failures")
    assert "Buy seats in Keeper" in page.text
    assert f"/api/v1{HOME}/failures.csv" in page.links()
    assert re.search(rf"{HOME}/users/u\d+", page.text)


@pytest.mark.parametrize("whom", ["chosen", "cause:address_taken", "all", "one:u5", "API"])
def test_users_who_fail_are_tried_again_before_their_time(system, whom):
    system.keeper.settings(taken_addresses=["person5@example.com", "person6@example.com"])
    system.connect()
    system.sync()
    page = browser(system).open(f"{HOME}/failures")
    assert "The address belongs to another account in Keeper" in page.text
    assert "Retry 2 users" in page.text
    refused = page.send("Retry", "chosen")
    assert (refused.status, "#f-users" in refused.links()) == (400, True)
    system.keeper.settings(taken_addresses=[])
    if whom == "API":
        answer = system.api("POST", f"{HOME}/failures", {"users": ["u5"]})
        assert (answer.status, answer.json()["detail"]) == (202, "Another attempt was requested for 1 user.")
    else:
        sent = page.send("Retry", whom, **({"user": ["u5"]} if whom == "chosen" else {}))
        assert sent.status == 200
        assert sent.address.startswith(f"{HOME}/users/u5/inquiries/" if whom == "one:u5" else f"{HOME}/failures")
    system.await_account("u5", lambda account: account["active"])
    if whom in ("cause:address_taken", "all"):
        system.await_account("u6", lambda account: account["active"])
    else:
        assert system.account("u6") is None


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_held_plan_is_decided_by_its_digest_once(system, decision):
    from autoprovisioning.domain.settings import VolumeLimit

    system.provisioned(limit=VolumeLimit(minimum=1, percent=1.0))
    for number in range(1, 5):
        system.directory.patch(f"u{number}", {"suspended": True})
    wait_for(lambda: system.sync() and system.services().holds.standing(CONNECTION), "the hold", 40)
    apps = browser(system).open("/")
    assert "Held: waiting for approval" in apps.text
    holds = browser(system).open(f"{HOME}/holds")
    link = next(link for link in holds.links() if link.startswith(f"{HOME}/holds/"))
    hold = browser(system).open(link)
    assert "person4@<wbr>example.com" in hold.text
    decided = hold.send("Decide", decision)
    assert decided.status == 200
    assert {"approve": "Approved", "reject": "Rejected"}[decision] in decided.text
    again = hold.send("Decide", decision)
    assert again.status == 412
    assert browser(system).open(f"{HOME}/holds/{'0' * 32}").status == 404


def test_the_page_of_a_paused_connection_leads_to_reauthorize(system):
    system.restored()
    system.keeper.rotate()
    system.directory.patch("u1", {"name": {"familyName": "Waiting"}})
    wait_for(lambda: system.state() == "paused", "the pause")
    page = browser(system).open(HOME)
    address = f"{system.world.reauthorize_url}/?connection={CONNECTION}"
    assert address in page.links()
    assert address in browser(system).open(f"{HOME}/health").links()
    form = system.through_proxy("GET", f"/?connection={CONNECTION}", function="reauthorize")
    assert f'href="{system.world.console_url}/connections/{CONNECTION}"' in form.text


@pytest.mark.parametrize(
    "path",
    [f"{HOME}/audit?name=Nothing", f"{HOME}/audit?since=yesterday", f"{HOME}/audit?cursor=made-up",
     f"{HOME}/failures?cursor=made-up"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused_and_not_repeated(settled, path):
    assert browser(settled).open(path).status == 400


@pytest.mark.parametrize(
    "path", [f"{HOME}/previews/none", f"{HOME}/users/nobody0", "/connections/none", "/assets/x.js"]
)
def test_what_is_not_there_is_a_page_too(settled, path):
    page = browser(settled).open(path)
    assert page.status == 404
    assert "/" in page.links()


@pytest.mark.parametrize(
    "path",
    [f"{HOME}/previews/none", f"{HOME}/users/nobody0", f"{HOME}/audit?cursor=made-up", f"{HOME}/holds/{'0' * 32}"],
)
def test_an_error_about_a_connection_is_shown_below_its_tabs(settled, path):
    page = browser(settled).open(path)
    assert page.status in (400, 404)
    assert {HOME, f"{HOME}/failures", f"{HOME}/health"} <= set(page.links())
    assert "Breadcrumb" in page.text


def test_an_outage_of_the_directory_is_a_page_that_says_so(settled):
    settled.directory.fault(match={"method": "users.get"}, status=503, times=None)
    page = browser(settled).open(f"{HOME}/users/u3")
    assert page.status == 503
    assert int(page.answer.headers["Retry-After"]) > 0
    assert f"{HOME}/health" in page.links()


def test_a_search_for_groups_that_fails_loses_nothing_of_the_form(settled):
    page = browser(settled).open(f"{HOME}/scope")
    settled.directory.fault(match={"method": "groups.list"}, status=503, times=None)
    shown = page.send("Provisioning scope", "Search", q="kee", unit=["id:03sales"])
    assert shown.status == 200
    assert "Groups cannot be searched just now" in shown.text
    assert {("group", GROUP_ID), ("unit", "id:03sales")} <= set(shown.form("Provisioning scope").fields)


def test_units_are_searched_without_a_script_and_what_is_not_shown_stays_chosen(system):
    system.connect()
    for name, parent in (("EU", "/Sales"), ("North", "/Sales/EU"), ("Legal", "/")):
        system.directory.call("POST", "customer/my_customer/orgunits", {"name": name, "parentOrgUnitPath": parent})
    form = "Provisioning scope"
    page = browser(system).open(f"{HOME}/scope")
    found = page.send(form, "Search", u="north", unit=["/Legal"])
    assert "1 unit matches. Chosen and not shown: 1." in found.text
    fields = found.form(form).fields
    assert (dict(fields)["u"], [name for name, _ in fields].count("unit")) == ("north", 1)
    assert "1 unit matches." in browser(system).open(f"{HOME}/scope?u=sales/e").text
    preview = found.send(form, "save").address
    wait_for(lambda: "Organizational unit /Legal" in browser(system).open(preview).text, "the preview", 30)


def test_assets_are_for_those_who_were_let_in_and_are_cached_for_a_year(settled):
    page = browser(settled).open("/")
    files = [found.get("href") or found.get("src", "") for tag, found in page.tags if tag in ("link", "script")]
    assert len(files) == 5
    for path in files:
        answer = settled.through_proxy("GET", path)
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert settled.through_proxy("GET", path, who="person1@example.com").status == 403
