"""The bill of materials has everything that is locked; an audit says what is vulnerable, and what was not checked."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.dependencies import audit, locks, sbom
from infra.dependencies.audit import CLEAN, UNCHECKED, VULNERABLE, Answer, Verdict, lines

LOCKED = locks.pins(locks.DEVELOPMENT)


# ---- the bill of materials


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sbom.write(tmp_path_factory.mktemp("sbom"))


@pytest.mark.parametrize("name", sorted(sbom.LOCKS))
def test_every_locked_package_is_in_it_with_its_version_and_hashes_and_nothing_else(files, name):
    (file,) = [file for file in files if file.name == f"{name}.cdx.json"]
    told = json.loads(file.read_text())
    found = {locks.normalised(each["name"]): each["version"] for each in told["components"]}
    assert found == locks.pins(sbom.LOCKS[name])
    assert len(found) == sbom.LOCKS[name].read_text().count("==")
    for each in told["components"]:
        assert each["purl"] == f"pkg:pypi/{locks.normalised(each['name'])}@{each['version']}"
        assert any(reference.get("hashes") for reference in each["externalReferences"]), each["name"]
    assert told["metadata"]["component"]["name"] == "keeper-autoprovisioning"


def test_it_is_the_same_again_and_names_no_folder_of_this_machine(files, tmp_path):
    again = {file.name: file.read_bytes() for file in sbom.write(tmp_path)}
    assert again == {file.name: file.read_bytes() for file in files}
    assert not any(str(locks.ROOT).encode() in content for content in again.values())


def test_it_is_as_the_specification_says(files):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator  # imports jsonschema, which builds dozens of parsers

    (file,) = [file for file in files if file.name == "functions.cdx.json"]
    assert JsonStrictValidator(SchemaVersion.from_version(sbom.SPECIFICATION)).validate_str(file.read_text()) is None


def test_git_ignores_where_it_is_written():
    ignored = (locks.ROOT / ".gitignore").read_text().splitlines()
    assert f"{sbom.FOLDER.relative_to(locks.ROOT).parts[0]}/" in ignored


# ---- the audit, over what pip-audit 2.10 answered

SKIPPED = "Dependency not found on PyPI and could not be audited: {name} ({version})"
KNOWN: dict[str, Any] = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": ["CVE-2019-10906"]}],
}
TRACEBACK = """Traceback (most recent call last):
  File "adapters.py", line 723, in send
    raise ProxyError(e, request=request)
requests.exceptions.ProxyError: HTTPSConnectionPool(host='index', port=443): Max retries exceeded
"""


def answering(known: Any, locked: Any = None) -> Callable[[Path], Answer]:
    """Answer for the version that is known to be vulnerable, and for the lock."""

    def asked(requirements: Path) -> Answer:
        told = locked if requirements == locks.DEVELOPMENT else known
        assert told is not None, "the lock was asked for in vain"
        if isinstance(told, Answer):
            return told
        return Answer(status=0, out=json.dumps({"dependencies": told, "fixes": []}), err="")

    return asked


def clean(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    told = {name: {"name": name, "version": version, "vulns": []} for name, version in LOCKED.items()}
    return [told[name] | changed.get(name.replace("-", "_"), {}) for name in told]


def test_nothing_known_of_any_package_is_well():
    verdict = audit.audit(answering([KNOWN], clean()))
    assert verdict == Verdict(checked=len(LOCKED))
    assert verdict.status == CLEAN
    assert list(lines(verdict)) == [f"{len(LOCKED)} locked packages checked: no known vulnerability."]


def test_a_vulnerable_pin_is_named_with_what_mends_it_and_whether_it_is_deployed():
    found = {"vulns": [{"id": "PYSEC-1", "fix_versions": ["99.0"], "aliases": ["CVE-1"]}]}
    unmended = {"vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}
    verdict = audit.audit(answering([KNOWN], clean(jinja2=found, pytest=unmended)))
    assert verdict.status == VULNERABLE
    assert list(lines(verdict))[:2] == [
        f"VULNERABLE  jinja2 {LOCKED['jinja2']} (in the functions): PYSEC-1, CVE-1; fixed in 99.0",
        f"VULNERABLE  pytest {LOCKED['pytest']} (in development only): PYSEC-2; no fixed version yet",
    ]


def test_packages_that_the_index_does_not_know_are_not_taken_for_well():
    unknown = clean()
    (place,) = [place for place, each in enumerate(unknown) if each["name"] == "requests"]
    unknown[place] = {"name": "requests", "skip_reason": SKIPPED.format(name="requests", version="1")}
    (left_out,) = [place for place, each in enumerate(unknown) if each["name"] == "ruff"]
    del unknown[left_out]
    verdict = audit.audit(answering([KNOWN], unknown))
    assert verdict.status == UNCHECKED
    assert [text.split(":")[0] for text in verdict.unchecked] == [
        f"requests {LOCKED['requests']}",
        f"ruff {LOCKED['ruff']}",
    ]


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ([{"name": "jinja2", "skip_reason": SKIPPED.format(name="jinja2", version="2.10")}], "not found on PyPI"),
        ([{"name": "jinja2", "version": "2.10", "vulns": []}], "reports no vulnerability"),
        ([], "reports no vulnerability"),
        (Answer(status=1, out="", err=TRACEBACK), "Max retries exceeded"),
        (Answer(status=124, out="", err="No end after 600 seconds."), "No end after"),
        (Answer(status=2, out="", err=""), "ended with 2 and said nothing"),
        (Answer(status=1, out="[]", err=""), "ended with 1"),
    ],
    ids=["a mirror", "no such field", "nothing", "no network", "no end", "silence", "another form"],
)
def test_an_index_that_does_not_know_a_vulnerable_version_has_checked_nothing(known, why):
    verdict = audit.audit(answering(known))
    assert verdict.status == UNCHECKED
    told = list(lines(verdict))
    assert told[0].startswith("UNCHECKED")
    assert why in told[0]
    assert told[-1].startswith("Not checked, so nothing is known of them.")


def test_an_index_that_goes_away_meanwhile_has_checked_nothing():
    verdict = audit.audit(answering([KNOWN], Answer(status=1, out="", err=TRACEBACK)))
    assert (verdict.status, verdict.checked) == (UNCHECKED, 0)


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Verdict(checked=1), CLEAN), (Verdict(unchecked=("away",)), UNCHECKED)],
)
def test_a_report_never_fails(monkeypatch, capsys, verdict, status):
    monkeypatch.setattr(audit, "audit", lambda: verdict)
    assert audit.main([]) == status
    assert audit.main(["--report-only"]) == CLEAN
    assert capsys.readouterr().out.count("checked") >= 2


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "never answered"])
def test_without_a_network_the_real_one_ends_soon_and_says_why(monkeypatch, tmp_path, listening):
    monkeypatch.setattr(audit, "SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listening:
            server.close()
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path))  # otherwise earlier answers would be repeated
        verdict = audit.audit()
    assert verdict.status == UNCHECKED
    (why,) = verdict.unchecked
    assert re.search(r"refused|timed out|Max retries", why), why


def test_it_is_run_as_make_does():
    recipes = (locks.ROOT / "Makefile").read_text()
    assert "-m infra.dependencies.audit" in recipes
    assert "-m infra.dependencies.sbom" in recipes
    runs = (locks.ROOT / ".ci" / "run").read_text()
    reports = r"^\S+ -m infra\.dependencies\.audit --report-only$"
    assert re.search(reports, runs, re.MULTILINE), "it fails no run"
