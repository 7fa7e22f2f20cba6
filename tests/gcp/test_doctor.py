"""`make doctor`: the stand-in for gcloud, and small servers for what is asked over HTTPS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from infra.gcp import commands
from infra.gcp.delegation import BROADER, SCOPES
from infra.gcp.description import DEPLOYMENT
from infra.gcp.detach import detach
from infra.gcp.doctor import FULL_RUN, examine
from infra.gcp.gcloud import SIGN_IN, Gcloud, GcloudFailed
from infra.gcp.live import Addresses
from infra.gcp.rollback import rollback
from infra.gcp.target import Target
from tests.gcp.stand_in import FORMER, StandIn
from tests.gcp.stand_in.run import managed_by_functions
from tests.gcp.test_deploy import TARGET, deployed
from tests.gcp.test_rollback_and_destroy import first_made_by_the_second

pytestmark = pytest.mark.timeout(600)  # gcloud's parser takes its time on a busy machine

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
OPERATOR = "Bearer token-of-the-operator"


def stamp(ago: timedelta) -> str:
    return (NOW - ago).isoformat().replace("+00:00", ".123456Z")


class World:
    """IAM credentials, the token endpoint, the Directory API, Firestore and Keeper, on loopback."""

    def __init__(self) -> None:
        self.scopes = set(SCOPES)
        self.may_sign = True
        self.directory = 200
        self.keeper = 401
        self.channels = [{"proven": {"booleanValue": True}, "expires": {"timestampValue": stamp(-timedelta(hours=1))}}]
        self.sources: dict[str, timedelta] = {}  # for how long each was not heard
        self.state = "on"
        self.chosen: tuple[str, ...] = ()  # for a pilot
        self.runs = [{"state": {"stringValue": "done"}, "started": {"timestampValue": stamp(timedelta(minutes=20))}}]
        self.dead_letters: int | None = 0
        self.asked: list[str] = []
        self.address = ""

    def answer(self, method: str, path: str, body: str, authorization: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if path.endswith(":signJwt"):
            assert authorization == OPERATOR
            if not self.may_sign:
                return 403, {"error": {"message": "Permission 'iam.serviceAccounts.signJwt' denied."}}
            claims = json.loads(json.loads(body)["payload"])
            assert (claims["iss"], claims["sub"]) == (
                "keeper-directory@keeper-prod.iam.gserviceaccount.com",
                TARGET.admin,
            )
            return 200, {"signedJwt": claims["scope"]}
        if path == "/token":
            scope = parse_qs(body)["assertion"][0]
            if scope in self.scopes:
                return 200, {"access_token": f"for {scope}"}
            return 401, {"error": "unauthorized_client"}
        if path.startswith("/admin/directory/v1/users"):
            return self.directory, {}
        if path.startswith("/v3/projects/keeper-prod/timeSeries"):
            assert authorization == OPERATOR
            assert 'resource.labels.subscription_id="dead-letters"' in parse_qs(path.partition("?")[2])["filter"][0]
            points = [{"value": {"int64Value": str(self.dead_letters)}}, {"value": {"int64Value": "77"}}]
            return 200, {} if self.dead_letters is None else {"timeSeries": [{"points": points}]}
        if path.startswith("/scim/Users"):
            assert authorization == ""
            return self.keeper, {}
        return 200, {"documents": self._documents(path.partition("/documents/")[2].partition("?")[0])}

    def _documents(self, collection: str) -> list[dict[str, Any]]:
        if collection == "sources":
            noted = {name: {"latest": {"timestampValue": stamp(ago)}} for name, ago in self.sources.items()}
            return [{"name": f"projects/p/x/sources/{name}", "fields": fields} for name, fields in noted.items()]
        people = {name: {"stringValue": f"{name}@example.com"} for name in self.chosen}
        connection = {
            "name": {"stringValue": "Keeper"},
            "state": {"stringValue": self.state},
            "endpoint": {"stringValue": f"{self.address}/scim"},
            "pilot": {"mapValue": {"fields": people}} if people else {"nullValue": None},
        }
        found = {"connections": [connection], "channels": self.channels, "connections/1/runs": self.runs}[collection]
        return [{"name": f"projects/p/x/{number}", "fields": fields} for number, fields in enumerate(found, 1)]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._act("GET")

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def do_POST(self) -> None:
            self._act("POST")

        def _act(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, answer = world.answer(method, self.path, body, self.headers.get("Authorization", ""))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    world.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield world
    server.shutdown()
    server.server_close()


@pytest.fixture
def cloud() -> StandIn:
    cloud = StandIn()
    deployed(cloud)
    for index in cloud.things["index"].values():
        index["state"] = "READY"
    for field in cloud.things["field"].values():
        if "ttlConfig" in field:
            field["ttlConfig"]["state"] = "ACTIVE"
    for job in cloud.things["job"].values():
        job["lastAttemptTime"] = stamp(timedelta(minutes=4))
    return cloud


def to_mend(
    cloud: StandIn, world: World, target: Target = TARGET, away: str = "", said: list[str] | None = None
) -> dict[str, str]:
    """Return what the doctor wants mended, and how."""
    said = [] if said is None else said
    base = away or world.address
    addresses = Addresses(iam=base, token=f"{base}/token", directory=base, firestore=base, monitoring=base)
    before = len(cloud.changes())
    status = examine(target, Gcloud(cloud, pauses=()), said.append, addresses, NOW)
    assert len(cloud.changes()) == before, "the doctor changes nothing"
    assert "token-of-the-operator" not in "\n".join(said)
    found = {text.removeprefix("  FIX   "): said[place + 1].strip() for place, text in enumerate(said) if "FIX" in text}
    assert status == (1 if found else 0)
    return found


def test_a_healthy_deployment_has_nothing_to_mend(cloud, world):
    assert to_mend(cloud, world) == {}
    assert any("iamcredentials" not in asked and ":signJwt" in asked for asked in world.asked)


def test_an_empty_project_is_told_to_deploy_and_nothing_breaks(world):
    found = to_mend(StandIn(), world)
    apis = next(title for title in found if title.startswith("APIs enabled"))
    assert found[apis] == (
        "make deploy PROJECT=keeper-prod REGION=europe-west1 ADMIN=admin@example.com ALERTS=on-call@example.com "
        "ACCESS=domain:example.com"
    )


@pytest.mark.parametrize(
    ("kind", "name", "change", "title", "mend"),
    [
        ("job", "keeper-full", {"state": "PAUSED"}, "Job keeper-full", "gcloud scheduler jobs resume keeper-full"),
        ("job", "keeper-full", {"lastAttemptTime": stamp(timedelta(hours=1))}, "Job keeper-full", "60 minutes ago"),
        ("job", "keeper-drift", {"status": {"code": 13}}, "Job keeper-drift", "FUNCTION=reconcile"),
        ("job", "keeper-sweep", {"lastAttemptTime": ""}, "Job keeper-sweep", "within 5 minutes"),
        ("index", "1", {"state": "CREATING"}, "Index on ", "still building"),
        ("subscription", "run-requests", {"ackDeadlineSeconds": 10}, "Subscription run-requests", "make deploy"),
    ],
)
def test_what_is_wrong_in_the_project_is_named_with_its_mend(cloud, world, kind, name, change, title, mend):
    cloud.things[kind][name].update(change)
    ((found, how),) = to_mend(cloud, world).items()
    assert found.startswith(title)
    assert mend in how


def test_a_missing_grant_is_named(cloud, world):
    cloud.policies["secret:form-key"]["bindings"] = []
    titles = list(to_mend(cloud, world))
    assert any(
        title.startswith("keeper-console has roles/secretmanager.secretAccessor on secret:form-key") for title in titles
    )


def test_an_address_that_cloud_run_does_not_know_is_named(cloud, world):
    service = cloud.things["service"]["console"]
    service["metadata"]["annotations"]["run.googleapis.com/urls"] = '["https://other.run.app"]'
    service["status"]["url"] = "https://other.run.app"
    ((title, mend),) = to_mend(cloud, world).items()
    assert title == "console is at https://console-123456789012.europe-west1.run.app"
    assert "https://other.run.app" in mend


@pytest.mark.parametrize("missing", SCOPES)
def test_a_scope_that_is_not_delegated_is_named(cloud, world, missing):
    world.scopes.discard(missing)
    found = to_mend(cloud, world)
    assert list(found) == [missing]
    assert "Domain-wide delegation" in found[missing]


def test_a_scope_that_writes_must_be_refused(cloud, world):
    world.scopes.add(BROADER)
    ((title, mend),) = to_mend(cloud, world).items()
    assert (title, BROADER in mend) == ("A scope that writes is refused", True)


def test_who_may_not_sign_is_told_how_to_be_allowed_for_the_check(cloud, world):
    world.may_sign = False
    ((title, mend),) = to_mend(cloud, world).items()
    assert title == "You are not allowed to try this"
    assert "signJwt" in mend
    assert "remove-iam-policy-binding" in mend


@pytest.mark.parametrize(
    ("field", "value", "title"),
    [
        ("directory", 403, "The directory is read"),
        ("keeper", 503, "Keeper: Keeper answers"),
        ("state", "paused", "Keeper: Keeper accepts the access token"),
        ("dead_letters", 3, "No message was given up"),
        ("channels", [], "A notification channel is live"),
        (
            "channels",
            [{"proven": {"booleanValue": True}, "expires": {"timestampValue": stamp(timedelta(minutes=1))}}],
            "A notification channel is live",
        ),
    ],
)
def test_what_is_wrong_outside_is_named(cloud, world, field, value, title):
    setattr(world, field, value)
    assert list(to_mend(cloud, world)) == [title]


@pytest.mark.parametrize(
    ("runs", "token", "done"),
    [
        ([("done", 4)], "", ""),
        ([("planned", 1), ("done", 20)], "", ""),
        ([("observing", 1), ("done", 20)], "", ""),
        ([("planned", 70)], "gcloud scheduler jobs run keeper-full", "no-successful-run.md"),
        ([("refused", 4), ("done", 20)], "refused before it planned anything", ""),
        ([("superseded", 4)], "No run has tried it", "no-successful-run.md"),
        ([], "gcloud scheduler jobs run keeper-full", "no-successful-run.md"),
    ],
)
def test_whether_keeper_takes_the_token_is_told_by_the_runs_that_tried_it(cloud, world, runs, token, done):
    world.runs = [
        {"state": {"stringValue": state}, "started": {"timestampValue": stamp(timedelta(minutes=ago))}}
        for state, ago in runs
    ]
    found = to_mend(cloud, world)
    for title, mend in (("accepts the access token", token), ("a run of the last hour is done", done)):
        said = found.pop(f"Keeper: Keeper {title}" if "token" in title else f"Keeper: {title}", "")
        assert mend in said if mend else said == ""
    assert found == {}


@pytest.mark.parametrize("state", ["on", "paused"])
def test_a_pilot_is_told_and_is_examined_as_any_connection(cloud, world, state):
    said: dict[str, list[str]] = {state: [], f"pilot: {state}": []}
    for world.state, lines in said.items():
        world.chosen = ("u1", "u2") if world.state.startswith("pilot") else ()
        to_mend(cloud, world, said=lines)
    before, pilot = said.values()
    told = next(place for place, line in enumerate(pilot) if "a pilot, on for 2 chosen people only" in line)
    assert "FIX" not in pilot[told]
    assert pilot[:told] + pilot[told + 2 :] == before


def test_functions_that_are_still_managed_by_cloud_functions_are_noted_until_they_are_detached(cloud, world):
    """That is no fault: it is a way back."""
    managed_by_functions(cloud)
    deployed(cloud)
    note = f"  note  Cloud Functions still manages {', '.join(function.name for function in DEPLOYMENT.functions)}"
    said: list[str] = []
    assert to_mend(cloud, world, said=said) == {}
    assert said[said.index(note) + 1].endswith(f" for good: make detach {TARGET.settings}")
    assert said[-1] == "\nAll is well."
    detach(TARGET, Gcloud(cloud), said.append, lambda question: "", confirmed=True)
    said.clear()
    assert to_mend(cloud, world, said=said) == {}
    assert not any("Cloud Functions" in text for text in said)


def test_the_job_that_makes_a_run_now_is_there():
    assert [job.body for job in DEPLOYMENT.jobs if job.name == FULL_RUN] == ['{"kind": "full"}']


def test_a_project_that_cannot_be_reached_ends_it(cloud, world):
    cloud.failures = [("projects describe", "PERMISSION_DENIED: not you", 9)]
    with pytest.raises(GcloudFailed, match="not you"):
        to_mend(cloud, world)


# ---- this machine


@pytest.mark.parametrize(
    ("sdk", "title", "mend"),
    [
        ({"Google Cloud SDK": "527.9.9"}, "gcloud 527.9.9 is installed", "gcloud components update"),
        ({"alpha": None}, "gcloud has alpha", "gcloud components install alpha"),
        ({"beta": None}, "gcloud has beta", "gcloud components install beta"),
    ],
)
def test_a_gcloud_that_lacks_something_is_named(cloud, world, sdk, title, mend):
    cloud.sdk = {name: version for name, version in (cloud.sdk | sdk).items() if version}
    ((found, how),) = to_mend(cloud, world).items()
    assert found == title
    assert mend in how


def test_a_newer_gcloud_and_no_count_of_messages_are_well(cloud, world):
    cloud.sdk["Google Cloud SDK"] = "1000.0.0"
    world.dead_letters = None
    assert to_mend(cloud, world) == {}


def test_without_a_sign_in_the_doctor_says_how_and_looks_at_what_needs_none(cloud, world):
    cloud.failures = [("--project", SIGN_IN, 99), ("projects describe", f"Please run:\n  $ {SIGN_IN}", 99)]
    nobody = "http://127.0.0.1:9"
    found = to_mend(cloud, world, away=nobody)
    assert found.pop("gcloud is signed in") == (
        'Nobody is signed in to gcloud: run "gcloud auth login" (docs/install.md, step 1).'
    )
    assert set(found) == {f"{nobody} answers", f"{nobody}/token answers"}


def test_who_was_let_in_and_is_not_wanted_any_more_is_named(cloud, world):
    cloud.policies["iap:console"]["bindings"][0]["members"].append(FORMER)
    cloud.policies["service:reconcile"]["bindings"][0]["members"].append("allUsers")
    narrowed = replace(TARGET, runbooks="https://example.com/runbooks")
    found = to_mend(cloud, world, narrowed)
    named = {title: mend for title, mend in found.items() if "else" in title}
    assert set(named) == {
        f"Identity-Aware Proxy lets nobody else through to console: except {FORMER}",
        "Nobody else has roles/run.invoker on service:reconcile: except allUsers",
    }
    assert all(mend.endswith(" RUNBOOKS=https://example.com/runbooks") for mend in named.values())


def test_a_budget_of_a_closed_billing_account_is_named_with_what_to_do_by_hand(cloud, world):
    paid = replace(TARGET, budget="50EUR")
    deployed(cloud, paid)
    assert to_mend(cloud, world, paid) == {}
    cloud.may_budget = False
    ((title, mend),) = to_mend(cloud, world, paid).items()
    assert title.startswith("Budget: 50EUR a month")
    assert title.endswith("could not be checked")
    assert "roles/billing.costsManager" in mend


def test_a_role_that_is_too_much_is_named(cloud, world):
    builder = "serviceAccount:keeper-build@keeper-prod.iam.gserviceaccount.com"
    too_much = {"role": "roles/storage.objectViewer", "members": [builder]}
    cloud.policies["project:keeper-prod"]["bindings"].append(too_much)
    ((title, mend),) = to_mend(cloud, world).items()
    assert title == "keeper-build has no other role on the whole project: except roles/storage.objectViewer"
    assert mend.startswith("make deploy ")


def test_a_webhook_that_is_not_public_is_named(cloud, world):
    del cloud.things["service"]["directory-webhook"]["metadata"]["annotations"][
        "run.googleapis.com/invoker-iam-disabled"
    ]
    ((title, _),) = to_mend(cloud, world).items()
    assert title.startswith("directory-webhook is public")


# ---- releases


@pytest.fixture
def twice(cloud: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    deployed(cloud)
    return cloud


def roll_back(cloud: StandIn) -> None:
    rollback(TARGET, Gcloud(cloud), lambda text: None)


def told(cloud: StandIn, world: World) -> str:
    said: list[str] = []
    base = world.address
    addresses = Addresses(iam=base, token=f"{base}/token", directory=base, firestore=base, monitoring=base)
    examine(TARGET, Gcloud(cloud, pauses=()), said.append, addresses, NOW)
    return "\n".join(said)


def test_the_doctor_says_which_release_serves_and_who_deployed_it_when(cloud, world):
    labels = cloud.things["service"]["console"]["metadata"]["labels"] | {"version": "v1-0-0", "commit": "0123456789ab"}
    for revision in cloud.things["revision"].values():
        revision["metadata"]["labels"] |= labels | {"deployed": "2026-11-25t11-30-00z"}
    assert (
        f"ok    Release {labels['release']} of 2026-11-25 11:30 UTC, version v1-0-0, commit 0123456789ab, "
        "by owner_at_example-com"
    ) in told(cloud, world)


@pytest.mark.parametrize("checked_out", ["the one that was left", "the one before"])
def test_after_a_rollback_the_doctor_says_so_and_nothing_of_another_deployment(twice, world, monkeypatch, checked_out):
    before = twice.things["service"]["console"]["metadata"]["labels"]["before"]
    roll_back(twice)
    if checked_out == "the one before":
        monkeypatch.undo()
    assert to_mend(twice, world) == {}
    text = told(twice, world)
    assert f"ok    rolled back to {before} of " in text
    assert "make deploy" not in text


def test_a_function_that_the_release_rolled_back_to_did_not_have_yet_is_nothing_to_mend(twice, world):
    first_made_by_the_second(twice, "workspace-events")
    roll_back(twice)
    assert to_mend(twice, world) == {}
    assert "ok    left as it is, since that release did not have it yet: workspace-events" in told(twice, world)


def test_a_rollback_that_was_broken_off_is_to_be_ended(twice, world):
    before = twice.things["service"]["console"]["metadata"]["labels"]["before"]
    twice.interrupt_after = twice.acted + 4
    with pytest.raises(KeyboardInterrupt):
        roll_back(twice)
    twice.interrupt_after = None
    ((title, mend),) = to_mend(twice, world).items()
    assert title.startswith("Functions serve several releases: ")
    assert f"; {before} of " in title
    assert mend.startswith(f"make rollback RELEASE={before} PROJECT=keeper-prod ")


def test_a_release_whose_smoke_test_failed_is_said_to_wait(cloud, world, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.sick = {"directory_webhook"}
    with pytest.raises(SystemExit, match="The smoke test failed"):
        deployed(cloud)
    found = to_mend(cloud, world)
    release = cloud.things["service"]["console"]["metadata"]["labels"]["release"]
    (title,) = [title for title in found if title.endswith(" waits for its traffic")]
    assert title.startswith(f"Release {release} of ")
    assert "make deploy PROJECT=keeper-prod" in found.pop(title)
    assert {title.partition(" of ")[0] for title in found} == {"All traffic"}


def break_off(cloud, monkeypatch):
    """Break another deployment off while it moves traffic."""
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.interrupt_after = cloud.acted + 12
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None


def test_what_waits_while_some_functions_serve_it_and_after_a_rollback(cloud, world, monkeypatch):
    break_off(cloud, monkeypatch)
    found = to_mend(cloud, world)
    (title,) = [title for title in found if title.endswith(" waits for its traffic")]
    assert " Some functions serve it already, which make rollback undoes: " in found[title]
    rollback(TARGET, Gcloud(cloud), lambda text: None, unlock=True)
    assert to_mend(cloud, world) == {}


def test_a_first_deployment_whose_smoke_test_failed_is_said_to_serve(cloud, world):
    for service in cloud.things["service"].values():
        (share,) = service["spec"]["traffic"]
        tagged = {"revisionName": service["status"]["latestReadyRevisionName"], "tag": "candidate"}
        service["spec"]["traffic"] = [share, tagged]
        service["status"]["traffic"] = [share | tagged | {"tag": ""}, tagged]
    found = to_mend(cloud, world)
    (title,) = [title for title in found if title.endswith(" serves, though its smoke test has not passed")]
    assert "The smoke test of their first revisions failed or was interrupted: " in found[title]


def test_a_deployment_that_was_broken_off_is_to_be_ended_or_taken_back(cloud, world, monkeypatch):
    break_off(cloud, monkeypatch)
    found = to_mend(cloud, world)
    (title,) = [title for title in found if title.startswith("Functions serve several releases: ")]
    assert "interrupted" in found[title]
    assert "make rollback" in found[title]


# ---- sources of changes


@pytest.fixture
def sunk(cloud: StandIn) -> StandIn:
    deployed(cloud, replace(TARGET, sink="organization"))
    for job in cloud.things["job"].values():
        job["lastAttemptTime"] = stamp(timedelta(minutes=4))
    return cloud


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(hours=2), "  ok    Entries of the audit log arrive: the last one at 2026-11-25 10:00 UTC"),
        (timedelta(days=2), "  note  No entry of the audit log has arrived since 2026-11-23 12:00 UTC"),
        (timedelta(days=4), "  FIX   Entries of the audit log arrive"),
        (None, "  FIX   Entries of the audit log arrive"),
    ],
)
def test_the_newest_entry_tells_whether_the_log_is_shared_and_what_to_click(sunk, world, age, told):
    world.sources = {"audit_log": age} if age else {}
    said: list[str] = []
    found = to_mend(sunk, world, said=said)
    assert told in said
    mend = found.get("Entries of the audit log arrive", "")
    assert ("Legal and compliance > Sharing options" in mend) is ("FIX" in told)
    assert set(found) == ({"Entries of the audit log arrive"} if "FIX" in told else set())


OFTEN = "Full runs are made every 15 minutes in spite of FULL_RUNS=daily"


@pytest.mark.parametrize(
    ("ago", "told"),
    [
        (timedelta(hours=2), "  note  Full runs are made as seldom as is set: FULL_RUNS=daily"),
        (timedelta(days=2), f"  ok    {OFTEN}: no entry has arrived since 2026-11-23 12:00 UTC"),
    ],
)
def test_it_tells_how_often_everybody_is_looked_at(sunk, world, ago, told):
    deployed(sunk, replace(TARGET, full_runs="daily"))
    world.sources = {"audit_log": ago}
    said: list[str] = []
    to_mend(sunk, world, said=said)
    assert told in said


def test_a_sink_that_may_not_publish_is_told(sunk, world):
    world.sources = {"audit_log": timedelta(minutes=1)}
    sunk.policies["topic:workspace-changes"]["bindings"] = []
    assert to_mend(sunk, world)["The log sink publishes"].startswith("It may not: make deploy ")


def test_an_organization_that_is_closed_is_no_fault_while_its_sink_publishes(sunk, world):
    sunk.may_sink = sunk.sees_sinks = False
    world.sources = {"audit_log": timedelta(minutes=1)}
    assert to_mend(sunk, world) == {}


def test_without_a_webhook_no_channel_and_no_address_of_it_is_missed(cloud, world):
    deployed(cloud, replace(TARGET, sink="organization", public_webhook="off"))
    for job in cloud.things["job"].values():
        job["lastAttemptTime"] = stamp(timedelta(minutes=4))
    world.sources, world.channels = {"audit_log": timedelta(minutes=1)}, []
    said: list[str] = []
    assert to_mend(cloud, world, said=said) == {}
    assert "  ok    No notification channel is needed: PUBLIC_WEBHOOK=off" in said
    assert not any("directory-webhook is at" in line for line in said)


def test_a_webhook_that_stays_until_the_sink_publishes_still_needs_a_channel(cloud, world):
    cloud.may_sink = cloud.sees_sinks = False
    deployed(cloud, replace(TARGET, sink="organization", public_webhook="off"))
    world.channels = []
    assert "A notification channel is live" in to_mend(cloud, world)
