"""ACCESS: a first deployment names whom the proxy lets in; one that leaves it out lets in whom it did and no others."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from infra.gcp import deploy, destroy, diff, doctor
from infra.gcp.gcloud import Gcloud
from infra.gcp.live import Addresses
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.test_deploy import TARGET, changes_of, deployed, members

UNSAID = replace(TARGET, access="")
ADMINS = "group:keeper-admins@example.com"
AWAY = "http://127.0.0.1:9"
NOWHERE = Addresses(iam=AWAY, token=AWAY, directory=AWAY, firestore=AWAY, monitoring=AWAY)


@pytest.fixture
def cloud(whole: StandIn) -> StandIn:
    return copy.deepcopy(whole)


def test_a_first_deployment_that_names_nobody_is_refused_before_anything_changes():
    cloud = StandIn()
    with pytest.raises(
        SystemExit, match=r"ACCESS is missing: give group:ADDRESS.*domain:example.com is everybody in it"
    ):
        deployed(cloud, UNSAID)
    assert cloud.changes() == []


@pytest.mark.parametrize("before", ["domain:example.com", ADMINS])
def test_a_later_deployment_that_names_nobody_leaves_it_as_it_is(cloud, before):
    deployed(cloud, replace(TARGET, access=before))
    said = deployed(cloud, UNSAID)
    assert f"ACCESS is not given: Identity-Aware Proxy goes on letting in {before}." in said
    assert any(text.startswith("Then: make doctor ") and text.endswith(f"ACCESS={before}") for text in said)
    assert {name: members(cloud, f"iap:{name}") for name in ("console", "reauthorize")} == {
        "console": {before},
        "reauthorize": {before},
    }
    assert changes_of(cloud, UNSAID) == []


@pytest.mark.parametrize(
    "there",
    [["domain:example.com", "user:guest@example.com"], ["allAuthenticatedUsers"], ["user:a@example.com", ADMINS]],
)
def test_what_no_access_stands_for_is_not_kept_unasked(cloud, there, capsys):
    for name in ("console", "reauthorize"):
        cloud.policies[f"iap:{name}"]["bindings"][0]["members"] = there
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=rf"ACCESS is missing.*Now it lets in {', '.join(sorted(there))}\."):
        deployed(cloud, UNSAID)
    assert len(cloud.changes()) == before
    for ask in (diff.diff, lambda *given: doctor.examine(*given, NOWHERE)):
        assert ask(UNSAID, Gcloud(cloud, pauses=()), print) == 1
        assert "ACCESS is missing: give group:ADDRESS" in capsys.readouterr().out


def test_who_only_looks_compares_nothing_that_was_not_said(cloud, capsys):
    assert diff.diff(UNSAID, Gcloud(cloud, pauses=()), print) == 0
    doctor.examine(UNSAID, Gcloud(cloud, pauses=()), print, NOWHERE)
    told = "  ok    Identity-Aware Proxy lets in domain:example.com: not compared, since ACCESS is not given\n"
    assert told in capsys.readouterr().out


def test_a_plan_says_that_nobody_is_named_yet(capsys):
    deploy.plan(UNSAID, print)
    text = capsys.readouterr().out
    assert "  WHO_MAY_ENTER         whom ACCESS names" in text
    assert "--member=WHO_MAY_ENTER" in text


def test_nobody_has_to_be_named_to_destroy(cloud):
    destroy.destroy(UNSAID, Gcloud(cloud), lambda text: None, lambda question: PROJECT, destroy.Wanted())
    assert not cloud.things["service"]
