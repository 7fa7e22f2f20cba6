"""docs/install.md names what there is, and quotes what is printed."""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import commands, deploy, destroy, detach, diff, lock, rollback, target
from infra.gcp.access import IAP_ACCESSOR
from infra.gcp.delegation import SCOPES
from infra.gcp.description import DEPLOYMENT, KEYS, REPOSITORY
from infra.gcp.gcloud import Gcloud, NotSignedIn
from infra.gcp.target import Target
from tests.gcp import gcloud_parser as parser
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.stand_in.run import managed_by_functions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "install.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
GIVEN = re.findall(r"[A-Z_]+", re.findall(r"^GIVEN := ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)[0])
BLOCK = re.compile(r"^ *```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROSE = BLOCK.sub("", TEXT)
SETTINGS = {
    "PROJECT": "keeper-prod",
    "REGION": "europe-west1",
    "ADMIN": "keeper-sync@example.com",
    "ALERTS": "keeper-alerts@example.com",
    "ACCESS": "group:keeper-admins@example.com",
}
TARGET = Target.given(SETTINGS)
ROLE = re.compile(r"roles/[\w.]+\w")
OF_PEOPLE = "### Roles of the person who deploys"


def blocks(kind: str) -> list[str]:
    return [match["text"] for match in BLOCK.finditer(TEXT) if match["kind"] == kind]


def section(heading: str) -> str:
    return TEXT.split(f"\n{heading}\n")[1].split("\n#")[0]


def typed() -> list[str]:
    """Return every command line of the page, with its settings filled in."""
    lines = [line.strip() for text in blocks("sh") for line in text.splitlines()]
    lines += [line[2:] for text in blocks("console") for line in text.splitlines() if line.startswith("$ ")]
    lines += [code for line in PROSE.splitlines() if line[:1] != "|" for code in re.findall(r"`([^`]+)`", line)]
    filled = [re.sub(r"\$(\w+)", lambda match: SETTINGS.get(match[1], match[0]), line) for line in lines]
    return [line for line in filled if line.startswith(("gcloud ", "make "))]


def test_gcloud_understands_every_command_of_the_page():
    parsed = [tuple(shlex.split(line)) for line in typed() if line.startswith("gcloud ")]
    assert len(parsed) > 8
    assert complaints(parsed) == {}


def test_every_target_of_make_exists_and_takes_the_settings_that_it_is_given():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    known = set(GIVEN)
    used = re.findall(r"\bmake ((?:[a-z]+|[A-Z]+=\S*)(?: [A-Z]+=\S+)*)", "\n".join((*typed(), *blocks("console"))))
    assert {"plan", "diff", "deploy", "rollback", "detach", "destroy", "logs", "doctor", "setup"} <= {
        text.split()[0] for text in used
    }
    for text in used:
        target, *given = text.split()
        if target in targets or "=" in target:
            assert {part.partition("=")[0] for part in given} <= known, text
        else:
            assert target in "deploy puts", text


def test_every_setting_of_the_table_is_one_of_the_makefile_with_its_default():
    rows = [line.split("|") for line in section("## 2. The code and the settings").splitlines() if line[:3] == "| `"]
    documented = {row[1].strip(" `"): row[2].strip(" `") for row in rows}
    assert set(documented) == {setting.name for setting in target.SETTINGS} <= set(GIVEN)
    needed = {setting.name for setting in target.SETTINGS if not setting.optional}
    assert needed | {"ACCESS"} == set(SETTINGS)  # which a first deployment alone must be given
    assert {name for name, default in documented.items() if not default} == set(SETTINGS)


def test_the_settings_of_the_page_are_taken_and_a_missing_one_is_named():
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", "".join(blocks("sh")), re.MULTILINE))
    assert exported == SETTINGS
    assert command_line.main(["plan"], exported) == 0
    with pytest.raises(SystemExit) as ended:
        command_line.main(["plan"], {})
    quoted = next(text for text in blocks("console") if "is missing" in text)
    assert quoted == f"$ make plan\n{ended.value}\n"


def test_every_group_of_commands_that_a_deployment_uses_has_a_role_for_the_person_who_deploys():
    steps = commands.all_steps(Target.given(SETTINGS | {"BUDGET": "50EUR"}))
    issued = [command for step in steps for command in step.commands]
    issued += [removal.look for removal in destroy.removals(TARGET, audit=True)]
    groups = {next(part for part in command[1:] if part not in ("alpha", "beta")) for command in issued}
    assert set(re.findall(r"`gcloud (\w+)`", section(OF_PEOPLE))) == groups


def test_every_role_is_one_of_the_deployment_or_of_the_person_who_deploys():
    granted = {grant.role for holder in (*DEPLOYMENT.accounts, *DEPLOYMENT.agents) for grant in holder.grants}
    elsewhere = set(ROLE.findall(TEXT.replace(section(OF_PEOPLE), "")))
    assert elsewhere
    assert elsewhere <= granted | {IAP_ACCESSOR}


def test_every_name_of_ours_is_deployed():
    names = {account.id for account in DEPLOYMENT.accounts} | {job.name for job in DEPLOYMENT.jobs}
    names |= {REPOSITORY, lock.NAME}
    functions = {function.name for function in DEPLOYMENT.functions}
    others = {"keeper-prod", "keeper-sync", "keeper-admins", "keeper-alerts", "keeper-autoprovisioning"}
    mentioned = set(re.findall(r"\bkeeper-[a-z-]+[a-z]\b", TEXT))
    assert mentioned - others - names == set()
    assert set(re.findall(r"FUNCTION=([\w-]+)|--service=([\w-]+)", TEXT)) <= {
        pair for name in functions for pair in ((name, ""), ("", name))
    }
    assert [key for key in KEYS if key in TEXT] == []  # nobody has to know them


def test_every_api_is_enabled_by_the_deployment():
    assert set(re.findall(r"\b(\w+\.googleapis\.com)\b", TEXT)) - {"www.googleapis.com"} <= set(DEPLOYMENT.services)


def test_the_scopes_are_those_that_are_asked_for():
    (scopes,) = [text.split() for text in blocks("text") if "auth/" in text]
    assert tuple(scopes) == SCOPES


def test_the_tracks_are_those_that_any_command_needs():
    steps = commands.all_steps(TARGET)
    issued = [command for step in steps for command in step.commands]
    issued += [c for removal in destroy.removals(TARGET, audit=True) for c in (removal.look, *removal.commands)]
    table = re.findall(r"`(gcloud (?:alpha|beta) [\w ]+)`", section("## Commands of the alpha and beta tracks"))
    tracked = {" ".join(command) for command in issued if command[1] in ("alpha", "beta")}
    assert [text for text in tracked if not text.startswith(tuple(f"{group} " for group in table))] == []
    assert [group for group in table if not any(text.startswith(f"{group} ") for text in tracked)] == []


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """Return what each command prints against the stand-in, one after the other."""
    cloud = StandIn()
    known = replace(
        TARGET, number=parser.TARGET.number, channels={TARGET.alerts: "projects/keeper-prod/notificationChannels/1"}
    )
    removed = [c for removal in destroy.removals(known, audit=False) for c in (removal.look, *removal.commands)]
    complaints([*(c for step in commands.all_steps(known) for c in step.commands), *removed])  # one call for nearly all
    said: dict[str, list[str]] = {
        name: [] for name in ("make plan", "make diff", "make deploy", "make rollback", "make detach", "make destroy")
    }

    def gcloud(of: StandIn = cloud) -> Gcloud:
        return Gcloud(of, sleep=lambda seconds: None)

    def asked(command: str) -> Callable[[str], str]:
        return lambda question: said[command].append(question) or TARGET.project

    deploy.plan(TARGET, said["make plan"].append)
    for _ in range(2):
        deploy.deploy(TARGET, gcloud(), said["make deploy"].append, visit=cloud.visit)
    former = copy.deepcopy(cloud)
    managed_by_functions(former)
    deploy.deploy(TARGET, gcloud(former), lambda text: None, visit=former.visit)
    detach.detach(TARGET, gcloud(former), said["make detach"].append, asked("make detach"))
    cloud.may_budget = False
    deploy.deploy(replace(TARGET, budget="50EUR"), gcloud(), said["make deploy"].append, visit=cloud.visit)
    diff.diff(replace(TARGET, access="group:others@example.com"), gcloud(), said["make diff"].append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
        deploy.deploy(TARGET, gcloud(), lambda text: None, visit=cloud.visit)
        rollback.rollback(TARGET, gcloud(), said["make rollback"].append)
    destroy.destroy(TARGET, gcloud(), said["make destroy"].append, asked("make destroy"), destroy.Wanted())
    return {name: "\n".join(lines) for name, lines in said.items()}


def quotes() -> list[tuple[str, list[str]]]:
    """Return the commands that are quoted with what they print, line by line."""
    found = [text.splitlines() for text in blocks("console")]
    return [(lines[0][2:], lines[1:]) for lines in found if not lines[0].startswith("$ gcloud")]


@pytest.mark.parametrize("number", range(len(quotes())))
def test_what_is_quoted_is_what_is_printed_in_that_order(number, printed):
    command, lines = quotes()[number]
    if command == "make doctor":
        text = (ROOT / "infra" / "gcp" / "doctor.py").read_text().replace("{told}", "528.0.0")
        text += "".join(SCOPES) + str(NotSignedIn())
        lines = [re.sub(r"^ *(?:ok|FIX)? +", "", line) for line in lines]
        assert [line for line in lines if line.rstrip(". ") not in text] == []
        return
    text = printed[command] if "is missing" not in lines[0] else "\n".join(lines)
    place = 0
    for line in lines:
        for part in filter(None, line.split("...")) if line != "..." else ():
            found = text.find(part.rstrip(), place)
            assert found >= 0, f"{command} does not print (after what was quoted before): {line}"
            place = found + len(part.rstrip())


@pytest.mark.parametrize("heading", re.findall(r"^(## \d+\. .+)$", TEXT, re.MULTILINE))
def test_each_step_says_who_does_it_where_how_long_it_takes_and_when_it_is_done(heading):
    said = " ".join(section(heading).strip().split("\n\n")[0].split())
    assert re.match(r"\*\*Who:\*\* .*\*\*Where:\*\* .*\*\*Takes:\*\* .*\*\*Done when\*\* ", said)


def test_what_is_cloned_and_checked_out_is_the_newest_release_that_the_changelog_has():
    (newest, *_) = re.findall(r"^## (\d+\.\d+\.\d+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:--branch|git checkout) v(\S+)", TEXT)) == {newest}
    assert f'version = "{newest}"\n' in (ROOT / "pyproject.toml").read_text()


def test_the_program_behind_make_runs_as_the_page_says_and_tells_what_make_does_not(tmp_path):
    (tmp_path / "git").symlink_to(str(shutil.which("git")))  # and no gcloud
    (line,) = [line for text in blocks("sh") for line in text.splitlines() if "-m infra.gcp" in line]
    environment = {**os.environ, "PATH": str(tmp_path), **SETTINGS}
    environment.pop("PYTHONPATH", None)
    wanted = {"plan": 0, "diff": 1, "no-such-command": 2}
    for verb, status in wanted.items():
        done = subprocess.run(
            ["/bin/sh", "-c", line.replace("doctor", verb).replace(".venv/bin/python", sys.executable)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_the_last_table_is_numbered_and_its_lines_are_those_that_are_referred_to():
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {int(number) for number in re.findall(r"line (\d+)\b", TEXT)} <= set(numbers)
