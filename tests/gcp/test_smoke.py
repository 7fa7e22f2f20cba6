"""New revisions are tried before they get traffic, and what a version before deployed serves until then."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import commands, destroy, labels, lock, services, smoke
from infra.gcp.deploy import deploy
from infra.gcp.description import DEPLOYMENT, FORMER_GRANT, MOVED
from infra.gcp.gcloud import PAUSES, Answer, Gcloud, GcloudFailed
from infra.gcp.live import Addresses, Web
from infra.gcp.preflight import Consent
from infra.gcp.release import served
from infra.gcp.rollback import rollback
from infra.gcp.smoke import Question, Reply
from infra.gcp.steps import shown
from tests.gcp.stand_in import NUMBER, PROJECT, StandIn
from tests.gcp.stand_in.run import BASE_IMAGES, OPERATORS, managed_by_functions
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed, nobody, redeployed

SECOND = "0123456789abcdef"
KNOWN = replace(TARGET, number=NUMBER)


@pytest.fixture
def cloud(whole: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A whole deployment, and another source to deploy."""
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    return copy.deepcopy(whole)


def serving(cloud: StandIn) -> dict[str, str]:
    """Return the revision that has all traffic, by function."""
    shares = {name: item["status"]["traffic"] for name, item in cloud.things["service"].items()}
    return {name: each["revisionName"] for name, several in shares.items() for each in several if each.get("percent")}


def numbers(cloud: StandIn) -> dict[str, int]:
    return {name: int(revision.split("-")[-2]) for name, revision in serving(cloud).items()}


def refused(cloud: StandIn, **allowed: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        deployed(cloud, **allowed)
    return str(ended.value)


ILL = {
    "directory_webhook": "directory-webhook itself refuses what none of our channels sent (POST ",
    "provision_user": "provision-user answers those who may call it (GET ",
    "reconcile": "reconcile answers those who may call it (GET ",
}


@pytest.mark.parametrize("function", ILL)
def test_a_revision_that_answers_wrongly_gets_no_traffic_and_the_same_command_goes_on(cloud, function):
    before = serving(cloud)
    cloud.sick = {function}
    said = refused(cloud)
    assert f"The smoke test failed: not true that {ILL[function]}https://candidate---" in said
    assert ": 500)" in said
    assert serving(cloud) == before
    cloud.sick.clear()
    changed = changes_of(cloud)
    assert tuple(text.split()[4] for text in changed) == MOVED
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


@pytest.mark.parametrize(
    ("name", "method", "reply"),
    [
        ("console", "GET", Reply(status=200)),
        ("reauthorize", "GET", Reply(status=302, location="https://elsewhere.example.com/")),
        ("directory-webhook", "POST", Reply(status=403, kind="text/html")),  # Google's own
        ("apply-changes", "GET", Reply(status=405, kind=smoke.PROBLEM)),  # open to everybody
        ("reconcile", "POST", Reply(status=503, kind=smoke.PROBLEM)),
        ("renew-watch", "GET", Reply(status=0)),
    ],
)
def test_every_answer_must_be_the_one_that_is_due(cloud, name, method, reply):
    before = serving(cloud)

    def visit(question: Question) -> Reply:
        return reply if (f"---{name}-" in question.url and question.method == method) else cloud.visit(question)

    assert f"not true that {name} " in refused(cloud, visit=visit)
    assert serving(cloud) == before


def test_what_takes_a_while_is_waited_for(cloud):
    """Identity-Aware Proxy takes minutes to protect a service after it was switched on."""
    waited: list[float] = []
    asked: list[Question] = []

    def visit(question: Question) -> Reply:
        asked.append(question)
        return cloud.visit(question) if len(waited) > 3 or "console" not in question.url else Reply(status=404)

    said: list[str] = []
    deploy(TARGET, Gcloud(cloud, sleep=waited.append, say=said.append), said.append, nobody, visit=visit)
    assert waited == list(PAUSES[:4])
    assert any(text.startswith("  wait ") and "console asks strangers to sign in" in text for text in said)
    assert len([each for each in asked if each.method == "POST"]) == 2, "what passed is not asked again"


def failing(cloud: StandIn, seconds: dict[str, float], *replies: Reply) -> tuple[str, list[Question], float]:
    """Return how a deployment ends, the runs it asks for, and how long it took, by what a request of a method takes."""
    asked: list[Question] = []
    clock = [0.0]

    def sleep(pause: float) -> None:
        clock[0] += pause

    def visit(question: Question) -> Reply:
        sleep(min(seconds.get(question.method, 0.1), question.seconds))
        if "---reconcile-" not in question.url or not question.headers:
            return cloud.visit(question)
        asked.append(question)
        return replies[min(len(asked), len(replies)) - 1]

    gcloud = Gcloud(cloud, sleep=sleep, clock=lambda: clock[0])
    with pytest.raises(SystemExit) as ended:
        deploy(TARGET, gcloud, lambda text: None, nobody, visit=visit)
    return str(ended.value), [each for each in asked if each.method == "POST"], clock[0]


WELL, ILL_ONCE = Reply(status=405, kind=smoke.PROBLEM), Reply(status=500, kind=smoke.PROBLEM)
EXPIRED, SILENT = Reply(status=401, kind="text/html"), Reply(status=0)


@pytest.mark.parametrize("replies", [(WELL, EXPIRED), (WELL, SILENT, EXPIRED), (ILL_ONCE, EXPIRED)])
def test_who_was_let_in_once_is_not_taken_for_somebody_who_may_not_ask(cloud, replies):
    before = serving(cloud)
    said, runs, _ = failing(cloud, {}, *replies)
    assert ": 401)" in said
    assert len(runs) <= smoke.RUNS
    assert serving(cloud) == before


@pytest.mark.parametrize(
    ("seconds", "replies", "runs"),
    [({"POST": 9999}, (WELL, SILENT), 2), ({"GET": 9999}, (SILENT,), 0), ({"GET": 29, "POST": 299}, (WELL, SILENT), 2)],
)
def test_whatever_hangs_the_test_ends_long_before_the_lock_is_taken_for_stale(cloud, seconds, replies, runs):
    before = serving(cloud)
    said, made, took = failing(cloud, seconds, *replies)
    assert "no answer)" in said
    assert len(made) == runs
    assert took <= 30 * 60 < lock.STALE.total_seconds() / 2
    assert serving(cloud) == before


def test_each_try_signs_with_a_token_of_its_own(cloud):
    tokens = [command for command in cloud.issued if "print-identity-token" in command]
    failing(cloud, {}, SILENT)
    tries = len(PAUSES)
    assert len([command for command in cloud.issued if "print-identity-token" in command]) - len(tokens) >= tries


def test_an_address_that_is_not_told_yet_is_waited_for_and_one_that_never_is_stops_it(cloud):
    before, waited = serving(cloud), []
    cloud.nowhere = {"console"}
    with pytest.raises(SystemExit, match=r"console has an address .* default URLs are disabled"):
        deployed(cloud)
    assert serving(cloud) == before

    def sleep(pause: float) -> None:
        waited.append(pause)
        cloud.nowhere.clear()

    deploy(TARGET, Gcloud(cloud, sleep=sleep), lambda text: None, nobody, visit=cloud.visit)
    assert waited == [PAUSES[0]]
    assert set(numbers(cloud).values()) == {2}


def test_traffic_is_moved_only_after_everything_has_passed_and_in_its_order(cloud):
    asked: list[int] = []

    def visit(question: Question) -> Reply:
        asked.append(len(cloud.changes()))
        return cloud.visit(question)

    before = len(cloud.changes())
    said = deployed(cloud, visit=visit)
    changed = [shown(command) for command in cloud.changes()]
    places = [place for place, text in enumerate(changed) if place >= before and "update-traffic" in text]
    assert max(asked) <= min(places)
    assert min(asked) > max(place for place, text in enumerate(changed) if text.startswith("gcloud run deploy "))
    assert [changed[place].split()[4] for place in places] == list(MOVED)
    passed = [text for text in said if text.startswith("  passed ")]
    assert len(passed) == 1 + 2 + 4 * 2 + 1  # the webhook, two pages, four closed ones that answer, a run
    assert OPERATORS not in "\n".join(said)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"account": "deployer@keeper-prod.iam.gserviceaccount.com"},
            "functions that need an identity token, which this account does not have",
        ),
        ({"may_invoke": False}, "reconcile answers those who may call it: this account is not allowed to call it"),
    ],
)
def test_what_an_account_cannot_ask_is_told_and_stops_nothing(cloud, change, told):
    for name, value in change.items():
        setattr(cloud, name, value)
    said = "\n".join(deployed(cloud))
    assert f"  not asked  {told}" in said or told in said
    assert "  passed     reconcile is closed to strangers" in said
    assert "makes a run" not in said or "not allowed to call it" in said
    assert set(numbers(cloud).values()) == {2}


def posted_runs(cloud: StandIn, asked: list[Question], **allowed: Any) -> list[str]:
    """Return what is said of a run, where none may be made."""
    said = deployed(cloud, visit=lambda question: asked.append(question) or cloud.visit(question), **allowed)
    assert not [each for each in asked if each.body]
    assert set(numbers(cloud).values()) == {2}
    return [text for text in said if "makes a run" in text]


def test_no_run_is_made_with_what_the_release_that_serves_could_not_read(cloud, monkeypatch):
    """It serves on if another function fails, and would refuse what the run stored."""
    newer = replace(labels.KINDS[16], current=labels.KINDS[16].current + 1)
    monkeypatch.setattr(labels, "KINDS", (*labels.KINDS[:16], newer, *labels.KINDS[17:]))
    (said,) = posted_runs(cloud, [])
    assert said.startswith(
        "  not asked  reconcile makes a run: a sweep of scope groups: the release that serves could not read what "
    )
    assert f"({newer.name}: schema {newer.current}, but it reads " in said


def test_no_run_is_made_while_the_schedule_is_paused(cloud):
    """As it is during an incident, or a restore."""
    cloud.things["job"]["keeper-sweep"]["state"] = "PAUSED"
    (said,) = posted_runs(cloud, [])
    assert said.endswith(": its job keeper-sweep is PAUSED, so no run is wanted now")


def test_a_service_account_with_an_identity_asks_with_a_token_for_each_service(cloud):
    cloud.account, cloud.machine_has_identity = "deployer@keeper-prod.iam.gserviceaccount.com", True
    said = "\n".join(deployed(cloud))
    assert "passed     reconcile makes a run" in said
    tokens = {shown(command) for command in cloud.issued if "--audiences=" in shown(command)}
    assert len(tokens) == 4
    assert any(text.endswith("--audiences=https://reconcile-123456789012.europe-west1.run.app") for text in tokens)


def test_traffic_is_moved_untested_when_that_is_wanted(cloud):
    cloud.sick = {"reconcile"}
    asked: list[Question] = []
    deployed(cloud, untested=True, visit=lambda question: asked.append(question) or Reply(status=0))
    assert (asked, set(numbers(cloud).values())) == ([], {2})


def test_untested_is_yes_or_nothing():
    given = {"PROJECT": PROJECT, "REGION": TARGET.region, "ADMIN": TARGET.admin, "ALERTS": TARGET.alerts}
    with pytest.raises(SystemExit, match=r"UNTESTED=\.\.\. must be yes"):
        command_line.main(["deploy"], given | {"UNTESTED": "1"})


def test_a_revision_that_does_not_start_ends_it_at_once_and_is_made_anew(cloud):
    before, waited = serving(cloud), []
    cloud.broken = {"console"}
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deploy(TARGET, Gcloud(cloud, sleep=waited.append), lambda text: None, nobody, visit=cloud.visit)
    assert (serving(cloud), waited) == (before, [])
    cloud.broken.clear()
    assert redeployed(changes_of(cloud)) == {"console"}
    assert numbers(cloud)["console"] == 3


@pytest.mark.parametrize("name", MOVED)
def test_a_first_revision_that_does_not_start_is_made_anew_by_the_next_deployment(name):
    """Until one has started, a share of traffic can be given to none by its name."""
    cloud = StandIn()
    cloud.broken = {name}
    for _ in range(2):
        with pytest.raises(GcloudFailed, match="failed to start and listen"):
            deployed(cloud)
    cloud.broken.clear()
    deployed(cloud)
    assert numbers(cloud) == dict.fromkeys(NAMES, 1) | {name: 3}
    assert changes_of(cloud) == []


@pytest.mark.parametrize("given", [0, 1, 4])
def test_a_token_that_cannot_be_given_just_now_leaves_nothing_out_of_the_test(cloud, given):
    """Only who never has one is not asked for it, and it says so; else a revision was served that nobody asked."""
    before = serving(cloud)

    class Forgetful:
        left = given

        def __call__(self, command: Any, stdin: str) -> Answer:
            if "print-identity-token" in command:
                self.left -= 1
                if self.left < 0:
                    return Answer(status=1, out="", err="ERROR: gcloud crashed (SSLError): EOF occurred")
            return cloud(command, stdin)

    gcloud = Gcloud(Forgetful(), sleep=lambda seconds: None)
    with pytest.raises(GcloudFailed, match="SSLError"):
        deploy(TARGET, gcloud, lambda text: None, nobody, visit=cloud.visit)
    assert serving(cloud) == before


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_first_revision_whose_answers_are_lost_is_made_anew_too(whole, lost):
    """The first try is told as one that may pass, or the mended one is."""
    place = next(index for index, command in enumerate(whole.changes()) if command[1:4] == ("run", "deploy", "console"))
    cloud = StandIn()
    cloud.broken, cloud.lost = {"console"}, {place} if lost < 2 else set()
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deployed(cloud)
    cloud.broken.clear()
    cloud.lost = {cloud.acted + lost}
    deployed(cloud)
    assert numbers(cloud) == dict.fromkeys(NAMES, 1) | {"console": 3 if lost < 2 else 2}
    assert changes_of(cloud) == []


# ---- what waits for traffic


@pytest.fixture
def waiting(cloud: StandIn) -> StandIn:
    cloud.sick = {"directory_webhook"}
    refused(cloud)
    cloud.sick.clear()
    return cloud


def test_what_waits_was_not_rolled_back_and_a_rollback_takes_its_address(waiting):
    """Else the address stays for good, and the webhook's is public."""
    before = serving(waiting)
    known = served(KNOWN, Gcloud(waiting))
    assert [(item.waiting, item.rolled_back) for item in known] == [(True, False)] * 7
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].release.id) == []
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].deployed.before) == []
    assert serving(waiting) == before
    assert services.CANDIDATE not in str(waiting.things["service"])
    known = served(KNOWN, Gcloud(waiting))
    assert [(item.waiting, item.rolled_back) for item in known] == [(False, True)] * 7
    changed = len(waiting.changes())
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].release.id) == []
    assert len(waiting.changes()) == changed + 2, "but for the lock, nothing"


def test_a_test_that_fails_when_some_traffic_was_moved_says_so(cloud):
    cloud.interrupt_after = cloud.acted + 1 + 1 + 7 + 3
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    cloud.sick = {"directory_webhook"}
    said = refused(cloud, unlock=True)
    assert "No traffic was moved" not in said
    moved = ", ".join(name for name, number in numbers(cloud).items() if number == 2)
    assert moved.count(", ") == 2
    assert f"All traffic of {moved} was moved to this release before. make rollback undoes that" in said
    assert len(rollback(TARGET, Gcloud(cloud), lambda text: None)) == 3
    assert set(numbers(cloud).values()) == {1}
    assert services.CANDIDATE not in str(cloud.things["service"])


def test_a_first_deployment_whose_test_fails_is_told_to_serve():
    cloud = StandIn()
    cloud.sick = {"reconcile"}
    said = refused(cloud)
    assert "No traffic was moved" not in said
    names = ", ".join(function.name for function in DEPLOYMENT.functions)
    assert f"These serve already, since they are first revisions: {names}. Its log" in said
    assert "make rollback" not in said


def test_another_release_replaces_what_waits(waiting, monkeypatch):
    first = served(KNOWN, Gcloud(waiting))[0].release.id
    monkeypatch.setattr(commands, "source_digest", lambda: "fedcba9876543210")
    deployed(waiting)
    assert set(numbers(waiting).values()) == {3}
    assert {item.release.before for item in served(KNOWN, Gcloud(waiting))} == {first}


def test_tags_of_other_people_stay(cloud):
    traffic = cloud.things["service"]["console"]["spec"]["traffic"]
    traffic.append({"revisionName": "console-00001-abc", "tag": "mine"})
    assert changes_of(cloud)
    tags = [share.get("tag") for share in cloud.things["service"]["console"]["spec"]["traffic"]]
    assert tags == [None, "mine"]
    assert changes_of(cloud) == []


STEPS = 1 + 1 + 7 + 7 + 1  # the lock, the build, revisions, traffic, the lock


@pytest.mark.parametrize("after", range(STEPS))
def test_whenever_it_is_broken_off_the_old_serve_until_all_new_ones_are_there(cloud, after):
    before = serving(cloud)
    cloud.interrupt_after = cloud.acted + after
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    if after <= 9:
        assert serving(cloud) == before
    assert set(numbers(cloud).values()) <= {1, 2}
    deployed(cloud, unlock=True)
    assert set(numbers(cloud).values()) == {2}
    assert len(cloud.things["revision"]) == 14
    assert changes_of(cloud) == []


def back_again(cloud: StandIn, **allowed: Any) -> list[str]:
    return deployed(cloud, again=True, **allowed)


def test_a_release_that_was_rolled_back_is_tried_before_it_serves_again(cloud):
    deployed(cloud)
    rollback(TARGET, Gcloud(cloud), lambda text: None)
    before, things = serving(cloud), len(cloud.things["revision"])
    cloud.sick = {"reconcile"}
    with pytest.raises(SystemExit, match="not true that reconcile answers those who may call it"):
        back_again(cloud)
    assert serving(cloud) == before
    cloud.sick.clear()
    changed = changes_of(cloud, again=True)
    assert [text.split()[4] for text in changed] == list(MOVED), "the tags were still there"
    assert (set(numbers(cloud).values()), len(cloud.things["revision"])) == ({2}, things)
    assert changes_of(cloud) == []


def test_what_was_sent_to_a_revision_by_hand_is_tried_before_it_goes_to_the_latest(cloud):
    deployed(cloud)
    for name, traffic in {
        "console": [{"revisionName": "console-00001-abc", "percent": 100}],
        "reconcile": [
            {"revisionName": "reconcile-00001-abc", "percent": 50},
            {"revisionName": "reconcile-00002-abc", "percent": 50},
        ],
    }.items():
        service = cloud.things["service"][name]
        service["spec"]["traffic"] = service["status"]["traffic"] = traffic
    said = deployed(cloud, again=True)
    passed = [text.split()[1] for text in said if text.startswith("  passed ")]
    assert set(passed) == {"console", "reconcile"}
    assert set(numbers(cloud).values()) == {2}


@pytest.mark.parametrize("index", range(7 + 7))
def test_serving_again_ends_well_whichever_answer_was_lost(cloud, index):
    deployed(cloud)
    rollback(TARGET, Gcloud(cloud), lambda text: None)
    cloud.lost = {cloud.acted + 1 + index}
    assert len(changes_of(cloud, again=True)) == 7 + 7
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


# ---- from Cloud Functions


@pytest.fixture
def former(cloud: StandIn) -> StandIn:
    """What a version before deployed with `gcloud functions deploy`."""
    managed_by_functions(cloud)
    del cloud.things["bucket"], cloud.policies[f"bucket:gs://keeper-source-{NUMBER}"]
    (account,) = [item for item in DEPLOYMENT.accounts if item.name == "build"]
    policy = cloud.policies[f"project:{PROJECT}"]["bindings"]
    only = FORMER_GRANT.only
    assert only
    policy.append(
        {
            "role": FORMER_GRANT.role,
            "members": [f"serviceAccount:{account.id}@{PROJECT}.iam.gserviceaccount.com"],
            "condition": {
                "title": only.title,
                "expression": only.expression.format(number=NUMBER, region=TARGET.region),
            },
        }
    )
    return cloud


def upgraded(cloud: StandIn, **allowed: Any) -> list[str]:
    return deployed(cloud, **{"consent": Consent(confirmed=True)} | allowed)


def test_leaving_cloud_functions_is_confirmed_and_nothing_changes_before(former):
    before, things = len(former.changes()), copy.deepcopy(former.things)
    asked: list[str] = []
    with pytest.raises(SystemExit, match="Nothing was changed"):
        deployed(former, ask=lambda question: asked.append(question) or "no")
    assert (len(former.changes()), former.things) == (before, things)
    assert asked[0].startswith("Cloud Functions manages apply-changes, console, ")
    deployed(former, ask=lambda question: PROJECT)
    assert former.things["function"] == {}


def test_an_upgrade_keeps_addresses_and_revisions_and_may_be_rolled_back(former):
    addresses = {name: item["status"]["url"] for name, item in former.things["service"].items()}
    first = serving(former)
    before = len(former.changes())
    upgraded(former)
    changed = [shown(command) for command in former.changes()[before:]]
    detached = [place for place, text in enumerate(changed) if text.startswith("gcloud functions detach ")]
    assert len(detached) == 7
    assert min(detached) > max(place for place, text in enumerate(changed) if "--to-latest" in text)
    assert [text for text in changed if "pubsub" in text or "scheduler" in text or " iap " in text] == []
    assert {name: item["status"]["url"] for name, item in former.things["service"].items()} == addresses
    assert BASE_IMAGES not in str([item["spec"]["template"] for item in former.things["service"].values()])
    assert "gcf-v2-sources" not in str(former.policies)
    assert set(numbers(former).values()) == {2}
    assert changes_of(former) == []
    rollback(TARGET, Gcloud(former), lambda text: None)
    assert serving(former) == first


@pytest.mark.parametrize("ends", ["a build", "a revision", "the smoke test"])
def test_until_what_is_deployed_serves_there_is_a_way_back_into_cloud_functions(former, ends):
    first, functions = serving(former), dict(former.things["function"])
    if ends == "a build":
        former.failures = [("builds submit", "build failed; check build logs for details", 1)]
    elif ends == "a revision":
        former.broken = {"reconcile"}
    else:
        former.sick = {"reconcile"}
    with pytest.raises((SystemExit, GcloudFailed)):
        upgraded(former)
    assert (serving(former), former.things["function"]) == (first, functions)


def test_functions_that_were_not_told_before_the_question_leave_only_after_another(former):
    """While its API is not enabled, Cloud Functions tells nothing; a deployment enables it."""
    former.enabled.discard("cloudfunctions.googleapis.com")
    functions, asked = dict(former.things["function"]), []
    with pytest.raises(SystemExit, match="That does not match"):
        deployed(former, ask=lambda question: asked.append(question) or "no")
    assert asked[0].startswith("Cloud Functions manages apply-changes, console, ")
    assert former.things["function"] == functions
    deployed(former, ask=lambda question: asked.append(question) or PROJECT)
    assert (former.things["function"], len(asked)) == ({}, 2)


def test_functions_of_somebody_else_are_left_to_them(former):
    function = former.things["function"]["console"]
    function["serviceConfig"]["serviceAccountEmail"] = "somebody@example.com"
    assert services.formers(KNOWN, DEPLOYMENT, [function]) == []
    elsewhere = function | {"name": function["name"].replace("europe-west1", "europe-west2")}
    assert services.formers(KNOWN, DEPLOYMENT, [elsewhere]) == []


def test_functions_in_a_region_that_a_list_leaves_out_are_not_deployed_over(former):
    former.unreachable = {"europe-west1"}
    before, things = len(former.changes()), copy.deepcopy(former.things)
    with pytest.raises(
        SystemExit, match=r"Cloud Functions manages .*console.* does not show them.*Nothing was changed"
    ):
        upgraded(former)
    assert (former.changes()[before:], former.things) == ([], things)
    former.unreachable = set()
    upgraded(former)
    assert former.things["function"] == {}


def test_a_label_that_stays_after_leaving_cloud_functions_hinders_nothing(former):
    upgraded(former)
    for service in former.things["service"].values():
        service["metadata"]["labels"]["goog-managed-by"] = "cloudfunctions"
    assert changes_of(former) == []


UPGRADE = (
    1 + 2 + 1 + 7 + 7 + 7 + 1 + 1
)  # the lock, the bucket, the build, leaving, revisions, traffic, a grant, the lock


@pytest.mark.parametrize("index", range(UPGRADE))
def test_an_upgrade_ends_well_whichever_answer_was_lost(former, index):
    former.lost = {former.acted + index}
    before = former.acted
    upgraded(former)
    assert former.acted - before == UPGRADE, "nothing was done twice"
    assert former.things["function"] == {}
    assert set(numbers(former).values()) == {2}
    assert len(former.things["revision"]) == 14
    assert changes_of(former) == []


@pytest.mark.parametrize("after", range(UPGRADE))
def test_an_upgrade_goes_on_wherever_it_was_broken_off_and_something_serves_always(former, after):
    former.interrupt_after = former.acted + after
    with pytest.raises(KeyboardInterrupt):
        upgraded(former)
    former.interrupt_after = None
    assert set(numbers(former)) == NAMES
    upgraded(former, unlock=True)
    assert set(numbers(former).values()) == {2}
    assert changes_of(former) == []


def test_functions_that_were_never_detached_are_destroyed_too(former):
    said: list[str] = []
    destroy.destroy(TARGET, Gcloud(former), said.append, lambda question: PROJECT, destroy.Wanted())
    assert former.things["function"] == former.things["service"] == {}
    assert "  delete     Function console" in said


# ---- what Cloud Run tells of a service


def test_a_revision_that_waits_is_ready_though_the_service_names_the_one_that_serves(cloud):
    """Else each deployment would make seven revisions more, and none would ever be tried."""
    cloud.retires = True
    before = serving(cloud)
    cloud.sick = {"directory_webhook"}
    for _ in range(2):
        assert "not true that directory-webhook itself refuses" in refused(cloud)
    assert (serving(cloud), len(cloud.things["revision"])) == (before, 14)
    cloud.sick.clear()
    assert tuple(text.split()[4] for text in changes_of(cloud)) == MOVED
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


@pytest.mark.parametrize("index", [place for place, item in enumerate(DEPLOYMENT.functions) if not item.iap])
def test_a_status_of_before_is_not_taken_for_that_of_what_was_just_deployed(cloud, index):
    """Else no revision would be seen to wait, none be tried, and all traffic moved."""
    before = serving(cloud)
    cloud.lost, cloud.status_lag = {cloud.acted + 2 + index}, 100
    function = DEPLOYMENT.functions[index]
    cloud.sick = {function.entry_point}
    assert f"The smoke test failed: not true that {function.name} " in refused(cloud)
    assert serving(cloud) == before


def test_traffic_that_was_not_moved_though_gcloud_says_so_ends_the_deployment(cloud):
    cloud.unrouted = {"console"}
    said = refused(cloud)
    assert "Traffic was not moved, though gcloud says that it was: console serves console-00001-abc" in said
    assert numbers(cloud) == dict.fromkeys(NAMES, 2) | {"console": 1}
    cloud.unrouted.clear()
    assert [text.split()[4] for text in changes_of(cloud)] == ["console"] * 2, "tried again, and moved"
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


def test_traffic_that_does_not_follow_to_the_latest_revision_is_sent_to_it_by_name(cloud, monkeypatch):
    cloud.retires = cloud.latest_stays = True
    for number, source in ((2, SECOND), (3, "fedcba9876543210")):
        monkeypatch.setattr(commands, "source_digest", lambda source=source: source)
        assert "Traffic was not moved" in refused(cloud)
        assert set(numbers(cloud).values()) == {number - 1}
        changed = [text for text in changes_of(cloud) if "--to-revisions=" in text]
        assert [text.split()[4] for text in changed] == list(MOVED)
        assert set(numbers(cloud).values()) == {number}
        assert changes_of(cloud) == []


def test_a_revision_that_did_not_start_is_not_told_as_rolled_back(cloud):
    cloud.broken = {"console"}
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deployed(cloud)
    known = {item.name: item for item in served(KNOWN, Gcloud(cloud))}
    assert (known["console"].waiting, known["console"].rolled_back) == (True, False)
    cloud.broken.clear()
    deployed(cloud)
    assert set(numbers(cloud)) == NAMES
    assert {item.release.id for item in served(KNOWN, Gcloud(cloud))} == {known["console"].deployed.id}


# ---- over the wire


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A server with a body that never ends at /endless, and a home with a password for whatever host."""
    seen: list[str] = []
    ended = threading.Event()

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", "none"))
            self.send_response(405)
            self.send_header("Content-Type", smoke.PROBLEM)
            self.end_headers()
            with suppress(OSError):
                while self.path == "/endless" and not ended.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / ".netrc").write_text("default login me password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield f"http://127.0.0.1:{server.server_port}", seen
    ended.set()
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("headers", [{"Authorization": "Bearer mine"}, {}])
def test_a_question_is_signed_as_it_says_and_no_body_is_waited_for(front, headers):
    """A password of ~/.netrc would go to any server, and a token not; a body without an end would hold the lock."""
    url, seen = front
    assert smoke.visit(Question(method="GET", url=f"{url}/endless", headers=headers)) == Reply(
        status=405, kind=smoke.PROBLEM
    )
    assert seen == [headers.get("Authorization", "none")]


def test_the_doctor_takes_no_password_of_the_person_anywhere(front):
    url, seen = front
    web = Web(KNOWN, "mine", Addresses(directory=url))
    assert (web.users("theirs"), web.keeper(url)) == (405, 405)
    assert seen == ["Bearer theirs", "none"]
