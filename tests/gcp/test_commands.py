"""The commands pass gcloud's own parser, and what the parser does not check is checked here: values and order."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest

from autoprovisioning.app.notifications.renew_watch import RENEW_BEFORE
from autoprovisioning.config import load
from infra.gcp import access, commands, deploy
from infra.gcp.description import DEPLOYMENT, KEYS, Function
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, OneOf, differences, gcloud, shown
from infra.gcp.target import IMAGE, NUMBER
from tests.gcp.gcloud_parser import TARGET, complaints

pytestmark = pytest.mark.timeout(600)  # gcloud's parser takes a tenth of a second a command, or more on a busy machine

STEPS = commands.all_steps(TARGET)
VERSIONS = [commands.key_versions(TARGET, key) for key in KEYS]
ALONE = [commands.project_number(TARGET), *VERSIONS, commands.delegated_identity(TARGET)]
COMMANDS = [*ALONE, *(command for step in STEPS for command in step.commands)]
PLANNED = replace(TARGET, number=NUMBER, image=IMAGE, channels={})
COMMANDS_AS_PLANNED = [c for s in commands.all_steps(PLANNED) for c in s.commands]
FUNCTIONS = {function.name: function for function in DEPLOYMENT.functions}


def flags(command: Command) -> dict[str, str]:
    return dict(part[2:].partition("=")[::2] for part in command if part.startswith("--"))


def issued(*prefix: str) -> list[Command]:
    return [command for command in COMMANDS if command[: len(prefix) + 1] == ("gcloud", *prefix)]


def test_gcloud_takes_every_command_of_a_deployment():
    assert complaints(COMMANDS) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        gcloud("run", "services", "describe", "console", region="r", project="p", bogus=True),
        gcloud("pubsub", "topics", "make", "x", project="p"),
        gcloud("run", "services", "update", "console", iap=True, region="r", project="p"),
        gcloud("run", "deploy", "console", image="x", set_secrets="A=s:newest", concurrency="many", project="p"),
    ],
    ids=["unknown flag", "unknown command", "a flag of the beta track", "a value of the wrong shape"],
)
def test_what_gcloud_does_not_know_is_noticed(wrong):
    assert list(complaints([wrong])) == [shown(wrong)]


def test_only_these_commands_need_the_alpha_or_beta_track():
    needing = {" ".join(part for part in command[:6] if "=" not in part) for command in COMMANDS}
    assert {re.sub(r" --.*", "", text) for text in needing if text.split()[1] in ("alpha", "beta")} == {
        "gcloud alpha monitoring policies list",
        "gcloud alpha monitoring policies create",
        "gcloud alpha monitoring policies update {found}",
        "gcloud beta monitoring channels list",
        "gcloud beta monitoring channels create",
        "gcloud beta monitoring channels update {found}",
        "gcloud beta services identity create",
        "gcloud beta run services update reauthorize",
        "gcloud beta run services update console",
        "gcloud beta iap web get-iam-policy",
        "gcloud beta iap web add-iam-policy-binding",
        "gcloud beta iap web remove-iam-policy-binding",
    }


def test_looks_are_reading_commands_in_json_and_every_command_names_the_project():
    for step in STEPS:
        assert step.look[-1] == AS_JSON
        assert {"describe", "list", "list-configs", "get-iam-policy"} & set(step.look), shown(step.look)
    assert [shown(command) for command in COMMANDS if "keeper-prod" not in shown(command)] == []


def test_no_command_line_holds_a_secret():
    adding = issued("secrets", "versions", "add")
    assert len(adding) == len(KEYS)
    for added in adding:
        assert flags(added)["data-file"] == "-"
        (step,) = [step for step in STEPS if added in step.make]
        assert re.fullmatch(r"[0-9a-f]{64}", step.stdin(None))
        assert step.stdin(None) != step.stdin(None)


# ---- values, which gcloud's parser does not check: limits from the documentation of each service

SHAPES = {
    "memory": r"(128|256|512)Mi|[1248]Gi",
    "cpu": r"[1248]",
    "timeout": r"\d+s",
    "concurrency": r"\d+",
    "image": r"europe-west1-docker\.pkg\.dev/keeper-prod/keeper-functions/functions@sha256:[0-9a-f]{64}",
    "tag": r"candidate",
    "remove-tags": r"candidate",
    "ingress": r"all",
    "gcs-source-staging-dir": r"gs://keeper-source-123456789012/source",
    "substitutions": r"_IMAGE=[a-z0-9./-]+:[0-9a-f]{16},_PYTHON=3\.11\.x,_FUNCTION=directory_webhook",
    "ack-deadline": r"\d+",
    "max-delivery-attempts": r"\d+",
    "min-retry-delay": r"\d+s",
    "max-retry-delay": r"\d+s",
    "message-retention-duration": r"\d+s",
    "expiration-period": r"never",
    "attempt-deadline": r"\d+s",
    "max-retry-attempts": r"[0-5]",
    "http-method": r"post",
    "time-zone": r"Etc/UTC",
    "schedule": r"(\S+ ){4}\S+",
    "resource-type": r"cloud-run|uptime-url",
    "period": r"1|5|10|15",  # minutes
    "status-codes": r"[1-5]\d\d",
    "type": r"firestore-native|email",
    "replication-policy": r"automatic",
    "query-scope": r"collection(-group)?",
    "stage": r"GA",
    "member": r"\{found\}|domain:[a-z.]+|serviceAccount:[a-z0-9-]+@[a-z0-9-]+\.iam\.gserviceaccount\.com",
    "role": r"\{found\}|roles/[a-zA-Z.]+|projects/keeper-prod/roles/keeper[A-Za-z]+",
    "condition": r'None|title=[a-z-]+-only,expression=resource\.name( == "|\.startsWith\(")projects/[^,]+',
    "repository-format": r"docker",
    "labels": r"system=keeper-autoprovisioning",
    "update-labels": r"release=[0-9a-f]{16},source=[0-9a-f]{16}(,[a-z]+=[a-z0-9_-]{1,63}){8}|system=[a-z-]+",
    "uri": r"https://[a-z-]+-123456789012\.europe-west1\.run\.app",
    "push-endpoint": r"https://[a-z-]+-123456789012\.europe-west1\.run\.app",
    "display-name": r".{1,100}",
    "description": r".{1,256}",
    "title": r".{1,100}",
    "database": r"\(default\)",
}
BETWEEN = {
    "timeout": (1, 3600),  # an HTTP function of the second generation
    "concurrency": (1, 1000),
    "min-instances": (0, 1000),
    "max-instances": (1, 1000),
    "ack-deadline": (10, 600),
    "max-delivery-attempts": (5, 100),
    "min-retry-delay": (0, 600),
    "max-retry-delay": (0, 600),
    "message-retention-duration": (600, 31 * 86400),
    "attempt-deadline": (15, 1800),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_value_has_the_shape_its_service_takes(name):
    values = {flags(command)[name] for command in COMMANDS if name in flags(command)}
    assert values, f"no command has --{name}"
    assert [value for value in values if not re.fullmatch(SHAPES[name], value)] == []


@pytest.mark.parametrize("name", sorted(BETWEEN))
def test_every_number_is_within_its_services_limits(name):
    least, most = BETWEEN[name]
    numbers = {int(flags(command)[name].rstrip("s")) for command in COMMANDS if name in flags(command)}
    assert numbers
    assert all(least <= number <= most for number in numbers), numbers


def test_names_have_the_shapes_that_google_takes():
    accounts = [account.id for account in DEPLOYMENT.accounts]
    assert [name for name in accounts if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", name)] == []
    services = [*FUNCTIONS, *(job.name for job in DEPLOYMENT.jobs), *DEPLOYMENT.topics]
    assert [name for name in services if not re.fullmatch(r"[a-z][a-z0-9-]{2,48}", name)] == []
    assert all(re.fullmatch(r"[A-Za-z0-9_.]{3,64}", role.id) for role in DEPLOYMENT.roles)


# ---- time limits and room


@pytest.mark.parametrize("subscription", DEPLOYMENT.subscriptions, ids=lambda subscription: subscription.topic)
def test_a_message_is_not_delivered_again_while_its_work_goes_on(subscription):
    timeout = FUNCTIONS[subscription.function].timeout
    assert subscription.ack_deadline > timeout or (subscription.ack_deadline, timeout) == (600, 1800)


def test_a_message_outlives_marks_and_keepers_waits_and_is_dead_lettered_before_it_expires():
    config = load({"GOOGLE_CLOUD_PROJECT": "p", "DIRECTORY_ADMIN": "a", "DIRECTORY_SERVICE_ACCOUNT": "s"})
    for subscription in DEPLOYMENT.subscriptions:
        pauses = [min(subscription.max_retry, subscription.min_retry * 2**n) for n in range(subscription.attempts)]
        assert sum(pauses) > 4 * 3600 > config.batch_mark.total_seconds()
        longest = sum(pauses) + subscription.attempts * 30  # a refusal takes seconds
        assert longest < subscription.retention


def test_whom_a_dead_worker_had_marked_wait_minutes_for_the_next_delivery_once_its_marks_are_over():
    (batches,) = (each for each in DEPLOYMENT.subscriptions if each.topic == "planned-changes")
    config = load({"GOOGLE_CLOUD_PROJECT": "p", "DIRECTORY_ADMIN": "a", "DIRECTORY_SERVICE_ACCOUNT": "s"})
    over = config.batch_mark.total_seconds()
    pauses = [min(batches.max_retry, batches.min_retry * 2**n) for n in range(batches.attempts)]
    deliveries = [*accumulate(pauses)]
    for died in range(FUNCTIONS[batches.function].timeout):
        comes = next(died + after for after in deliveries if died + after >= over)
        assert comes - over <= 180, f"a worker that died after {died} s"


def test_work_ends_before_its_function_is_stopped_and_that_before_its_mark():
    config = load({"GOOGLE_CLOUD_PROJECT": "p", "DIRECTORY_ADMIN": "a", "DIRECTORY_SERVICE_ACCOUNT": "s"})
    for name, work, mark in (
        ("provision-user", config.user_deadline, config.user_mark),
        ("apply-changes", config.batch_deadline, config.batch_mark),
        ("reconcile", config.reconcile_deadline, config.reconcile_deadline * 1.2),
    ):
        timeout = FUNCTIONS[name].timeout
        assert work.total_seconds() < timeout <= mark.total_seconds(), name


def test_previews_and_sweeps_go_on_while_a_run_is_under_way_each_in_a_memory_of_its_own():
    assert FUNCTIONS["reconcile"].concurrency == 1
    assert FUNCTIONS["reconcile"].max_instances >= 3


@pytest.mark.parametrize("function", DEPLOYMENT.functions, ids=lambda function: function.name)
def test_an_instance_has_a_thread_for_each_request_and_a_whole_processor_for_several(function: Function):
    assert function.environment["THREADS"] == str(function.concurrency)
    assert function.concurrency == 1 or int(function.cpu) >= 1


def test_channels_are_renewed_three_times_before_they_end():
    (job,) = [job for job in DEPLOYMENT.jobs if job.function == "renew-watch"]
    assert 3 * job.every * 60 <= RENEW_BEFORE.total_seconds()


def test_a_job_runs_as_often_as_it_says():
    for job in DEPLOYMENT.jobs:
        minute, hour = job.schedule.split()[:2]
        step = re.fullmatch(r"(?:\*|\d+-59)/(\d+)", minute)
        assert job.every == (int(step[1]) if step else 60 if hour == "*" else 1440)
        assert hour == ("*" if step else hour)


def test_a_job_waits_as_long_as_its_function_may_take():
    for job in DEPLOYMENT.jobs:
        assert job.deadline <= FUNCTIONS[job.function].timeout
        if "sweep" not in job.body:
            assert job.deadline == FUNCTIONS[job.function].timeout


# ---- order


def test_every_grant_follows_what_it_is_on_and_whom_it_is_for():
    titles = [step.title for step in STEPS]
    places = {title: place for place, title in enumerate(titles)}
    assert len(places) == len(titles), "two steps have one title"
    made = {}
    for place, step in enumerate(STEPS):
        for command in step.make:
            if "create" in command or "deploy" in command:
                made.setdefault(command[command.index("deploy" if "deploy" in command else "create") + 1], place)
    for place, step in enumerate(STEPS):
        for command in step.make:
            if "add-iam-policy-binding" in command and command[1] not in ("projects", "beta"):
                resource = command[command.index("add-iam-policy-binding") + 1].partition("@")[0]
                assert made[resource] < place, step.title
            member = flags(command).get("member", "")
            if "@keeper-prod." in member:
                assert made[member.removeprefix("serviceAccount:").partition("@")[0]] < place, step.title


def test_a_plan_prints_every_command_and_runs_none():
    said: list[str] = []
    deploy.plan(TARGET, said.append)
    text = "\n".join(said)
    assert [shown(command) for command in COMMANDS if shown(command) not in text] == []
    numbers = [int(number) for number in re.findall(r"^\[ \] +(\d+)\. ", text, re.MULTILINE)]
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_a_plan_has_headings_once_each_says_why_and_ends_with_what_is_done_by_hand():
    said: list[str] = []
    deploy.plan(
        replace(PLANNED, access="group:admins@example.com"),
        said.append,
    )
    headings = [text.strip() for text in said if re.fullmatch(r"\n[^\[].*", text)]
    assert headings[:-1] == list(dict.fromkeys(step.chapter for step in STEPS))
    assert headings[-1].startswith("By hand")
    text = "\n".join(said)
    assert all(f": {grant.why}" in text for _, grant in access.grants(TARGET, DEPLOYMENT))
    assert text.count(" in no index") == 1
    settings = "PROJECT=keeper-prod REGION=europe-west1 ADMIN=admin@example.com ALERTS=on-call@example.com"
    assert f"make doctor {settings} ACCESS=group:admins@" in text
    variables = {name for function in DEPLOYMENT.functions for name in (*function.environment, *function.secrets)}
    variables.add("FUNCTION_TARGET")
    for placeholder in {*re.findall(r"\b[A-Z]+_[A-Z]+\b", "".join(map(shown, COMMANDS_AS_PLANNED))), FOUND} - variables:
        assert re.search(rf"^  {placeholder} +\w", text, re.MULTILINE), placeholder


# ---- comparing what is there with what is wanted


@pytest.mark.parametrize(
    ("actual", "wanted", "differs"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, []),
        ({"a": 1, "b": 3}, {"a": 2, "b": 3, "c": 4}, ["a", "c"]),
        ({}, {"a": 0, "b": "", "c": False}, []),  # Google leaves out what is empty
        ({}, {"a": 1}, ["a"]),
        ({"a": {"b": [1, {"c": 2, "d": 3}]}}, {"a": {"b": [1, {"c": 2}]}}, []),
        ({"a": {"b": [1, {"c": 2, "d": 3}]}}, {"a": {"b": [1, {"c": 3}]}}, ["a.b[1].c"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": Exactly({"b": 1})}, ["a"]),
        ({"a": {"b": 1}}, {"a": Exactly({"b": 1})}, []),
        ({"a": None}, {"a": {"b": {"c": 1}}}, ["a.b.c"]),
        ({}, {"a": Exactly({})}, ["a"]),
        ({"a": "x/"}, {"a": OneOf(("x", "x/"))}, []),
        ({}, {"a": OneOf(("x", None))}, []),
        ({"a": "y"}, {"a": OneOf(("x", None))}, ["a"]),
        ({"a": [{"key": "y"}, {"key": "x"}]}, {"a": [{"key": "x"}, {"key": "y"}]}, []),  # a set, in any order
        ({"a": [{"key": "y", "b": 1}, {"key": "x"}]}, {"a": [{"key": "x"}, {"key": "y", "b": 2}]}, ["a[y].b"]),
        ({"a": [{"key": "y"}]}, {"a": [{"key": "x"}]}, ["a"]),
    ],
)
def test_what_is_there_is_compared_with_what_is_wanted(actual, wanted, differs):
    assert [each.field for each in differences(actual, wanted)] == differs
