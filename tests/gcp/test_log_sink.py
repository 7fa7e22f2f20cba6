"""docs/changes-of-groups.md: gcloud understands what it says to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from infra.gcp.description import DEPLOYMENT
from tests.gcp.gcloud_parser import complaints

TEXT = (Path(__file__).parents[2] / "docs" / "changes-of-groups.md").read_text()
FILLED = {"PROJECT": "keeper-prod", "ORG": "123456789012", "WRITER": "writer@example.iam.gserviceaccount.com"}


def test_gcloud_understands_every_command_of_the_page():
    filled = re.sub(r"\b(PROJECT|ORG|WRITER)\b", lambda match: FILLED[match[1]], TEXT)
    typed = [tuple(shlex.split(line)) for line in filled.splitlines() if line.startswith("gcloud ")]
    assert len(typed) == 3
    assert complaints(typed) == {}


def test_the_topic_and_the_function_are_deployed():
    (topic,) = re.findall(r"/topics/([\w-]+) ", TEXT)
    (function,) = re.findall(r"FUNCTION=([\w-]+)", TEXT)
    assert (topic, function) in {(each.topic, each.function) for each in DEPLOYMENT.subscriptions}
