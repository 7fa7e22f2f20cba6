"""Organizational units by id: what a scope holds, what settings may name, what a run stores, what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autoprovisioning.app.administration.configure import edit
from autoprovisioning.app.administration.preview import save_preview
from autoprovisioning.app.provisioning.placement import AskedOneByOne
from autoprovisioning.app.runs.read_directory import begin
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.scope import ROOT, OrgUnit, Scope
from autoprovisioning.entrypoints.console.pages.summary import differences
from tests.support.builders import active, notice
from tests.support.console import HOME, Place
from tests.support.executors import Inline
from tests.support.in_memory import SALES, FakeDirectory, unit
from tests.support.previewing import ACTOR, at
from tests.support.scenario import GROUP, Scenario
from tests.support.settings import changed, with_settings
from tests.unit.administration.test_explain import look_into

LEGACY = OrgUnit(id="", path="/Sales")
REVENUE = OrgUnit(id=SALES.id, path="/Revenue")
ANOTHER = OrgUnit(id="id:other", path="/Sales")
NAVY = unit("/Navy")

HELD = [
    # chosen, listed now, the user's path -> held
    ((), None, "", True),
    ((ROOT,), None, "/Anything", True),
    ((ROOT,), (), "", True),
    ((SALES,), (SALES, NAVY), "/Sales", True),
    ((SALES,), (SALES, NAVY), "/Sales/EMEA", True),  # below a chosen one, though not listed itself
    ((SALES,), (SALES, NAVY), "/Navy", False),
    ((SALES,), (SALES,), "/", False),
    ((SALES,), (REVENUE,), "/Revenue", True),
    ((SALES,), (REVENUE,), "/Sales", None),  # read before the rename
    ((SALES,), (SALES,), "/Revenue", None),  # read after it
    ((SALES,), (SALES,), "", None),  # not told
    ((SALES,), (REVENUE, ANOTHER), "/Sales", False),  # another unit under the old path
    ((SALES,), (ANOTHER,), "/Sales", None),
    ((SALES,), (NAVY,), "/Navy", None),
    ((SALES, NAVY), (NAVY,), "/Navy", True),
    ((SALES, NAVY), (NAVY,), "/", None),
    ((SALES,), None, "/Sales", None),
    ((SALES,), (), "/", None),
    ((LEGACY,), (SALES,), "/Sales", True),
    ((replace(LEGACY, path="/Sales/"),), (SALES,), "/Sales", True),
    ((LEGACY,), (REVENUE,), "/Revenue", None),
    ((replace(SALES, listed=False),), (SALES,), "/Sales", True),  # it is there again
]


@pytest.mark.parametrize(("chosen", "listed", "path", "held"), HELD)
def test_what_the_chosen_units_hold(chosen, listed, path, held):
    assert Scope(org_units=chosen).located(listed).holds_unit(path) is held


WITH_GROUPS = [
    # unit held, member -> in scope
    ((SALES,), True, True),
    ((SALES,), False, False),
    ((unit("/Gone"),), True, None),
    ((unit("/Gone"),), False, False),  # users who left the groups are out of scope, whatever the unit
]


@pytest.mark.parametrize(("units", "member", "expected"), WITH_GROUPS)
def test_both_conditions_hold_or_one_of_them_does_not(scenario, units, member, expected):
    if not member:
        scenario.leave("u1")
    scenario.directory.live["u1"] = user = replace(scenario.directory.live["u1"], org_unit_path="/Sales")
    asked = with_settings(scenario.connection, scope=Scope(groups=(GROUP,), org_units=units))
    assert begin(scenario.directory, [asked], Inline(), 1).in_scope(asked, user) is expected
    assert AskedOneByOne(scenario.directory, lambda _: True, ("c1",))(asked, user) is expected


@pytest.mark.parametrize("error", [Transient("503"), Incomplete("broken"), ConfigurationRefused("403")])
def test_units_that_cannot_be_listed_tell_nothing(scenario, error):
    scenario.directory.units_fail = error
    user, asked = (
        scenario.directory.live["u1"],
        with_settings(scenario.connection, scope=Scope(groups=(), org_units=(SALES,))),
    )
    survey = begin(scenario.directory, [asked], Inline(), 1)
    without = with_settings(replace(asked, id="c2"), scope=Scope())
    assert (survey.in_scope(asked, user), survey.whole(asked)) == (None, False)
    assert (survey.in_scope(without, user), survey.whole(without)) == (True, True)
    assert AskedOneByOne(scenario.directory, lambda _: True, ())(asked, user) is None


def test_units_are_listed_once_and_only_where_some_are_chosen(scenario):
    listings = []

    class Counting(FakeDirectory):
        def org_units(self) -> Sequence[OrgUnit]:
            listings.append(1)
            return super().org_units()

    directory, user = Counting(), scenario.directory.live["u1"]
    with_units = [
        with_settings(replace(scenario.connection, id=name), scope=Scope(groups=(), org_units=(SALES,)))
        for name in ("c1", "c2")
    ]
    begin(directory, [scenario.connection, *(replace(each, state=State.OFF) for each in with_units)], Inline(), 1)
    AskedOneByOne(directory, lambda _: True, ())(scenario.connection, user)
    assert listings == []
    begin(directory, with_units, Inline(), 1)
    assert len(listings) == 1
    ask = AskedOneByOne(directory, lambda _: True, ())
    assert [ask(connection, user) for connection in with_units] == [False, False]
    assert len(listings) == 2


# ---- what settings may name


@pytest.fixture
def selling(scenario: Scenario) -> Scenario:
    """The scenario with /Sales chosen, where u1 is."""
    choose(scenario, SALES)
    scenario.directory.live["u1"] = replace(scenario.directory.live["u1"], org_unit_path="/Sales")
    return scenario


def choose(scenario: Scenario, *units: OrgUnit) -> None:
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, scope=Scope(groups=(), org_units=units))
    )


def edited(scenario: Scenario, *keys: str) -> tuple[OrgUnit, ...]:
    settings = changed(scenario.connection.settings, org_units=keys)
    return edit(scenario.services, "c1", scenario.connection.edition, settings, ACTOR).settings.scope.org_units


NAMED = [
    (("/Sales",), (SALES,)),
    (("/Sales/",), (SALES,)),
    (("/Sales", SALES.id), (SALES,)),
    ((NAVY.id, "/"), (NAVY, ROOT)),
    ((), ()),
]


@pytest.mark.parametrize(("keys", "expected"), NAMED)
def test_settings_name_units_by_path_or_id(scenario, keys, expected):
    scenario.directory.units[NAVY.id] = NAVY.path
    assert edited(scenario, *keys) == expected


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("/Nowhere", "listed"),
        ("/sales", "spelled"),
        ("Sales", "slash"),
        ("id:x", "slash"),
        ("", "slash"),
        ("//", "has"),
    ],
)
def test_a_unit_that_is_not_there_is_refused_by_name(selling, key, mend):
    with pytest.raises(BadInput, match=mend) as refused:
        edited(selling, SALES.id, key)
    assert (refused.value.field, repr(key) in refused.value.problem) == ("scope.org_units", True)
    assert selling.connection.settings.scope.org_units == (SALES,)


def test_a_chosen_unit_that_is_gone_stays_or_goes_but_is_not_chosen_anew(selling):
    del selling.directory.units[SALES.id]
    selling.directory.live["u1"] = replace(selling.directory.live["u1"], org_unit_path="/Navy")
    selling.run()
    gone = replace(SALES, listed=False)
    assert selling.connection.settings.scope.org_units == (gone,)
    assert edited(selling, SALES.id, "/Navy") == (gone, NAVY)
    assert edited(selling, "/Sales", NAVY.id) == (gone, NAVY)  # as the API gives it
    assert edited(selling, NAVY.id) == (NAVY,)
    with pytest.raises(BadInput):
        edited(selling, "/Sales")


def test_a_path_means_the_unit_that_has_it_now_an_id_the_one_that_was_chosen(selling):
    selling.directory.units = {ANOTHER.id: ANOTHER.path}
    selling.run()
    gone = replace(SALES, listed=False)
    assert edited(selling, *(unit.key for unit in selling.connection.settings.scope.org_units)) == (gone,)
    assert edited(selling, "/Sales") == (ANOTHER,)


def test_an_edit_of_something_else_lists_no_units(selling):
    selling.directory.units_fail = Incomplete("broken")
    settings = replace(selling.connection.settings, name="Vault")
    edit(selling.services, "c1", selling.connection.edition, settings, ACTOR)
    assert (selling.connection.settings.name, selling.connection.settings.scope.org_units) == ("Vault", (SALES,))


def test_a_preview_keeps_to_the_units_that_it_was_made_of(scenario):
    admin = at(scenario)
    asked = admin.ask(org_units=("/Sales",))
    scenario.directory.rename_unit("/Sales", "/Revenue")
    scenario.directory.units[ANOTHER.id] = ANOTHER.path
    assert [part.new for part in differences(scenario.services, scenario.connection, asked.subject.settings)] == [
        ("Organizational unit /Revenue",)
    ]
    saved = save_preview(scenario.services, "c1", asked.id, ACTOR)
    assert saved.settings.scope.org_units == (REVENUE,)


# ---- what a run stores


def told(scenario: Scenario) -> list[Event]:
    events = scenario.fakes.store.events["c1"].values()
    return [event for event in events if event.name is EventName.CONFIGURED and event.actor == "reconcile"]


def test_a_run_follows_a_rename_and_tells_the_audit(selling):
    selling.directory.rename_unit("/Sales", "/Revenue")
    edition = selling.connection.edition
    selling.run()
    assert selling.connection.settings.scope.org_units == (REVENUE,)
    assert selling.connection.edition == edition
    (event,) = told(selling)
    assert event.reason == "Followed the rename of /Sales to /Revenue."
    assert (event.before, event.changed) == (
        {"scope organizational units": "/Sales"},
        {"scope organizational units": "/Revenue"},
    )
    assert active(selling, "u1") == [True]


def test_a_unit_that_is_gone_and_comes_back_is_told_both_times(selling):
    path = selling.directory.units.pop(SALES.id)
    selling.directory.live["u1"] = replace(selling.directory.live["u1"], org_unit_path="/")
    selling.run()
    selling.run()
    selling.directory.units[SALES.id] = path
    selling.run()
    assert [event.reason for event in told(selling)] == [
        "The organizational unit /Sales is no longer in the directory.",
        "The organizational unit /Sales is in the directory again.",
    ]
    assert selling.connection.settings.scope.org_units == (SALES,)


def test_a_listing_that_fails_marks_no_unit_as_gone(selling):
    selling.directory.units_fail = Incomplete("broken")
    selling.run()
    assert selling.connection.settings.scope.org_units == (SALES,)
    assert told(selling) == []


def test_what_an_administrator_chose_meanwhile_is_not_marked_as_gone(selling, monkeypatch):
    users, late = FakeDirectory.users, [NAVY]

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        for made in late:
            self.units[made.id] = made.path
            edited(selling, made.path)
        late.clear()
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    selling.plan()
    assert selling.connection.settings.scope.org_units == (NAVY,)


def test_a_renamed_unit_is_followed_by_previews_and_the_look_of_a_notification(selling):
    selling.run()
    selling.directory.rename_unit("/Sales", "/Ops/Sales")
    admin = at(selling)
    _, lines = admin.preview(name="Vault")
    assert [line for line in lines if line.user_id == "u1"] == []
    notice(selling, "u1")
    assert active(selling, "u1") == [True]
    assert selling.connection.settings.scope.org_units == (SALES,)


def test_a_preview_says_that_a_unit_is_gone_and_writes_nothing(selling):
    del selling.directory.units[SALES.id]
    selling.directory.live["u1"] = replace(selling.directory.live["u1"], org_unit_path="/")
    done, lines = at(selling).preview(name="Vault")
    assert lines == []
    gone = "The organizational unit /Sales is no longer in the directory"
    assert [note for note in done.result.notes if note.startswith(gone)]
    assert selling.connection.settings.scope.org_units == (SALES,)


# ---- what is said of it


def test_why_says_that_a_unit_is_gone_is_not_listed_or_cannot_be_listed(selling):
    selling.directory.rename_unit("/Sales", "/Revenue")
    assert look_into(selling, "u1").standing.words == "At or below the organizational unit /Revenue."
    assert look_into(selling, "u1").standing.unit == "/Revenue"
    del selling.directory.units[SALES.id]
    standing = look_into(selling, "u2").standing
    assert standing.in_scope is None
    assert standing.words == (
        "The organizational unit /Sales is no longer in the directory, so it is not known who is in it."
    )
    selling.directory.units_fail = Incomplete("broken")
    assert look_into(selling, "u2").standing.words == "The directory did not list the organizational units."


def test_why_says_that_the_users_own_unit_is_not_listed(selling):
    directory = selling.directory
    listed = directory.org_units()
    directory.live["u2"] = replace(directory.live["u2"], org_unit_path="/New")
    directory.org_units = lambda: listed
    assert (
        look_into(selling, "u2").standing.words
        == "The directory does not list the user's own organizational unit /New yet."
    )


def boxes(here: Place) -> dict[str, bool]:
    """Return the check boxes of the scope page, by value, and whether each is checked."""
    found = here.open(f"{HOME}/scope").tags
    return {tag["value"]: "checked" in tag for name, tag in found if name == "input" and tag.get("name") == "unit"}


def test_the_scope_page_shows_units_where_they_are_now_and_those_that_are_gone(scenario):
    here = Place(with_settings(scenario.connection, scope=Scope(groups=(), org_units=(SALES, unit("/Gone"), LEGACY))))
    directory = here.fakes.directory
    directory.units = {SALES.id: "/Revenue", ANOTHER.id: "/Sales", NAVY.id: NAVY.path}
    page = here.open(f"{HOME}/scope")
    assert boxes(here) == {SALES.id: True, ANOTHER.id: True, NAVY.id: False, unit("/Gone").id: True}
    assert page.text.count("(no longer in the directory)") == 1
    directory.units_fail = Incomplete("broken")
    assert boxes(here) == {SALES.id: True, unit("/Gone").id: True, "/Sales": True}
    assert "(no longer in the directory)" not in here.open(f"{HOME}/scope").text
