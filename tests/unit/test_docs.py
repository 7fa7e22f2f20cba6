"""The pages say what is there: tables equal the code, links resolve, and what is named exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

import main
from autoprovisioning import config

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "tests" / "benchmark" / "report.md"
GENERATED = ROOT / "docs" / "benchmarks.md"  # made from the template: checked through it
PAGES = [
    page
    for page in [
        *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
        TEMPLATE,
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    if page != GENERATED
]
BASES = (ROOT, ROOT / "functions" / "autoprovisioning")
LINK = re.compile(r"\[[^\]]+\]\((?!https?://)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?P<path>[A-Za-z0-9_][\w.-]*(?:/[\w.-]+)*/?)(?:::(?P<name>\w+))?\Z")
SUFFIXES = (".py", ".md", ".toml", ".txt", ".html", ".json")
MADE_WHEN_RUN = (".local/", ".venv/")


pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {heading}"
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of a section's first table, without its head."""
    lines = [line for line in section(heading).split("\n\n### ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def first_column(heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows(heading)]


class Recording(Mapping[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


REQUIRED = {"GOOGLE_CLOUD_PROJECT": "p", "DIRECTORY_ADMIN": "a", "DIRECTORY_SERVICE_ACCOUNT": "s"}
FIELDS = tuple(config.Config.__dataclass_fields__)


def asked() -> list[str]:
    """Return the variables that are read."""
    environment = Recording(REQUIRED)
    config.load(environment)
    return environment.asked


def test_the_functions_table_names_every_entry_point_once():
    assert sorted(first_column("Functions")) == sorted(main.__all__)


def test_the_diagram_shows_every_function_and_the_configuration_names_no_other():
    diagram = section("How it works").partition("```mermaid")[2].partition("```")[0]
    assert set(main.__all__) <= set(re.findall(r"\w+", diagram))
    users = {name for row in rows("Configuration") for name in CODE.findall(row[3])}
    assert users <= set(main.__all__)


def test_the_configuration_table_names_every_variable_that_is_read():
    assert len(asked()) == len(FIELDS)
    assert sorted(first_column("Configuration")) == sorted(asked())


def test_the_configuration_table_marks_what_must_be_set():
    with pytest.raises(config.Misconfigured) as caught:
        config.load({})
    required = {name for name in asked() if f"- {name} is not set" in str(caught.value)}
    documented = {row[0].strip("`") for row in rows("Configuration") if row[1] == "" or row[1].startswith("none")}
    assert documented == required


def test_the_configuration_table_has_the_defaults_in_force():
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows("Configuration")}
    told = {
        name: default for name, default in documented.items() if default and not default.startswith(("none", "empty"))
    }
    assert config.load({**REQUIRED, **told}) == config.load(REQUIRED)
    settings = config.load(REQUIRED)
    empty = [field for field in FIELDS if getattr(settings, field) in ("", b"", ())]
    assert len(empty) == list(documented.values()).count("empty")


def test_the_commands_table_names_every_target_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(first_column("Commands")) == sorted(f"make {target}" for target in targets)


def test_the_benchmark_template_takes_what_the_benchmark_fills_in():
    text = TEMPLATE.read_text()
    assert (text.count("{machine}"), text.count("{table}")) == (1, 1)


def test_the_changelog_has_a_section_for_each_release_the_newest_first():
    unreleased, *released = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert unreleased == "Unreleased"
    found = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - \d{4}-\d\d-\d\d", heading) for heading in released]
    assert all(found), released
    versions = [tuple(map(int, match.groups())) for match in found if match]
    assert versions == sorted(set(versions), reverse=True)


@pages
def test_every_relative_link_resolves(page):
    home = GENERATED.parent if page == TEMPLATE else page.parent
    broken = []
    for link in LINK.finditer(without_blocks(page.read_text())):
        target = (home / link["target"]).resolve() if link["target"] else page
        if target != GENERATED and not target.exists():
            broken.append(link["target"])
        elif link["anchor"] and link["anchor"] not in anchors(target):
            broken.append(f"{link['target']}#{link['anchor']}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return a page's anchors, as forges make them: lower case, punctuation dropped, blanks to hyphens."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_every_module_that_a_command_runs_exists(page):
    modules = re.findall(r"-m ((?:tests|infra)(?:\.\w+)+)", page.read_text())
    homes = {name: ROOT / name.replace(".", "/") for name in modules}
    missing = [
        n for n, home in homes.items() if not (home.with_suffix(".py").exists() or (home / "__main__.py").exists())
    ]
    assert missing == []


@pages
def test_every_path_and_name_of_code_exists(page):
    missing = [code for code in CODE.findall(without_blocks(page.read_text())) if not exists(code, page)]
    assert missing == []


def exists(code: str, page: Path) -> bool:
    """Say whether a path (and the name in it, after `::`) is there; what is no path of ours is not judged."""
    match = PATH.match(code)
    if match is None or code.startswith(MADE_WHEN_RUN):
        return True
    path, name = match["path"], match["name"]
    if "/" not in path and not (path.endswith(SUFFIXES) and name):
        return True
    found = next((base / path for base in BASES if (base / path).exists()), None)
    if found is None:
        return (ROOT / path) == GENERATED or (page.parent / path).exists()
    return name is None or defines(found, name)


def defines(file: Path, name: str) -> bool:
    pattern = rf"^\s*(?:async )?(?:def|class) {name}\b|^{name}\b[^=\n]*=|^\s+{name}: "
    return re.search(pattern, file.read_text(), re.MULTILINE) is not None


@lru_cache
def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


REGISTRIES = re.compile(
    r"\b(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs|yarnpkg|rubygems|crates)\.\w+"
    r"|\b(?:proxy|repo1?|deb|registry|index)\.(?:golang|maven|debian|docker)\.\w+"
    r"|--(?:extra-)?index-url[ =]|--find-links[ =]",
    re.IGNORECASE,
)
MACHINE = re.compile(r"(?<![\w.}-])/(?:home|root|work|workspace|mnt|private)/\w")


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINE], ids=["registry hosts", "paths of a machine"])
def test_no_tracked_file_names_a_host_of_a_registry_or_a_path_of_a_machine(pattern):
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


@pages
def test_pages_are_wrapped(page):
    text = without_blocks(page.read_text())
    long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
    assert long == []
