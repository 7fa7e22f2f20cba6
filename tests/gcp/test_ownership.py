"""What is not ours stays: another region, and what somebody else has under names of ours, against the stand-in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import commands, deploy, destroy, diff, doctor, gcloud, lock, marks
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Gcloud
from infra.gcp.live import Addresses
from infra.gcp.preflight import Consent
from infra.gcp.rollback import rollback
from infra.gcp.steps import shown
from tests.gcp.stand_in import NUMBER, PROJECT, StandIn
from tests.gcp.stand_in.cloud import Refused, labels
from tests.gcp.stand_in.run import managed_by_functions
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed

ELSEWHERE = replace(TARGET, region="europe-west2")
ACCOUNT = f"keeper-directory@{PROJECT}.iam.gserviceaccount.com"
AWAY = "http://127.0.0.1:9"
NOWHERE = Addresses(iam=AWAY, token=AWAY, directory=AWAY, firestore=AWAY, monitoring=AWAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who deploys: what is agreed to beforehand, and what is typed."""

    ask: Callable[[str], str]
    adopt: bool = False
    confirmed: bool = False


NOBODY = Person(ask=lambda question: pytest.fail(f"asked: {question}"))


@pytest.fixture
def cloud(whole: StandIn) -> StandIn:
    return copy.deepcopy(whole)


def empty() -> StandIn:
    """Return a project whose APIs are enabled and that has nothing in it."""
    cloud = StandIn()
    cloud.enabled |= set(DEPLOYMENT.services)
    return cloud


def deploying(cloud: StandIn, person: Person = NOBODY) -> str:
    said: list[str] = []
    granted = Consent(adopt=person.adopt, confirmed=person.confirmed)
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    deploy.deploy(TARGET, gcloud, said.append, person.ask, consent=granted, visit=cloud.visit)
    return "\n".join(said)


def destroying(cloud: StandIn, *, typed: str = PROJECT, adopt: bool = False, audit: bool = False) -> str:
    said: list[str] = []
    wanted = f"{typed} with its audit" if audit else typed
    destroy.destroy(
        TARGET, Gcloud(cloud), said.append, lambda question: wanted, destroy.Wanted(audit=audit, adopt=adopt)
    )
    return "\n".join(said)


def without_marks(cloud: StandIn) -> StandIn:
    """Make of a deployment what a version before marks made."""
    for kind in ("topic", "subscription", "secret", "repository"):
        for thing in cloud.things[kind].values():
            thing.pop("labels")
    for kind in ("account", "metric"):
        for thing in cloud.things[kind].values():
            thing["description"] = thing["description"].partition(" (system=")[0]
    return cloud


def place(cloud: StandIn, kind: str, name: str, **fields: Any) -> None:
    """Put something of somebody else's into a project."""
    address = f"{name}@{PROJECT}.iam.gserviceaccount.com"
    somebody = f"somebody@{PROJECT}.iam.gserviceaccount.com"
    full, region = f"projects/{PROJECT}", f"projects/{PROJECT}/locations/europe-west1"
    messages: dict[str, dict[str, Any]] = {
        "topic": {"name": f"{full}/topics/{name}"},
        "subscription": {"name": f"{full}/subscriptions/{name}", "topic": f"{full}/topics/elsewhere"},
        "secret": {"name": f"projects/{NUMBER}/secrets/{name}", "replication": {"automatic": {}}, "etag": "1"},
        "account": {"name": f"{full}/serviceAccounts/{address}", "email": address, "displayName": "Mine"},
        "function": {"name": f"{region}/functions/{name}", "serviceConfig": {"serviceAccountEmail": somebody}},
        "service": {
            "metadata": {"name": name},
            "spec": {"template": {"spec": {"serviceAccountName": somebody}}},
        },
        "bucket": {"name": name.removeprefix("gs://"), "projectNumber": "1"},
        "job": {"name": f"{region}/jobs/{name}", "httpTarget": {"oidcToken": {"serviceAccountEmail": somebody}}},
        "role": {"name": f"{full}/roles/{name}", "title": "Mine"},
        "repository": {"name": f"{region}/repositories/{name}", "format": "DOCKER", "labels": {"system": "billing"}},
        "database": {
            "name": f"{full}/databases/{name}",
            "type": "FIRESTORE_NATIVE",
            "locationId": "europe-west1",
        },
    }
    cloud.put(kind, address if kind == "account" else name, messages[kind] | fields)


# ---- the region


def test_a_deployment_records_its_region_where_it_is_found_first_and_last(cloud):
    assert marks.region_of(cloud.things["account"][ACCOUNT]) == "europe-west1"
    made = [shown(command) for command in cloud.changes()]
    regional = [number for number, text in enumerate(made) if "europe-west1" in text and "service-accounts" not in text]
    assert next(number for number, text in enumerate(made) if "create keeper-directory" in text) < min(regional)
    destroying(cloud)
    assert "service-accounts delete keeper-directory@" in shown(cloud.changes()[-2])  # the last one gives the lock back


REFUSED = "REGION=europe-west2 is not where this deployment is: it is in europe-west1.*give REGION=europe-west1"


@pytest.mark.parametrize("marked", [True, False], ids=["recorded", "of a version before"])
@pytest.mark.parametrize(
    "act",
    [
        lambda cloud: deploy.deploy(ELSEWHERE, cloud, print, consent=Consent(adopt=True, confirmed=True)),
        lambda cloud: destroy.destroy(ELSEWHERE, cloud, print, lambda question: PROJECT, destroy.Wanted(adopt=True)),
        lambda cloud: doctor.examine(ELSEWHERE, cloud, print, NOWHERE),
    ],
    ids=["deploy", "destroy", "doctor"],
)
def test_another_region_is_refused_before_anything_changes(cloud, act, marked):
    if not marked:
        managed_by_functions(without_marks(cloud))
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=REFUSED):
        act(Gcloud(cloud))
    assert len(cloud.changes()) == before


@pytest.mark.parametrize("verb", ["rollback", "detach", "diff", "deploy"])
def test_another_region_is_refused_by_the_command_itself(cloud, verb, monkeypatch):
    monkeypatch.setattr(gcloud, "run_gcloud", cloud)
    monkeypatch.setattr(command_line, "Gcloud", lambda **options: Gcloud(cloud, **options))
    given = {
        "PROJECT": PROJECT,
        "REGION": "europe-west2",
        "ADMIN": TARGET.admin,
        "ALERTS": TARGET.alerts,
        "ACCESS": TARGET.access,
        "DIRTY": "yes",
    }
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=REFUSED):
        command_line.main([verb], given)
    assert len(cloud.changes()) == before


def test_what_an_earlier_version_left_in_two_regions_can_be_destroyed_in_either(cloud):
    without_marks(cloud)
    managed_by_functions(cloud)
    console = cloud.things["function"]["console"]
    elsewhere = console | {"name": console["name"].replace("europe-west1", "europe-west2")}
    cloud.things["function"]["a console of the other region"] = elsewhere
    for target in (TARGET, ELSEWHERE):
        deploy.preflight.same_region(replace(target, number=NUMBER), Gcloud(cloud))


def test_an_interrupted_deployment_knows_its_region_already():
    cloud = StandIn()
    cloud.interrupt_after = 30
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    with pytest.raises(SystemExit, match=REFUSED):
        deployed(cloud, ELSEWHERE)


def test_a_destroyed_deployment_may_go_to_another_region(cloud):
    destroying(cloud)
    deploy.preflight.same_region(replace(ELSEWHERE, number=NUMBER), Gcloud(cloud))


# ---- what is somebody else's


@pytest.mark.parametrize(
    ("kind", "name", "fields", "told"),
    [
        ("topic", "dead-letters", {}, "topic dead-letters"),
        ("topic", "dead-letters", {"labels": {"system": "billing"}}, "topic dead-letters"),
        ("subscription", "run-requests", {}, "subscription run-requests"),
        ("secret", "channel-key", {"labels": {"system": "billing"}}, "secret channel-key"),
        ("secret", "form-key", {}, "secret form-key"),
        ("account", "keeper-console", {}, "service account keeper-console"),
        ("service", "console", {}, "Cloud Run service console in europe-west1"),
        ("bucket", f"gs://keeper-source-{NUMBER}", {}, f"bucket keeper-source-{NUMBER}"),
        ("job", "keeper-full", {}, "job keeper-full in europe-west1"),
        ("role", "keeperTokenWriter", {}, "role keeperTokenWriter"),
        ("repository", "keeper-functions", {}, "repository keeper-functions"),
    ],
)
@pytest.mark.parametrize("adopt", [False, True], ids=["", "with ADOPT=yes"])
def test_a_first_deployment_takes_over_nothing_of_somebody_elses(kind, name, fields, told, adopt):
    cloud = empty()
    place(cloud, kind, name, **fields)
    before = copy.deepcopy(cloud.things)
    with pytest.raises(SystemExit, match=rf"\n  {told} \(somebody else's\)\n[^$]*give another PROJECT, or remove it"):
        deploying(cloud, replace(NOBODY, adopt=adopt))
    assert (cloud.changes(), cloud.things) == ([], before)


def test_a_database_that_was_there_is_taken_over_by_consent_alone():
    cloud = empty()
    place(cloud, "database", "(default)")
    with pytest.raises(SystemExit, match=r"Firestore database \(default\)\n[^$]*ADOPT=yes"):
        deploying(cloud)
    assert cloud.changes() == []
    assert "  adopt      Firestore database (default)\n" in deploying(cloud, replace(NOBODY, adopt=True))


@pytest.mark.parametrize(
    ("asked", "told"),
    [("", "LOCATION, which is REGION=europe-west1 unless given,"), ("eur3", "LOCATION=eur3"), ("nam5", "")],
)
def test_a_database_elsewhere_is_refused_before_anything_changes(asked, told):
    cloud = empty()
    place(cloud, "database", "(default)", locationId="nam5")
    target = replace(TARGET, location=asked)
    agreed = Consent(adopt=True, confirmed=True)
    if not told:
        patient = Gcloud(cloud, sleep=lambda seconds: None)
        deploy.deploy(target, patient, lambda text: None, NOBODY.ask, consent=agreed, visit=cloud.visit)
        assert cloud.things["database"]["(default)"]["locationId"] == "nam5"
        return
    with pytest.raises(SystemExit, match=rf"^{told} is not where Firestore is: it is in nam5.*Give LOCATION=nam5"):
        deploy.deploy(target, Gcloud(cloud), lambda text: None, NOBODY.ask, consent=agreed)
    assert cloud.changes() == []


def test_another_location_than_that_of_a_deployment_is_told_by_all_who_compare(cloud, capsys):
    target, before = replace(TARGET, location="eur3"), len(cloud.changes())
    with pytest.raises(
        SystemExit, match=r"LOCATION=eur3 is not where Firestore is: it is in europe-west1.*Nothing was"
    ):
        deployed(cloud, target)
    for ask in (diff.diff, lambda *given: doctor.examine(*given, NOWHERE)):
        assert ask(target, Gcloud(cloud, pauses=()), print) == 1
        assert "LOCATION=eur3 is not where Firestore is" in capsys.readouterr().out
    assert len(cloud.changes()) == before


def test_a_database_in_another_mode_is_refused_before_anything_changes():
    cloud = empty()
    place(cloud, "database", "(default)", type="DATASTORE_MODE")
    with pytest.raises(SystemExit, match=r"another mode \(DATASTORE_MODE\).*another PROJECT"):
        deploying(cloud, replace(NOBODY, adopt=True))
    assert cloud.changes() == []


def test_an_alert_policy_and_a_dashboard_of_somebody_else_with_the_same_names_stay_as_they_are():
    cloud = empty()
    policy = {"name": "projects/p/alertPolicies/9", "userLabels": {"alert": "dead-letters"}, "displayName": "Mine"}
    dashboard = {"name": "projects/p/dashboards/9", "displayName": "Keeper autoprovisioning"}
    cloud.put("alert", policy["name"], dict(policy))
    cloud.put("dashboard", dashboard["name"], dict(dashboard))
    deploying(cloud)
    destroying(cloud)
    assert cloud.things["alert"] == {policy["name"]: policy}
    assert cloud.things["dashboard"] == {dashboard["name"]: dashboard}


# ---- what an earlier version made


def test_an_upgrade_lists_what_it_takes_over_and_marks_it(cloud):
    without_marks(cloud)
    before = len(cloud.changes())
    with pytest.raises(SystemExit) as ended:
        deploying(cloud)
    assert "\n  topic dead-letters\n" in str(ended.value)
    assert "ADOPT=yes takes over what an earlier version" in str(ended.value)
    assert len(cloud.changes()) == before
    said = deploying(cloud, replace(NOBODY, adopt=True))
    adopted = [line.removeprefix("  adopt      ") for line in said.splitlines() if line.startswith("  adopt ")]
    assert {"topic dead-letters", "secret form-key", "service account keeper-build"} <= set(adopted)
    changed = [shown(command) for command in cloud.changes()[before:] if lock.NAME not in command]
    assert len(changed) == len(adopted)
    assert all(" update " in text for text in changed)
    assert changes_of(cloud) == []


def test_an_upgrade_takes_over_nothing_that_another_system_has_marked(cloud):
    without_marks(cloud)
    cloud.things["topic"]["dead-letters"]["labels"] = {"system": "billing"}
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=r"topic dead-letters \(somebody else's\)"):
        deploying(cloud, replace(NOBODY, adopt=True))
    assert len(cloud.changes()) == before


def test_labels_of_others_on_what_is_ours_stay(cloud):
    cloud.things["topic"]["run-requests"]["labels"]["cost-center"] = "17"
    cloud.things["secret"]["form-key"]["labels"]["cost-center"] = "17"
    assert changes_of(cloud) == []


# ---- the first deployment into a project that is not empty


def furnished() -> StandIn:
    cloud = empty()
    place(cloud, "topic", "orders")
    place(cloud, "topic", "invoices")
    place(cloud, "secret", "stripe")
    place(cloud, "account", "shop")
    place(cloud, "function", "shop")
    place(cloud, "service", "orders")
    default = f"{NUMBER}-compute@developer.gserviceaccount.com"
    account = {"name": f"projects/{PROJECT}/serviceAccounts/{default}", "email": default, "displayName": "Default"}
    cloud.put("account", default, account)
    return cloud


def test_a_first_deployment_into_a_project_with_other_things_in_it_is_confirmed():
    cloud, asked = furnished(), []

    def no(question: str) -> str:
        asked.append(question)
        return "no"

    with pytest.raises(SystemExit, match="Nothing was changed"):
        deploying(cloud, Person(ask=no))
    assert cloud.changes() == []
    assert "1 functions, 1 services, 2 topics, 1 secrets, 1 service accounts" in asked[0]
    deploying(cloud, Person(ask=lambda question: PROJECT))
    assert set(cloud.things["service"]) == NAMES | {"orders"}
    deploying(cloud)  # which is not the first one
    destroying(cloud)
    left = {kind: set(things) for kind, things in cloud.things.items()}
    assert left["topic"] == {"orders", "invoices"}
    assert (left["secret"], left["function"], left["service"]) == ({"stripe"}, {"shop"}, {"orders"})
    assert {address.partition("@")[0] for address in left["account"]} == {"shop", f"{NUMBER}-compute"}


def test_a_machine_confirms_by_a_setting_and_is_not_waited_for():
    def nobody(question: str) -> str:
        raise EOFError

    cloud = furnished()
    with pytest.raises(SystemExit, match="Nothing was changed"):
        deploying(cloud, Person(ask=nobody))
    deploying(cloud, Person(confirmed=True, ask=nobody))
    assert set(cloud.things["service"]) == NAMES | {"orders"}


@pytest.mark.parametrize(("name", "value"), [("ADOPT", "all"), ("CONFIRM", "1")])
def test_consent_is_yes_or_nothing(name, value):
    given = {"PROJECT": PROJECT, "REGION": TARGET.region, "ADMIN": TARGET.admin, "ALERTS": TARGET.alerts, name: value}
    with pytest.raises(SystemExit, match=rf"{name}=\.\.\. must be yes"):
        command_line.main(["deploy"], given)


# ---- destroying


def test_a_destruction_lists_everything_by_name_before_it_asks(cloud):
    said: list[str] = []
    place(cloud, "secret", "keeper-token-0123456789ab")
    destroy.destroy(
        TARGET, Gcloud(cloud), said.append, lambda question: said.append(question) or PROJECT, destroy.Wanted()
    )
    asked = next(number for number, text in enumerate(said) if "Type 'keeper-prod'" in text)
    listed = {text.strip() for text in said[:asked]}
    taken = {text.removeprefix("  delete     ") for text in said[asked:] if text.startswith("  delete ")}
    assert taken
    assert taken <= listed
    assert {"Topic dead-letters", "Service console", "Secret keeper-token-0123456789ab"} <= taken
    assert "Alert policy Keeper autoprovisioning: dead letters" in taken
    assert f"\n{len(taken)} things are removed:" in said


def test_a_destruction_leaves_what_is_not_ours_and_says_so(cloud):
    cloud.things["topic"]["dead-letters"]["labels"] = {"system": "billing"}
    cloud.things["secret"]["channel-key"]["labels"] = {"team": "shop"}
    place(cloud, "secret", "keeper-token-vault")
    cloud.things["account"][f"keeper-build@{PROJECT}.iam.gserviceaccount.com"] |= {
        "description": "",
        "displayName": "x",
    }
    said = destroying(cloud)
    stay = said.partition("These stay")[2].partition("Done.")[0]
    assert "  Topic dead-letters\n" in stay
    assert "  Secret channel-key\n" in stay
    assert set(cloud.things["topic"]) == {"dead-letters"}
    assert set(cloud.things["secret"]) == {"channel-key", "keeper-token-vault"}
    assert list(cloud.things["account"]) == [f"keeper-build@{PROJECT}.iam.gserviceaccount.com"]
    roles = {binding["role"] for binding in cloud.policies[f"project:{PROJECT}"]["bindings"]}
    assert "roles/logging.logWriter" in roles  # of somebody else's account


def test_what_an_earlier_version_made_is_destroyed_by_consent(cloud):
    without_marks(cloud)
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=r"earlier version.*make destroy ADOPT=yes"):
        destroying(cloud)
    assert len(cloud.changes()) == before
    destroying(cloud, adopt=True)
    assert not cloud.things["topic"]
    assert not cloud.things["account"]


def test_a_database_of_somebody_else_is_not_destroyed():
    cloud = empty()
    place(cloud, "database", "(default)", deleteProtectionState="DELETE_PROTECTION_ENABLED")
    assert "  Firestore database (default), with the audit" in destroying(cloud, audit=True).partition("These stay")[2]
    assert cloud.changes() == []


# ---- marks


def test_every_step_that_makes_something_of_a_name_knows_whose_it_is():
    made = [step for step in commands.all_steps(TARGET) if any("create" in command for command in step.make)]
    named = [step for step in made if "describe" in step.look]
    assert [step.title for step in named if step.owned is None] == [
        "Firestore in native mode, with point-in-time recovery and delete protection"  # judged by what is in it
    ]
    assert len(named) > 30


@pytest.mark.parametrize("pair", ["System=keeper", "system=Keeper", f"system={'x' * 64}", "system=a.b"])
def test_the_stand_in_takes_labels_as_the_services_do(pair):
    assert labels({"labels": marks.LABEL}) == {"labels": marks.LABELS}
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        labels({"labels": pair})


def test_what_was_not_made_to_the_end_is_still_ours_by_its_labels(cloud):
    ours = marks.of_service("keeper-console@p.iam.gserviceaccount.com")
    labelled = cloud.things["service"]["console"]["metadata"]["labels"]
    assert ours({"metadata": {"labels": labelled}}) is marks.Whose.OURS
    del cloud.things["service"]["console"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert "run deploy console" in changes_of(cloud)[0]


@pytest.mark.parametrize("thing", [{}, {"labels": {}}, {"serviceConfig": None}, {"metadata": {"labels": None}}])
@pytest.mark.parametrize("judge", [marks.of_function, marks.of_service, marks.of_job])
def test_what_tells_no_account_is_not_taken_for_ours(judge, thing):
    assert judge("keeper-console@p.iam.gserviceaccount.com")(thing) is marks.Whose.UNMARKED


@pytest.mark.parametrize(
    ("kind", "name", "nothing", "told"),
    [
        ("service", "reconcile", {"spec": {"template": {"spec": {}}}}, "Cloud Run service reconcile in europe-west1"),
        ("job", "keeper-full", {"httpTarget": {}}, "job keeper-full in europe-west1"),
    ],
)
def test_neither_deployed_over_nor_destroyed_is_what_tells_no_account(kind, name, nothing, told):
    cloud = empty()
    place(cloud, kind, name, **nothing)
    before = copy.deepcopy(cloud.things)
    for adopt in (False, True):
        with pytest.raises(SystemExit, match=rf"\n  {told} \(somebody else's\)"):
            deploying(cloud, replace(NOBODY, adopt=adopt))
    destroying(cloud)
    assert (cloud.changes(), cloud.things) == ([], before)


def test_what_another_deployment_does_before_the_lock_is_held_is_seen(cloud, monkeypatch):
    """Looks from before the lock would have it made once more, or take it for what it was."""
    there, permit = cloud.things["topic"].pop("run-requests"), deploy.preflight.permit

    def permitted(*given: Any) -> Any:
        agreed = permit(*given)
        cloud.put("topic", "run-requests", there)
        return agreed

    monkeypatch.setattr(deploy.preflight, "permit", permitted)
    assert changes_of(cloud) == []


def moved(cloud: StandIn) -> None:
    account = cloud.things["account"][ACCOUNT]
    account["description"] = account["description"].replace("europe-west1", "europe-west2")


def taken_by_another(cloud: StandIn) -> None:
    cloud.things["topic"]["dead-letters"]["labels"] = {"system": "billing"}


@pytest.mark.parametrize(
    ("act", "meanwhile", "told"),
    [
        (deploying, moved, "it is in europe-west2"),
        (deploying, taken_by_another, r"topic dead-letters \(somebody else's\)"),
        (lambda cloud: rollback(TARGET, Gcloud(cloud), lambda text: None), moved, "it is in europe-west2"),
    ],
)
def test_what_was_seen_before_the_lock_is_seen_again_under_it(cloud, monkeypatch, act, meanwhile, told):
    """Somebody else ended a deployment into another region, or made a thing of our name, a moment before the lock."""
    take = lock.Lock.take

    def taken(self: lock.Lock, say: Any, **allowed: Any) -> None:
        meanwhile(cloud)
        take(self, say, **allowed)

    monkeypatch.setattr(lock.Lock, "take", taken)
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=told):
        act(cloud)
    assert [text for text in map(shown, cloud.changes()[before:]) if lock.NAME not in text] == []
    assert lock.NAME not in cloud.things["secret"]
