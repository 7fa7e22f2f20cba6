"""Assets and templates: as published, addressed by their content, nothing that the policy forbids."""

from __future__ import annotations

import hashlib
import re

import pytest

from autoprovisioning.entrypoints import assets
from autoprovisioning.entrypoints.assets import FOLDER, VENDORED
from autoprovisioning.entrypoints.pages import POLICY, TEMPLATES, page_alone

SHA256 = {
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "chart-4.6.1.umd.min.js": "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2",
}


def test_the_policy_has_nothing_unsafe_and_no_other_origin():
    assert "unsafe" not in POLICY
    sources = {word for part in POLICY.split(";") for word in part.split()[1:]}
    assert sources == {"'none'", "'self'"}
    carried = page_alone("reauthorize_refused.html", 200, error="x", actor="", console="", connection=None)
    assert "script-src" not in carried.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", VENDORED.values())
def test_vendored_files_are_as_they_were_published(name):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SHA256[name]


def test_the_folder_of_assets_holds_nothing_that_is_not_served():
    assert {path.name for path in FOLDER.iterdir()} == {*assets.OURS, *VENDORED.values(), "README.md"}


def test_our_own_files_change_their_address_with_their_content():
    for name in assets.OURS:
        digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
        assert digest in assets.address(name)


@pytest.mark.parametrize("name", ["console.js", "finder.js", "units.js"])
def test_scripts_of_ours_neither_evaluate_nor_write_markup(name):
    script = (FOLDER / name).read_text()
    assert not re.search(r"\beval\b|innerHTML|outerHTML|insertAdjacentHTML|document\.write|new Function", script)
    assert len(script.splitlines()) < 120


def test_templates_never_switch_escaping_off():
    paths = list(TEMPLATES.rglob("*.html"))
    assert paths
    for path in paths:
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|\bMarkup\b", text), path.name
        assert not re.search(r"\sstyle=|<script>|\son[a-z]+=", text), path.name
