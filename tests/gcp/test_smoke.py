"""The smoke test: new revisions are tried before they get traffic."""

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
from infra.gcp import commands, labels, lock, services, smoke
from infra.gcp.deploy import deploy
from infra.gcp.description import DEPLOYMENT, MOVED
from infra.gcp.gcloud import PAUSES, Answer, Gcloud, GcloudFailed
from infra.gcp.live import Addresses, Web
from infra.gcp.rollback import rollback
from infra.gcp.smoke import Question, Reply
from infra.gcp.steps import shown
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.stand_in.run import OPERATORS
from tests.gcp.test_deploy import TARGET, changes_of, deployed, nobody
from tests.gcp.test_revisions import KNOWN, SECOND, numbers, refused, serving


@pytest.fixture
def cloud(whole: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A whole deployment, and another source to deploy."""
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    return copy.deepcopy(whole)


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
    assert len(passed) == 1 + 2 + 5 * 2 + 1  # the webhook, two pages, five closed ones that answer, a run
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
    assert len(tokens) == 5
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


def test_a_test_that_fails_when_some_traffic_was_moved_says_so(cloud):
    cloud.interrupt_after = cloud.acted + 1 + 1 + len(MOVED) + 3
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
