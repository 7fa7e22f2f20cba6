"""Memory, time and room of functions as a setting: checked before the first command, and no change of code."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.gcp import commands
from infra.gcp.description import DEPLOYMENT
from infra.gcp.steps import shown
from infra.gcp.target import Refused, Target
from infra.gcp.tuning import read
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import NAMES, changes_of, container, deployed, redeployed
from tests.gcp.test_install import TEXT

SETTINGS = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}


def tuned(folder: Path, text: str) -> Target:
    path = folder / "tuning.toml"
    path.write_text(text)
    return Target.given(SETTINGS | {"TUNING": str(path)})


def deploys(target: Target) -> dict[str, str]:
    issued = [shown(command) for step in commands.all_steps(target) for command in step.make]
    return {text.split()[3]: text for text in issued if text.startswith("gcloud run deploy ")}


def test_functions_get_what_the_file_says_and_all_else_as_described(tmp_path):
    text = '[console]\nmemory = "1Gi"\nconcurrency = 32\nmin_instances = 1\n[provision_user]\ntimeout = 80\n'
    target = tuned(tmp_path, text)
    changed, plain = deploys(target), deploys(Target.given(SETTINGS))
    assert "--memory=1Gi --cpu=1 --timeout=120s --concurrency=32 --min-instances=1" in changed["console"]
    assert "THREADS=32;" in changed["console"]
    assert "--memory=512Mi --cpu=1 --timeout=80s" in changed["provision-user"]
    assert changed["reconcile"].partition("--update-labels")[0] == plain["reconcile"].partition("--update-labels")[0]
    assert f"TUNING={tmp_path}/tuning.toml" in target.settings


def test_another_tuning_is_another_release_and_the_same_one_changes_nothing(tmp_path):
    cloud = StandIn()
    deployed(cloud)
    target = tuned(tmp_path, '[reconcile]\nmemory = "2Gi"\n')
    assert redeployed(changes_of(cloud, target)) == NAMES
    assert container(cloud, "reconcile")["resources"]["limits"]["memory"] == "2Gi"
    assert changes_of(cloud, target) == []


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ('[console]\nmemory = "3Gi"', "console.memory = '3Gi' does not fit: give one of 128Mi, "),
        ("[console]\nmemory = 512", "console.memory = 512 does not fit"),
        ("[console]\nconcurrency = 0", "console.concurrency = 0 does not fit: give a number from 1 to 1000."),
        ("[reconcile]\nconcurrency = 2", "reconcile.concurrency = 2 does not fit: give 1, or nothing."),
        ("[reconcile]\nmax_instances = 2", "give a number from 3 to 1000."),
        ('[console]\nconcurrency = "9"', "console.concurrency = '9' does not fit"),
        ("[console]\nmax_instances = true", "console.max_instances = True does not fit"),
        ("[provision-user]\ntimeout = 90", "give a number from 61 to 89."),
        ("[apply-changes]\ntimeout = 600", "give a number from 481 to 599."),
        ("[reconcile]\ntimeout = 900", "reconcile.timeout = 900 does not fit: give 1800, or nothing."),
        ("[workspace-events]\nmax_instances = 2", "workspace-events.max_instances = 2 does not fit: give 1, "),
        ("[workspace-events]\nmin_instances = 2", "workspace-events.min_instances is more than max_instances"),
        ("[renew-watch]\ntimeout = 60", "give a number from 180 to 3600."),
        ("[console]\nmin_instances = 9", "console.min_instances is more than max_instances"),
        ("[console]\niap = false", "console.iap = False does not fit: give one of memory, timeout, "),
        ("[consoles]\n", "consoles is not a function: give one of directory-webhook, "),
        ("console = 1", "console is not a table: give [console]"),
        ("[console", "cannot be read"),
    ],
)
def test_what_fits_nothing_is_refused_with_what_to_give_instead(tmp_path, text, refusal):
    with pytest.raises(Refused) as refused:
        tuned(tmp_path, text)
    assert refusal in str(refused.value)
    assert str(refused.value).startswith(f"TUNING={tmp_path}/tuning.toml")


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(Refused) as refused:
        tuned(tmp_path, '[console]\nmemory = "1"\ntimeout = 0\n[nobody]\n')
    assert len(str(refused.value).splitlines()) == 3


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(Refused, match=r"TUNING=nowhere.toml is not a file: give the path"):
        Target.given(SETTINGS | {"TUNING": "nowhere.toml"})


def test_the_example_of_the_page_is_taken_and_what_is_described_fits(tmp_path):
    example = TEXT.partition("```toml\n")[2].partition("```")[0]
    assert set(tuned(tmp_path, example).tuned) == {"reconcile", "console"}
    lines = [
        f'[{item.name}]\nmemory = "{item.memory}"\ntimeout = {item.timeout}\nconcurrency = {item.concurrency}\n'
        f"min_instances = {item.min_instances}\nmax_instances = {item.max_instances}\n"
        for item in DEPLOYMENT.functions
    ]
    path = tmp_path / "all.toml"
    path.write_text("".join(lines))
    assert len(read(str(path))) == len(DEPLOYMENT.functions)
    assert commands.release(tuned(tmp_path, "".join(lines))) == commands.release(Target.given(SETTINGS))
