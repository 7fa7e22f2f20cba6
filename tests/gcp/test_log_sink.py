"""docs/changes-of-groups.md: gcloud and make understand what it says to type, and what it names is deployed."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

from infra.gcp import sink
from infra.gcp.description import DEPLOYMENT
from infra.gcp.target import SETTINGS
from tests.gcp.gcloud_parser import TARGET, complaints

TEXT = (Path(__file__).parents[2] / "docs" / "changes-of-groups.md").read_text()


def test_gcloud_understands_every_command_of_the_page():
    typed = re.findall(r"`(gcloud [^`]+)`", TEXT)
    assert typed
    assert complaints(tuple(shlex.split(line)) for line in typed) == {}


def test_make_takes_the_settings_of_the_page():
    given = set(re.findall(r"\b(SINK|ORGANIZATION|PUBLIC_WEBHOOK|FULL_RUNS)=", TEXT))
    assert given
    assert given <= {setting.name for setting in SETTINGS}


def test_the_sink_the_topic_and_the_function_are_deployed():
    (named,) = re.findall(r"`(keeper-[\w-]+-PROJECT)`", TEXT)
    assert named == sink.name(replace(TARGET, project="PROJECT"))
    (function,) = re.findall(r"FUNCTION=([\w-]+)", TEXT)
    assert ("workspace-changes", function) in {(each.topic, each.function) for each in DEPLOYMENT.subscriptions}
    assert "`workspace-changes`" in TEXT
