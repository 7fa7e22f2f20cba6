"""SINK: the log sink of an organization. Where that is closed to who deploys, nothing else fails."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.domain import workspace_changes
from infra.gcp import commands, deploy, destroy, lock, sink
from infra.gcp.gcloud import Gcloud
from infra.gcp.steps import shown
from infra.gcp.target import Refused, Target
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.stand_in.cloud import ORGANIZATION
from tests.gcp.test_deploy import TARGET, changes_of, container, deployed
from tests.gcp.test_diff import differing
from tests.gcp.test_lost_answers import inventory
from tests.gcp.test_rollback_and_destroy import first_made_by_the_second, roll_back

WITH, WITHOUT = replace(TARGET, sink="organization"), replace(TARGET, sink="none")
NAME, OTHER = "keeper-workspace-changes-keeper-prod", "111222333444"
HERE = f"organizations/{ORGANIZATION}/sinks/{NAME}"
THERE = f"organizations/{OTHER}/sinks/{NAME}"
WRITER = "serviceAccount:service-org-{}@gcp-sa-logging.iam.gserviceaccount.com".format
CLOSED = "PERMISSION_DENIED: Permission 'logging.sinks."


@pytest.fixture(scope="module")
def sunk(whole: StandIn) -> StandIn:
    """A deployment with a sink, which every test copies and none changes."""
    cloud = copy.deepcopy(whole)
    deployed(cloud, WITH)
    return cloud


@pytest.fixture
def cloud(sunk: StandIn) -> StandIn:
    return copy.deepcopy(sunk)


def sinks(cloud: StandIn) -> dict[str, Any]:
    return cloud.things.get("sink", {})


def publishing(cloud: StandIn) -> list[str]:
    return sink.publishers(cloud.policies["topic:workspace-changes"])


def recorded(cloud: StandIn) -> tuple[str, tuple[str, ...]]:
    return sink.recorded(cloud.things["topic"]["workspace-changes"])


def state(cloud: StandIn) -> Any:
    """Return what there is, with what is recorded."""
    return inventory(cloud) | {"recorded": recorded(cloud), "sink": list(sinks(cloud)), "publishing": publishing(cloud)}


def destroyed(cloud: StandIn, target: Target = TARGET) -> list[str]:
    said: list[str] = []
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    destroy.destroy(target, gcloud, said.append, lambda _: destroy.confirmation(target, _WANTED), _WANTED)
    return said


_WANTED = destroy.Wanted()

# ---- making it


def test_the_sink_of_the_projects_organization_may_publish_to_the_topic_and_nothing_else(cloud):
    assert list(sinks(cloud)) == [HERE]
    made = sinks(cloud)[HERE]
    assert made["destination"] == "pubsub.googleapis.com/projects/keeper-prod/topics/workspace-changes"
    assert publishing(cloud) == [made["writerIdentity"]]
    granted = {what for what, policy in cloud.policies.items() if "gcp-sa-logging" in str(policy)}
    assert granted == {"topic:workspace-changes"}
    assert recorded(cloud) == ("organization", (ORGANIZATION,))


def test_it_stays_whether_or_not_the_setting_is_given_again(cloud):
    for target in (WITH, TARGET, replace(WITH, organization=ORGANIZATION)):
        assert changes_of(cloud, target) == []
        assert differing(cloud, target) == []


def test_without_the_setting_nothing_is_asked_of_an_organization(whole):
    asked = [shown(command) for command in whole.issued]
    assert [text for text in asked if "organization" in text or "get-ancestors" in text] == []
    assert recorded(whole) == ("", ())


@pytest.mark.parametrize(
    ("differ", "line"),
    [
        (lambda made: made.update(filter="severity>=ERROR"), "filter: "),
        (lambda made: made.update(disabled=True), "disabled: true -> false"),
        (lambda made: made.update(exclusions=[{"name": "x", "filter": "y"}]), "exclusions: "),
        (lambda made: made.update(destination="storage.googleapis.com/x"), "destination: "),
    ],
    ids=["filter", "disabled", "exclusions", "destination"],
)
def test_what_somebody_changed_of_it_is_told_and_put_right(cloud, sunk, differ: Callable[[Any], None], line):
    differ(sinks(cloud)[HERE])
    assert any(line in told for told in differing(cloud))
    (change,) = changes_of(cloud)
    assert change.startswith(f"gcloud logging sinks update {NAME} pubsub")
    assert sinks(cloud) == sinks(sunk)


def test_a_sink_that_was_deleted_and_made_again_by_hand_writes_as_another(cloud):
    del cloud.things["sink"][HERE]
    cloud.writer = "o987-42"
    assert any("make       Log sink" in line for line in differing(cloud))
    created, granted, revoked = changes_of(cloud)
    assert created.startswith(f"gcloud logging sinks create {NAME} ")
    new = "serviceAccount:o987-42@gcp-sa-logging.iam.gserviceaccount.com"
    assert f"add-iam-policy-binding workspace-changes --member={new} " in granted
    assert f"remove-iam-policy-binding workspace-changes --member={WRITER(ORGANIZATION)} " in revoked
    assert publishing(cloud) == [new]
    assert changes_of(cloud) == []


def test_labels_that_no_deployment_gave_say_nothing(cloud):
    cloud.things["topic"]["workspace-changes"]["labels"] |= {"sink": "bucket", "sink-in": "x_y", "public-webhook": "x"}
    assert recorded(cloud) == ("", ())
    assert changes_of(cloud, WITH) != []
    assert changes_of(cloud) == []


def test_a_sink_that_somebody_pointed_elsewhere_so_that_it_has_no_identity_is_put_right(cloud, sunk):
    made = sinks(cloud)[HERE]
    made["destination"] = "logging.googleapis.com/projects/keeper-prod/locations/global/buckets/_Default"
    del made["writerIdentity"]
    deployed(cloud)
    assert (sinks(cloud), publishing(cloud)) == (sinks(sunk), publishing(sunk))


def test_a_grant_that_somebody_removed_is_made_again(cloud):
    cloud.policies["topic:workspace-changes"]["bindings"] = []
    (granted,) = [text for text in changes_of(cloud) if "gcp-sa-logging" in text and "pubsub topics" in text]
    assert "add-iam-policy-binding" in granted


@pytest.mark.parametrize("organizations", [[], [ORGANIZATION, OTHER]])
def test_an_organization_that_nobody_tells_is_asked_for_before_anything_is_changed(whole, organizations):
    cloud = copy.deepcopy(whole)
    cloud.organizations = organizations
    before = cloud.acted
    with pytest.raises(SystemExit, match="give ORGANIZATION, that of your Workspace customer"):
        deployed(cloud, WITH)
    assert cloud.acted == before
    cloud.others = [OTHER]
    deployed(cloud, replace(WITH, organization=OTHER))
    assert list(sinks(cloud)) == [THERE]
    assert changes_of(cloud) == []


def test_a_refusal_to_say_the_organization_is_told_before_anything_is_changed(whole):
    cloud = copy.deepcopy(whole)
    cloud.failures = [("get-ancestors", "PERMISSION_DENIED: no", 9)]
    with pytest.raises(SystemExit, match=r"PERMISSION_DENIED: no\): give ORGANIZATION"):
        deployed(cloud, WITH)


def test_a_project_that_was_moved_keeps_the_sink_of_its_customer(cloud):
    cloud.others, cloud.organizations = [ORGANIZATION], [OTHER]
    assert changes_of(cloud) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"SINK": "project"}, "SINK=project is neither organization nor none: give organization"),
        ({"SINK": "organization", "ORGANIZATION": "example.com"}, "ORGANIZATION=example.com is not the number of an"),
    ],
)
def test_a_setting_that_fits_nothing_is_refused(setting, told):
    given = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}
    with pytest.raises(Refused, match=told):
        Target.given(given | setting)


# ---- broken off, and answers that are lost


def changing(sunk: StandIn, whole: StandIn) -> int:
    return sunk.acted - whole.acted


def test_a_deployment_that_is_broken_off_at_any_command_goes_on_without_being_told_again(sunk, whole):
    """But before the setting was recorded: then nothing was made."""
    begun = 0
    for after in range(changing(sunk, whole)):
        cloud = copy.deepcopy(whole)
        cloud.interrupt_after = cloud.acted + after
        with pytest.raises(KeyboardInterrupt):
            deployed(cloud, WITH)
        cloud.interrupt_after = None
        if recorded(cloud)[0]:
            begun += 1
            deployed(cloud, unlock=True)
        else:
            assert not sinks(cloud)
            deployed(cloud, WITH, unlock=True)
        assert state(cloud) == state(sunk)
    assert begun


def test_a_deployment_ends_as_if_no_answer_had_been_lost(sunk, whole):
    for index in range(changing(sunk, whole)):
        cloud = copy.deepcopy(whole)
        cloud.lost = {cloud.acted + index}
        deployed(cloud, WITH)
        assert state(cloud) == state(sunk), shown(cloud.changes()[whole.acted + index])


@pytest.mark.parametrize("broken", ["interrupted", "lost"])
def test_a_removal_ends_as_if_nothing_had_happened(sunk, broken):
    wanted = copy.deepcopy(sunk)
    deployed(wanted, WITHOUT)
    for index in range(wanted.acted - sunk.acted):
        cloud = copy.deepcopy(sunk)
        if broken == "lost":
            cloud.lost = {cloud.acted + index}
        else:
            cloud.interrupt_after = cloud.acted + index
            with pytest.raises(KeyboardInterrupt):
                deployed(cloud, WITHOUT)
            cloud.interrupt_after = None
        deployed(cloud, WITHOUT, unlock=True)
        assert state(cloud) == state(wanted)


# ---- turning it off, and another organization


def test_none_removes_the_sink_and_what_it_may_and_is_remembered(cloud):
    deployed(cloud, WITHOUT)
    assert (sinks(cloud), publishing(cloud), recorded(cloud)) == ({}, [], ("none", ()))
    for target in (WITHOUT, TARGET):
        assert changes_of(cloud, target) == []
    deployed(cloud, WITH)
    assert list(sinks(cloud)) == [HERE]


def test_another_organization_gets_the_sink_before_the_first_one_loses_it(cloud):
    cloud.others = [OTHER]
    moved = replace(WITH, organization=OTHER)
    made = [text for text in changes_of(cloud, moved) if "logging sinks" in text]
    assert [text.split()[3] for text in made] == ["create", "delete"]
    assert (list(sinks(cloud)), publishing(cloud)) == ([THERE], [WRITER(OTHER)])
    assert recorded(cloud) == ("organization", (OTHER,))
    assert changes_of(cloud) == []


def test_an_organization_that_nobody_may_see_counts_only_once_its_own_sink_publishes(cloud):
    """What the former one publishes is of another Workspace customer; until then it goes on, and is not removed."""
    moved = replace(WITH, organization=OTHER)
    said = deployed(cloud, moved)
    assert any(line.startswith(f"  by hand    Log sink {NAME} of organization {OTHER}") for line in said)
    assert (list(sinks(cloud)), publishing(cloud)) == ([HERE], [WRITER(ORGANIZATION)])
    assert recorded(cloud) == ("organization", (OTHER, ORGANIZATION))
    given = {item["name"] for item in container(cloud, "reconcile")["env"]}
    assert not given & {"AUDIT_LOG_SINK", "SWEEP_MINUTES"}
    cloud.policies["topic:workspace-changes"]["bindings"][0]["members"].append(WRITER(OTHER))
    deployed(cloud)
    assert (list(sinks(cloud)), recorded(cloud)) == ([], ("organization", (OTHER,)))


def test_a_change_of_the_organization_that_is_broken_off_forgets_neither(cloud, sunk):
    cloud.others = [OTHER]
    moved = replace(WITH, organization=OTHER)
    whole = copy.deepcopy(cloud)
    deployed(whole, moved)
    for after in range(whole.acted - sunk.acted):
        there = copy.deepcopy(cloud)
        there.interrupt_after = there.acted + after
        with pytest.raises(KeyboardInterrupt):
            deployed(there, moved)
        there.interrupt_after = None
        goes_on = recorded(there)[1][0] == OTHER
        deployed(there, TARGET if goes_on else moved, unlock=True)
        assert state(there) == state(whole)


# ---- an organization that is closed


def closed(cloud: StandIn, *, sees: bool) -> None:
    cloud.may_sink, cloud.sees_sinks = False, sees


@pytest.mark.parametrize("sees", [True, False], ids=["its sinks", "nothing of it"])
def test_a_deployment_ends_well_and_says_who_must_run_what(whole, sees):
    cloud = StandIn()
    closed(cloud, sees=sees)
    said = deployed(cloud, WITH)
    assert inventory(cloud) == inventory(whole)
    assert recorded(cloud) == ("organization", (ORGANIZATION,))
    text = "\n".join(said)
    assert f"by hand    Log sink {NAME} of organization {ORGANIZATION}" in text
    assert CLOSED in text
    assert f"roles/logging.configWriter on organization {ORGANIZATION}" in text
    assert "everything goes on as without it" in text
    assert said[-1].startswith("Console: ")
    typed = [line.strip() for line in text.splitlines() if line.strip().startswith("gcloud ") and "sinks" in line]
    create, grant = dict.fromkeys(line for line in typed if "sinks create" in line or "writerIdentity" in line)
    inner = re.search(r"\$\((.*)\)\"$", grant)
    assert inner
    written = [create, inner[1], grant.replace(inner[0], f'{WRITER(ORGANIZATION)}"')]
    assert complaints(tuple(shlex.split(line)) for line in written) == {}


def test_what_somebody_else_made_by_hand_is_used_and_not_compared(whole, sunk):
    cloud = copy.deepcopy(whole)
    closed(cloud, sees=False)
    deployed(cloud, WITH)
    cloud.things["sink"] = copy.deepcopy(sinks(sunk))
    cloud.policies["topic:workspace-changes"] = copy.deepcopy(sunk.policies["topic:workspace-changes"])
    cloud.agents |= sunk.agents
    said = deployed(cloud)
    assert any("publishes, but is not compared: you may not look at it" in line for line in said)
    assert not [line for line in said if line.startswith("  by hand")]
    assert (state(cloud), differing(cloud), changes_of(cloud)) == (state(sunk), [], [])


def test_a_refused_removal_revokes_and_is_tried_again(cloud):
    closed(cloud, sees=False)
    said = "\n".join(deployed(cloud, WITHOUT))
    assert f"runs: gcloud logging sinks delete {NAME} --organization={ORGANIZATION}" in said
    assert (list(sinks(cloud)), publishing(cloud), recorded(cloud)) == ([HERE], [], ("none", (ORGANIZATION,)))
    cloud.may_sink = cloud.sees_sinks = True
    deployed(cloud)
    assert (sinks(cloud), recorded(cloud)) == ({}, ("none", ()))


def test_a_grant_that_a_policy_refuses_is_left_to_do(whole):
    cloud = copy.deepcopy(whole)
    cloud.failures = [
        ("topics add-iam-policy-binding workspace-changes", "FAILED_PRECONDITION: constraint iam.x violated", 9)
    ]
    said = deployed(cloud, WITH)
    assert any("constraint iam.x violated" in line for line in said)
    assert any("everything goes on as without it" in line for line in said)


# ---- the end


def test_a_destruction_takes_ours_and_nobody_elses(cloud):
    elses = {"name": "audit", "destination": "storage.googleapis.com/x", "writerIdentity": WRITER("x")}
    taken = sinks(cloud)[HERE] | {"destination": elses["destination"]}
    cloud.things["sink"] |= {f"organizations/{ORGANIZATION}/sinks/audit": elses}
    assert f"  Log sink {NAME} of organization {ORGANIZATION}" in destroyed(copy.deepcopy(cloud))
    cloud.things["sink"][HERE] = taken
    destroyed(cloud)
    assert list(sinks(cloud)) == [HERE, f"organizations/{ORGANIZATION}/sinks/audit"]


@pytest.mark.parametrize("sees", [True, False])
def test_a_destruction_goes_on_and_says_what_to_delete_by_hand(cloud, sees):
    closed(cloud, sees=sees)
    said = "\n".join(destroyed(cloud))
    assert f"runs: gcloud logging sinks delete {NAME} --organization={ORGANIZATION}" in said
    assert not cloud.things["topic"]


def test_a_lost_answer_to_its_deletion_ends_no_destruction(cloud):
    cloud.lost = {cloud.acted + 1}  # the lock comes first
    destroyed(cloud)
    assert not sinks(cloud)
    assert not cloud.things["topic"]


def test_a_rollback_past_the_function_silences_the_sink_until_the_next_deployment(monkeypatch):
    """A version without it makes a full run of each sweep that is asked for."""
    cloud = StandIn()
    deployed(cloud, WITH)
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    deployed(cloud)
    roll_back(cloud)
    assert publishing(cloud) == [WRITER(ORGANIZATION)]
    deployed(cloud, again=True)
    first_made_by_the_second(cloud, "workspace-events")
    cloud.lost = {cloud.acted + 1}
    said: list[str] = []
    roll_back(cloud, said=said)
    assert publishing(cloud) == []
    assert any("silence" in line and "gcp-sa-logging" in line for line in said)
    deployed(cloud, again=True)
    assert publishing(cloud) == [WRITER(ORGANIZATION)]


# ---- commands and the filter


def test_the_filter_lets_out_the_methods_that_are_followed_and_no_others():
    text = sink.entries(ORGANIZATION)
    match = re.search(r'methodName=~"AdminService\[\.\]\((.*)\)\$"', text)
    assert match
    methods = re.compile(f"AdminService[.]({match[1]})$")
    followed = (
        "addGroupMember removeGroupMember groupMemberBulkUpload deleteGroup createUser suspendUser renameUser "
        "moveUserToOrgUnit changeUserCustomField changeRecoveryEmail addNickname grantAdminPrivilege usersBulkUpload"
    )
    for method in followed.split():
        assert methods.search(f"google.admin.AdminService.{method}"), method
    for method in ("changePassword", "createGroup", "changeGroupSetting", "addGroupMemberX", "viewSettings"):
        assert not methods.search(f"google.admin.AdminService.{method}"), method
    assert f'methodName="{workspace_changes.UPDATE_MEMBERSHIP}"' in text
    assert len(text) < 20_000  # Cloud Logging's limit


def test_gcloud_takes_its_commands():
    target = replace(KNOWN, sink="organization", organization=ORGANIZATION, sinks_in=(OTHER,), writer=WRITER(OTHER))
    steps = [*commands.all_steps(target), *sink.ended(replace(target, sink="none"))]
    assert complaints(command for step in steps for command in step.commands) == {}
    titles = [step.title for step in commands.all_steps(target)]
    assert len(titles) == len(set(titles))


def test_a_plan_explains_the_organization_and_the_sinks_identity():
    said: list[str] = []
    deploy.plan(WITH, said.append)
    text = "\n".join(said)
    assert "  ORGANIZATION_NUMBER   the project's organization, which gcloud projects get-ancestors keeper-prod" in text
    assert "  SINK_WRITER           the identity of the log sink, which gcloud logging sinks describe" in text
    assert f"create {NAME} " in text
    assert "--member=SINK_WRITER" in text
    assert lock.NAME in text
