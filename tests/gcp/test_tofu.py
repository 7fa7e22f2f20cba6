"""`make tofu`: the same deployment as OpenTofu JSON, held against the provider's schema and gcloud's commands."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.gcp import __main__ as gcp
from infra.gcp import commands, monitoring, tofu
from infra.gcp.description import DEPLOYMENT, INVOKER
from infra.gcp.steps import Command
from infra.gcp.target import Target
from infra.gcp.variants import chosen
from tests.gcp import gcloud_parser, provider_schema

GUIDE = Path(__file__).parents[2] / "docs" / "opentofu.md"
TARGET = Target(
    project="keeper-prod",
    region="europe-west1",
    admin="keeper-sync@example.com",
    alerts="sec@example.com,projects/keeper-prod/notificationChannels/7",
    access="group:admins@example.com",
    number="42",
    budget="50EUR",
    billing_account="billingAccounts/1",
    sink="organization",
    organization="987654321098",
)
EXPRESSION = re.compile(r"(?<!\$)\$\{(.*?)\}")
REFERENCE = re.compile(r"\b(google_\w+)\.(\w+)(?:\.(\w+))?")
VARIABLE = re.compile(r"\bvar\.(\w+)")


@cache
def resources() -> tuple[Any, ...]:
    return tuple(tofu.resources(TARGET))


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def resolved(text: str) -> str:
    """Fill in what the target of these tests has for each variable, and for what refers to a resource by its name."""
    known = tofu.values(TARGET) | {"project_number": TARGET.number}
    by_address = {item.address: item for item in resources()}

    def value(found: re.Match[str]) -> str:
        if variable := VARIABLE.fullmatch(found[1]):
            default = "1" if variable[1].endswith("_version") else None
            return str(known.get(variable[1], default))
        reference = REFERENCE.fullmatch(found[1])
        if reference is None:
            return found[0]
        body = by_address[f"{reference[1]}.{reference[2]}"].body
        if reference[1] == "google_service_account":
            address = TARGET.account(body["account_id"].removeprefix("keeper-"))
            return {"member": f"serviceAccount:{address}"}.get(reference[3], address)
        if reference[1] == "google_pubsub_topic" and reference[3] == "id":
            return f"projects/{TARGET.project}/topics/{body['name']}"
        names = [body[key] for key in ("secret_id", "role_id", "repository_id", "name") if key in body]
        return resolved(str(names[0])) if names else found[0]

    return EXPRESSION.sub(value, text)


def filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return resolved(value) if isinstance(value, str) else value


def bodies(kind: str, key: str) -> dict[str, Any]:
    found = [filled(dict(item.body)) for item in resources() if item.kind == kind]
    return {body[key]: body for body in found}


@pytest.mark.parametrize("resource", resources(), ids=lambda item: item.address)
def test_the_provider_takes_every_resource(resource: Any) -> None:
    assert provider_schema.problems(resource.kind, resource.body) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "google_pubsub_topic.name is required"),
        ({"name": "t", "nme": "t"}, "google_pubsub_topic.nme is unknown"),
        ({"name": ["t"]}, "google_pubsub_topic.name must be of type string"),
        ({"name": "t", "labels": {"a": 1}}, "google_pubsub_topic.labels must be of type ['map', 'string']"),
        (
            {"name": "t", "message_storage_policy": [{}]},
            "google_pubsub_topic.message_storage_policy.allowed_persistence_regions is required",
        ),
        ({"name": "t", "effective_labels": {}}, "google_pubsub_topic.effective_labels is told by the provider only"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(body: dict[str, Any], problem: str) -> None:
    assert provider_schema.problems("google_pubsub_topic", body) == [problem]


def test_no_two_resources_share_an_address() -> None:
    addresses = [item.address for item in resources()]
    assert len(addresses) == len(set(addresses))


def test_every_expression_refers_to_what_is_there() -> None:
    configuration = tofu.configuration(TARGET)
    kinds = provider_schema.kinds()
    seen = 0
    for text in texts(configuration["resource"]) + texts(configuration["output"]):
        whole = text.startswith("google_")  # what depends_on names
        for expression in [text] if whole else EXPRESSION.findall(text):
            for kind, name, attribute in REFERENCE.findall(expression):
                assert name in configuration["resource"].get(kind, {}), f"{kind}.{name} in {text}"
                if attribute and attribute != "name":
                    assert attribute in kinds[kind]["attributes"], f"{kind}.{attribute} in {text}"
                seen += 1
            for name in VARIABLE.findall(expression):
                assert name in configuration["variable"], text
                seen += 1
    assert seen > 300


def test_no_text_of_monitoring_is_taken_for_an_expression() -> None:
    files = [*monitoring.metrics(), *monitoring.policies()]
    assert [path.name for path in files if re.search(r"[$%]\{", path.read_text())] == []
    (dashboard,) = [item.body["dashboard_json"] for item in resources() if item.kind == "google_monitoring_dashboard"]
    assert re.search(r"(?<![$])\$\{", dashboard) is None
    assert json.loads(dashboard.replace("$${", "${")) == json.loads(monitoring.DASHBOARD.read_text())


def test_what_has_a_name_is_what_the_commands_make() -> None:
    """Each kind that gcloud makes by name, held against the steps of `make deploy`."""
    made: dict[str, set[str]] = {}
    groups = {
        ("iam", "service-accounts", "create"): ("google_service_account", "account_id"),
        ("iam", "roles", "create"): ("google_project_iam_custom_role", "role_id"),
        ("pubsub", "topics", "create"): ("google_pubsub_topic", "name"),
        ("pubsub", "subscriptions", "create"): ("google_pubsub_subscription", "name"),
        ("secrets", "create"): ("google_secret_manager_secret", "secret_id"),
        ("artifacts", "repositories", "create"): ("google_artifact_registry_repository", "repository_id"),
        ("scheduler", "jobs", "create", "http"): ("google_cloud_scheduler_job", "name"),
        ("logging", "metrics", "create"): ("google_logging_metric", "name"),
        ("storage", "buckets", "create"): ("google_storage_bucket", "name"),
    }
    for step in commands.all_steps(TARGET):
        for command in step.make:
            for group in groups:
                if command[1 : 1 + len(group)] == group:
                    made.setdefault(groups[group][0], set()).add(command[1 + len(group)].removeprefix("gs://"))
    assert made.keys() == {kind for kind, _ in groups.values()}
    for kind, key in groups.values():
        assert set(bodies(kind, key)) == made[kind], kind


def test_services_have_what_functions_have() -> None:
    services = bodies("google_cloud_run_v2_service", "name")
    assert set(services) == {function.name for function in DEPLOYMENT.functions}
    for function in chosen(TARGET).functions:
        (template,) = services[function.name]["template"]
        (container,) = template["containers"]
        environment = {item["name"]: item.get("value") for item in container["env"]}
        mounted = {
            item["name"]: item["value_source"][0]["secret_key_ref"][0]
            for item in container["env"]
            if "value_source" in item
        }
        wanted = {key: TARGET.filled(text, DEPLOYMENT) for key, text in function.environment.items()}
        assert environment == wanted | dict.fromkeys(function.secrets) | {"FUNCTION_TARGET": function.entry_point}
        assert mounted == {key: {"secret": name, "version": "1"} for key, name in function.secrets.items()}
        assert template["service_account"] == TARGET.account(function.name)
        assert template["timeout"] == f"{function.timeout}s"
        assert template["max_instance_request_concurrency"] == function.concurrency
        assert container["resources"][0]["limits"] == {"cpu": function.cpu, "memory": function.memory}
        assert services[function.name]["iap_enabled"] is function.iap
        assert services[function.name]["invoker_iam_disabled"] is function.public


def test_subscriptions_and_jobs_say_what_the_commands_say() -> None:
    flags: dict[str, dict[str, str]] = {}
    for step in commands.all_steps(TARGET):
        for command in step.make:
            if command[1:4] == ("pubsub", "subscriptions", "create") or command[1:4] == ("scheduler", "jobs", "create"):
                name = command[5 if command[4] == "http" else 4]
                pairs = (part.partition("=") for part in command if part.startswith("--"))
                flags[name] = {key: value for key, _, value in pairs}
    for name, body in bodies("google_pubsub_subscription", "name").items():
        given = flags[name]
        assert str(body["ack_deadline_seconds"]) == given["--ack-deadline"]
        assert body["message_retention_duration"] == given["--message-retention-duration"]
        assert (body["expiration_policy"], given["--expiration-period"]) == ([{"ttl": ""}], "never")
        if "push_config" in body:
            assert body["push_config"] == [
                {
                    "push_endpoint": given["--push-endpoint"],
                    "oidc_token": [
                        {
                            "service_account_email": given["--push-auth-service-account"],
                            "audience": given["--push-auth-token-audience"],
                        }
                    ],
                }
            ]
            retry, dead = body["retry_policy"][0], body["dead_letter_policy"][0]
            assert retry["minimum_backoff"] == given["--min-retry-delay"]
            assert retry["maximum_backoff"] == given["--max-retry-delay"]
            assert dead["dead_letter_topic"].endswith(f"/{given['--dead-letter-topic']}")
            assert str(dead["max_delivery_attempts"]) == given["--max-delivery-attempts"]
    for name, body in bodies("google_cloud_scheduler_job", "name").items():
        given, (asked,), (retry,) = flags[name], body["http_target"], body["retry_config"]
        assert (body["schedule"], body["time_zone"]) == (given["--schedule"], given["--time-zone"])
        assert body["attempt_deadline"] == given["--attempt-deadline"]
        assert asked["uri"] == given["--uri"]
        assert asked["oidc_token"][0]["audience"] == given["--oidc-token-audience"]
        assert asked["oidc_token"][0]["service_account_email"] == given["--oidc-service-account-email"]
        assert str(retry["retry_count"]) == given["--max-retry-attempts"]
        assert retry["min_backoff_duration"] == given["--min-backoff"]
        assert retry["max_backoff_duration"] == given["--max-backoff"]


def test_every_grant_is_there_and_no_other() -> None:
    wanted = {
        (f"serviceAccount:{TARGET.account(account.name)}", grant.role.rpartition("/")[2], grant.on)
        for account in DEPLOYMENT.accounts
        for grant in account.grants
    }
    found = set()
    for item in resources():
        body = filled(dict(item.body))
        if item.kind == "google_cloud_run_v2_service_iam_binding":
            found |= {(member, INVOKER.rpartition("/")[2], f"service:{body['name']}") for member in body["members"]}
        elif item.kind.endswith("_iam_member"):
            names = [body.get(key) for key in ("topic", "subscription", "secret_id", "repository", "bucket")]
            if account := body.get("service_account_id"):
                names = [account.rpartition("/")[2].removeprefix("keeper-").partition("@")[0]]
            kind = item.kind.removeprefix("google_").removesuffix("_iam_member")
            short = {
                "service_account": "account",
                "pubsub_topic": "topic",
                "pubsub_subscription": "subscription",
                "secret_manager_secret": "secret",
                "artifact_registry_repository": "repository",
                "storage_bucket": "bucket",
                "project": "project",
            }[kind]
            on = short if short == "project" else f"{short}:{next(filter(None, names))}"
            on = on.removesuffix("-42")  # a bucket's name has the project's number in it
            found.add((body["member"], body["role"].rpartition("/")[2], on))
    ours = {each for each in found if "@keeper-prod.iam" in each[0]}
    assert ours == wanted
    agents = sum(len(agent.grants) for agent in DEPLOYMENT.agents)
    assert len(found - ours) >= agents


def test_the_log_sink_is_what_the_commands_make() -> None:
    (made,) = bodies("google_logging_organization_sink", "name").values()
    (step,) = [step for step in commands.all_steps(TARGET) if step.title.startswith("Log sink ")]
    (command,) = step.make
    assert {made["name"], made["destination"]} == set(command[4:6])
    for field, flag in (("org_id", "organization"), ("filter", "log-filter"), ("description", "description")):
        assert f"--{flag}={made[field]}" in command
    (grant,) = [item.body for item in resources() if item.name == "sink_publishes"]
    assert grant["member"] == "${google_logging_organization_sink.workspace_changes.writer_identity}"


def test_every_condition_of_a_grant_is_there() -> None:
    wanted = sorted(grant.only.title for account in DEPLOYMENT.accounts for grant in account.grants if grant.only)
    found = [item.body["condition"][0]["title"] for item in resources() if "condition" in item.body]
    assert sorted(found) == wanted


def test_what_was_deployed_before_is_adopted_by_the_ids_that_the_provider_documents() -> None:
    ids = {item["to"]: item["id"] for item in filled(tofu.adoption(TARGET))["import"]}
    assert ids["google_pubsub_topic.dead_letters"] == "projects/keeper-prod/topics/dead-letters"
    assert ids["google_cloud_run_v2_service.console"] == "projects/keeper-prod/locations/europe-west1/services/console"
    assert ids["google_firestore_field.events_expires"] == (
        "projects/keeper-prod/databases/(default)/collectionGroups/events/fields/expires"
    )
    assert ids["google_project_iam_member.provision_user_datastore_user_project"] == (
        "keeper-prod roles/datastore.user serviceAccount:keeper-provision-user@keeper-prod.iam.gserviceaccount.com "
        "keeper-database-only"
    )
    assert ids["google_storage_bucket.sources"] == "keeper-prod/keeper-source-42"
    left = {address.partition(".")[0] for address in tofu.unknown(TARGET)}
    assert left == {
        "google_project_service",  # imported one by one, or made again: enabling twice changes nothing
        "google_project_service_identity",  # the same
        "google_billing_budget",
        "google_pubsub_topic_iam_member",  # of the log sink, whose identity only Google knows
        "google_firestore_backup_schedule",
        "google_firestore_index",
        "google_monitoring_alert_policy",
        "google_monitoring_dashboard",
        "google_monitoring_notification_channel",
        "google_monitoring_uptime_check_config",
    }


def test_what_the_guide_names_is_there() -> None:
    guide = GUIDE.read_text()
    targets = re.findall(r"-target=(\S+)", guide)
    assert targets
    assert set(targets) <= {item.address for item in resources()}
    given = {name.removeprefix("TF_VAR_") for name in re.findall(r"TF_VAR_\w+", guide)}
    variables = set(tofu.configuration(TARGET)["variable"])
    defaults = {"channel_key_version", "form_key_version", "billing_account"}
    assert given == variables - set(tofu.values(TARGET)) - defaults
    (build,) = [command for step in commands.all_steps(TARGET) for command in step.make if command[1] == "builds"]
    for flag in (part.partition("=")[0] for part in build if part.startswith("--")):
        assert flag in guide, flag


def guides_commands() -> list[Command]:
    """Return gcloud's commands in the guide, with something for each variable of the shell."""
    known = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "key": "form-key", "revision": "console-00001-abc"}
    known |= {"IMAGE": "europe-west1-docker.pkg.dev/keeper-prod/keeper-functions/functions", "TAG": "0" * 40}
    known |= {"TF_VAR_project_number": "42", "serving": "json"}
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if "gcloud " in line]
    told = []
    for line in lines:
        before, _, command = line.partition("gcloud ")
        command = command.rstrip().removesuffix(')"') if "$(" in before else command
        text = re.sub(r"\$(\w+)", lambda found: known[found[1]], f"gcloud {command}")
        told.append(tuple(shlex.split(text)))
    return told


def test_gcloud_takes_the_commands_of_the_guide() -> None:
    assert len(guides_commands()) > 5
    assert gcloud_parser.complaints(guides_commands()) == {}


def test_the_guide_takes_the_image_of_the_revision_that_has_all_traffic() -> None:
    """Not that of the service's template, which is the newest one's, waiting or rolled back."""
    guide = GUIDE.read_text()
    assert "spec.template" not in guide
    (serving,) = re.findall(r"serving='(.*)'", guide)
    assert serving == 'value(status.traffic.filter("percent=100").extract("revisionName").flatten())'
    (image,) = [command for command in guides_commands() if command[1:4] == ("run", "revisions", "describe")]
    assert "--format=value(spec.containers[0].image)" in image


def test_who_is_let_in_must_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "ROOT", tmp_path)
    given = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}
    with pytest.raises(SystemExit, match="ACCESS is missing: give group:ADDRESS"):
        gcp.main(["tofu"], given)
    assert list(tmp_path.iterdir()) == []


def test_no_secret_is_in_it() -> None:
    kinds = {item.kind for item in resources()}
    assert "google_secret_manager_secret_version" not in kinds
    assert "random_password" not in kinds


def test_make_tofu_writes_files_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gcp, "ROOT", tmp_path)
    given = {
        "PROJECT": "keeper-prod",
        "REGION": "europe-west1",
        "ADMIN": "keeper-sync@example.com",
        "ALERTS": "sec@example.com",
        "ACCESS": "group:admins@example.com",
    }
    assert gcp.main(["tofu"], given) == 0
    folder = tmp_path / ".local" / "tofu"
    assert sorted(path.name for path in folder.iterdir()) == ["keeper.auto.tfvars.json", "keeper.tf.json"]
    values = json.loads((folder / "keeper.auto.tfvars.json").read_text())
    assert values["access"] == "group:admins@example.com"
    assert values.keys() <= json.loads((folder / "keeper.tf.json").read_text())["variable"].keys()
    assert "docs/opentofu.md" in capsys.readouterr().out
    assert gcp.main(["tofu"], given | {"ADOPT": "yes"}) == 0
    assert "All traffic goes to the newest revision" in capsys.readouterr().out
    assert json.loads((folder / "adopt.tf.json").read_text())["import"]
    with pytest.raises(SystemExit, match="ORGANIZATION is missing"):
        gcp.main(["tofu"], given | {"SINK": "organization"})
    assert gcp.main(["tofu"], given) == 0  # without it again: resources that are not there cannot be imported
    assert not (folder / "adopt.tf.json").exists()
