"""`make detach`: functions leave Cloud Functions once all of them serve what this version deployed, and no earlier."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import commands, detach, lock, services
from infra.gcp.description import DEPLOYMENT, MOVED
from infra.gcp.gcloud import Answer, Gcloud, GcloudFailed
from infra.gcp.lock import Held
from infra.gcp.preflight import managed
from infra.gcp.steps import Command, shown
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed, nobody
from tests.gcp.test_lock import Race, locked
from tests.gcp.test_revisions import KNOWN, numbers, refused, serving
from tests.gcp.test_upgrade import STILL, THIRD, UPGRADE, rolled_back


def detached(cloud: StandIn, runner: Any = None, **allowed: Any) -> list[str]:
    """Detach, confirmed unless somebody is to be asked; returns what was said."""
    said: list[str] = []
    ask = allowed.pop("ask", lambda question: said.append(question) or PROJECT)
    detach.detach(TARGET, Gcloud(runner or cloud, sleep=lambda seconds: None), said.append, ask, **allowed)
    return said


def not_detached(cloud: StandIn, **allowed: Any) -> str:
    """Return why nothing is detached; but for the lock, nothing is changed, and nobody is asked."""
    before, things = len(cloud.changes()), copy.deepcopy(cloud.things)
    with pytest.raises(SystemExit) as ended:
        detached(cloud, ask=lambda question: pytest.fail(f"asked: {question}"), **allowed)
    assert [text for text in map(shown, cloud.changes()[before:]) if lock.NAME not in text] == []
    assert cloud.things == things
    assert "Nothing was changed" in str(ended.value)
    return str(ended.value)


def test_gcloud_takes_the_commands_that_detach():
    assert complaints(services.detach(KNOWN, name) for name in NAMES) == {}


def test_detaching_takes_the_functions_out_and_changes_nothing_else(upgraded):
    services_before, policies, first = copy.deepcopy((upgraded.things["service"], upgraded.policies, serving(upgraded)))
    before = len(upgraded.changes())
    said = detached(upgraded)
    changed = [shown(command) for command in upgraded.changes()[before:]]
    names = [function.name for function in DEPLOYMENT.functions]
    assert [text.split()[:4] for text in changed[1:-1]] == [["gcloud", "functions", "detach", name] for name in names]
    assert (upgraded.things["function"], serving(upgraded), upgraded.policies) == ({}, first, policies)
    for service in services_before.values():
        del service["metadata"]["labels"]["goog-managed-by"]
    assert upgraded.things["service"] == services_before
    assert said[-1] == f"\n8 functions were detached. See that all is well: make doctor {TARGET.settings}"
    assert not any(text.startswith(STILL) for text in deployed(upgraded))
    assert changes_of(upgraded) == []


def test_the_functions_are_listed_and_it_says_that_there_is_no_way_back_before_it_asks(upgraded):
    said = detached(upgraded)
    asked = said.index(f"\nType {PROJECT!r} to go on (CONFIRM=yes skips this): ")
    told = "\n".join(said[:asked])
    assert all(f"\n  {name}\n" in told for name in NAMES)
    assert "This cannot be undone" in told


@pytest.mark.parametrize("ask", [nobody, lambda question: "", lambda question: "yes"])
def test_nothing_is_detached_unless_the_project_is_typed_or_a_machine_confirms_by_a_setting(upgraded, ask):
    before, functions = len(upgraded.changes()), copy.deepcopy(upgraded.things["function"])
    with pytest.raises(SystemExit, match=r"That does not match\. Nothing was changed"):
        detached(upgraded, ask=ask)
    assert (len(upgraded.changes()), upgraded.things["function"]) == (before, functions)
    detached(upgraded, ask=ask, confirmed=True)
    assert upgraded.things["function"] == {}


def test_make_tells_whether_it_is_confirmed(upgraded, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "Gcloud", lambda **options: Gcloud(upgraded, **options))
    monkeypatch.setattr("builtins.input", nobody)
    given = {"PROJECT": PROJECT, "REGION": TARGET.region, "ADMIN": TARGET.admin, "ALERTS": TARGET.alerts}
    for value, told in (("", "That does not match"), ("1", r"CONFIRM=\.\.\. must be yes")):
        with pytest.raises(SystemExit, match=told):
            command_line.main(["detach"], given | {"CONFIRM": value})
    assert upgraded.things["function"]
    for told in (f"{len(MOVED)} functions were detached", "There is nothing to do"):
        assert command_line.main(["detach"], given | {"CONFIRM": "yes"}) == 0
        assert told in capsys.readouterr().out


def test_detaching_again_does_nothing(upgraded):
    detached(upgraded)
    before = len(upgraded.changes())
    said = detached(upgraded, ask=nobody)
    assert said == ["There is nothing to do: Cloud Functions manages no function of this deployment."]
    assert len(upgraded.changes()) == before


@pytest.mark.parametrize("enabled", [True, False])
def test_there_is_nothing_to_detach_where_nothing_is(enabled):
    cloud = StandIn()
    cloud.enabled |= set(DEPLOYMENT.services) if enabled else set()
    assert detached(cloud, ask=nobody)[0].startswith("There is nothing to do")


def test_a_deployment_that_never_was_in_cloud_functions_has_nothing_to_detach(whole):
    assert detached(copy.deepcopy(whole), ask=nobody)[0].startswith("There is nothing to do")


def test_what_was_detached_may_still_be_rolled_back(upgraded):
    detached(upgraded)
    rolled_back(upgraded)
    assert set(numbers(upgraded).values()) == {1}


DETACHING = 1 + len(MOVED) + 1  # the lock, the functions, the lock


@pytest.mark.parametrize("index", range(DETACHING))
def test_detaching_ends_well_whichever_answer_was_lost(upgraded, index):
    upgraded.lost = {upgraded.acted + index}
    before = upgraded.acted
    detached(upgraded)
    assert upgraded.acted - before == DETACHING, "nothing was done twice"
    assert upgraded.things["function"] == {}
    assert lock.NAME not in upgraded.things["secret"]
    assert changes_of(upgraded) == []


@pytest.mark.parametrize("after", range(DETACHING))
def test_detaching_goes_on_wherever_it_was_broken_off(upgraded, after):
    first = serving(upgraded)
    upgraded.interrupt_after = upgraded.acted + after
    with pytest.raises(KeyboardInterrupt):
        detached(upgraded)
    upgraded.interrupt_after = None
    left = list(managed(KNOWN, Gcloud(upgraded)))
    assert len(left) == min(len(MOVED), len(MOVED) + 1 - after)
    said = detached(upgraded, unlock=True)
    assert [text.strip() for text in said if text.strip() in NAMES] == left
    assert (upgraded.things["function"], serving(upgraded)) == ({}, first)
    assert changes_of(upgraded, unlock=True) == []


def test_a_function_that_cannot_be_detached_ends_it_and_the_rest_is_done_later(upgraded):
    upgraded.failures = [("functions detach console", "PERMISSION_DENIED: generationUpgrade", 1)]
    with pytest.raises(GcloudFailed, match="generationUpgrade"):
        detached(upgraded)
    assert "console" in upgraded.things["function"]
    assert lock.NAME not in upgraded.things["secret"]
    detached(upgraded)
    assert upgraded.things["function"] == {}


def test_what_is_detached_and_still_shown_is_waited_for(upgraded):
    look, shown_still = services.former(KNOWN, "console"), [copy.deepcopy(upgraded.things["function"]["console"])] * 2

    def runner(command: Command, stdin: str) -> Answer:
        if command == look and "console" not in upgraded.things["function"] and shown_still:
            return Answer(status=0, out=json.dumps(shown_still.pop()), err="")
        return upgraded(command, stdin)

    detached(upgraded, runner)
    assert (upgraded.things["function"], shown_still) == ({}, [])


def test_what_gcloud_calls_detached_and_is_not_is_told(upgraded):
    def runner(command: Command, stdin: str) -> Answer:
        if command == services.detach(KNOWN, "console"):
            return Answer(status=0, out="null", err="")
        return upgraded(command, stdin)

    with pytest.raises(SystemExit, match="still manages console, though gcloud says that they were detached"):
        detached(upgraded, runner)
    assert list(upgraded.things["function"]) == ["console"]


# ---- what is not detached


def test_nothing_is_detached_before_this_version_was_deployed(former):
    said = not_detached(former, confirmed=True)
    assert said.startswith("Nothing was deployed since Cloud Functions built what serves: directory-webhook, ")
    assert said.endswith(f"First: make deploy {TARGET.settings}")


@pytest.mark.parametrize("after", range(UPGRADE))
def test_nothing_is_detached_until_all_functions_serve_what_was_tested(former, after):
    former.interrupt_after = former.acted + after
    with pytest.raises(KeyboardInterrupt):
        deployed(former)
    former.interrupt_after = None
    if set(numbers(former).values()) == {2}:
        detached(former, unlock=True)
        assert former.things["function"] == {}
    else:
        assert "First: make deploy" in not_detached(former, confirmed=True, unlock=True)


def test_nothing_is_detached_while_a_release_waits_for_its_traffic(upgraded, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: THIRD)
    upgraded.sick = {"reconcile"}
    refused(upgraded)
    said = not_detached(upgraded, confirmed=True)
    assert said.startswith("A deployment was not completed: release ")
    assert "has not got the traffic of directory-webhook, provision-user, " in said
    upgraded.sick.clear()
    deployed(upgraded)
    detached(upgraded)


def test_nothing_is_detached_after_a_rollback(upgraded):
    rolled_back(upgraded)
    said = not_detached(upgraded, confirmed=True)
    assert said.startswith("What was deployed last does not serve, as after a rollback: directory-webhook, ")
    deployed(upgraded, again=True)
    detached(upgraded)


def test_nothing_is_detached_while_traffic_that_was_moved_has_not_come(former):
    former.unrouted = {"console"}
    assert "Traffic was not moved" in refused(former)
    assert not_detached(former, confirmed=True).startswith(
        "What was deployed last does not serve, as after a rollback: c"
    )


def test_nothing_is_detached_while_traffic_that_was_sent_back_has_not_left(upgraded):
    upgraded.unrouted = NAMES
    with pytest.raises(SystemExit, match="Traffic was not moved"):
        rolled_back(upgraded)
    assert set(numbers(upgraded).values()) == {2}
    assert not_detached(upgraded, confirmed=True).startswith("What was deployed last does not serve, as after a roll")


def test_nothing_is_detached_while_a_function_serves_nothing(upgraded):
    del upgraded.things["service"]["console"]
    assert "no revision of console serves." in not_detached(upgraded, confirmed=True)


def test_nothing_is_detached_of_several_releases(upgraded):
    revision = upgraded.things["revision"][serving(upgraded)["console"]]
    revision["metadata"]["labels"]["release"] = "another"
    assert not_detached(upgraded, confirmed=True).startswith("Functions serve several releases.")


@pytest.mark.parametrize("of", ["function", "service"])
def test_a_function_of_somebody_else_is_left_to_them(upgraded, of):
    if of == "function":
        upgraded.things[of]["console"]["serviceConfig"]["serviceAccountEmail"] = "somebody@example.com"
    else:
        upgraded.things[of]["console"]["spec"]["template"]["spec"]["serviceAccountName"] = "somebody@example.com"
    said = not_detached(upgraded, confirmed=True)
    assert "do not run as its accounts: console (somebody else's)." in said


@pytest.mark.parametrize("home", [("europe-west1", "europe-west2"), ("functions/console", "functions/other")])
def test_functions_elsewhere_or_of_other_names_are_not_looked_at(upgraded, home):
    detached(upgraded)
    name = f"projects/{PROJECT}/locations/europe-west1/functions/console".replace(*home)
    upgraded.put("function", "theirs", {"name": name, "serviceConfig": {"serviceAccountEmail": "a@example.com"}})
    assert detached(upgraded, ask=nobody)[0].startswith("There is nothing to do")


def test_functions_in_a_region_that_a_list_leaves_out_are_detached_too(upgraded):
    upgraded.unreachable = {"europe-west1"}
    detached(upgraded)
    assert upgraded.things["function"] == {}


def test_a_label_that_stays_after_detaching_tells_nothing(upgraded):
    detached(upgraded)
    for service in upgraded.things["service"].values():
        service["metadata"]["labels"]["goog-managed-by"] = "cloudfunctions"
    assert managed(KNOWN, Gcloud(upgraded)) == {}
    assert changes_of(upgraded) == []


# ---- two at once


NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_nothing_is_detached_while_somebody_deploys(upgraded):
    locked(upgraded)
    functions = copy.deepcopy(upgraded.things["function"])
    with pytest.raises(Held, match="other_at_example-com has been running make deploy"):
        detached(upgraded, now=NOW)
    assert upgraded.things["function"] == functions
    detached(upgraded, now=NOW, unlock=True)
    assert upgraded.things["function"] == {}


@pytest.mark.parametrize("other", [deployed, detached], ids=["deploy", "detach"])
def test_nobody_deploys_or_detaches_while_somebody_detaches(upgraded, other):
    refusals: list[str] = []

    def second() -> None:
        with pytest.raises(Held) as held:
            other(upgraded, now=NOW)
        refusals.append(str(held.value))

    detached(upgraded, Race(upgraded, "functions detach console", second), now=NOW)
    assert "has been running make detach since 2026-11-25 12:00 UTC" in refusals[0]
    assert upgraded.things["function"] == {}


def test_who_was_overtaken_detaches_nothing_more(upgraded):
    def second() -> None:
        upgraded(lock.give_back(TARGET, upgraded.things["secret"][lock.NAME]["etag"]), "")
        locked(upgraded)

    with pytest.raises(Held, match="taken over meanwhile"):
        detached(upgraded, Race(upgraded, "functions detach reconcile", second), now=NOW)
    assert 1 < len(upgraded.things["function"]) < len(MOVED)


def deployed_meanwhile(cloud: StandIn, _: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "source_digest", lambda: THIRD)
    cloud.sick = {"reconcile"}
    refused(cloud)


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        (deployed_meanwhile, "A deployment was not completed"),
        (lambda cloud, *_: rolled_back(cloud), "What was deployed last does not serve"),
        (lambda cloud, console, _: cloud.put("function", "console", console), "There is more by now: console."),
    ],
)
def test_what_happens_while_it_asks_is_seen_before_anything_is_detached(upgraded, monkeypatch, meanwhile, told):
    console = copy.deepcopy(upgraded.things["function"]["console"])
    upgraded(services.detach(KNOWN, "console"), "")

    def ask(question: str) -> str:
        meanwhile(upgraded, console, monkeypatch)
        return PROJECT

    with pytest.raises(SystemExit, match=rf"{told}.*Nothing was changed"):
        detached(upgraded, ask=ask)
    assert len(upgraded.things["function"]) >= 6
    assert lock.NAME not in upgraded.things["secret"]
