"""No value that make is given is run: programs get it in their environment, or from the shell's own variables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = [name for name in re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE) if name != "help"]
(LISTED,) = re.findall(r"^GIVEN := ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
# ARGS is a line of arguments by its purpose, and what the Makefile sets with := are its own parts.
GIVEN = LISTED.replace("\\", "").split()
PROGRAMS = ("python", "ruff", "mypy", "lint-imports", "uv")
PROGRAM = """#!/bin/sh
{ printf '%s\\0' "$@"; env -0; } >> seen
"""
ATTACKS = {
    "a quote and a command": 'x";touch {ran};"',
    "a single quote and a command": "x';touch {ran};'",
    "a command alone": "x; touch {ran}",
    "backquotes": "`touch {ran}`",
    "the shell's substitution": "$(touch {ran})",
    "the shell's substitution, doubled": "$$(touch {ran})",
    "make's function": "$(shell touch {ran})",
    "make's function, in braces": "${{shell touch {ran}}}",
    "another line": "x\ntouch {ran}",
}
LAYERS = ("a quote and a command", "the shell's substitution, doubled", "make's function")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with the Makefile, whose programs note what they were given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements-dev.txt").touch()
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def make(folder: Path, target: str, *line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", target, *line],
        cwd=folder,
        env={**plain, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def attacks(text: str) -> dict[str, str]:
    """Return a value for each variable; the file that it would make is named like the variable."""
    return {name: text.format(ran=f"RAN-{name}") for name in GIVEN}


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("RAN-*"))


@pytest.mark.parametrize("attack", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_a_value_says_is_run(copy, target, attack):
    values = attacks(ATTACKS[attack])
    make(copy, target, *(f"{name}={value}" for name, value in values.items()))
    assert ran(copy) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_value_says_is_run_where_the_environment_is_made(copy, attack):
    shutil.rmtree(copy / ".venv")
    done = make(copy, "setup", *(f"{name}={value}" for name, value in attacks(ATTACKS[attack]).items()))
    assert "Python 3.11 is needed" in done.stderr
    assert ran(copy) == []


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("target", ["deploy", "connect"])
def test_values_of_the_environment_are_not_run_either(copy, target, attack):
    make(copy, target, **attacks(ATTACKS[attack]))
    assert ran(copy) == []


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("target", ["deploy", "logs"])
def test_a_value_arrives_as_it_was_given(copy, target, attack):
    given = {name: value for name, value in attacks(ATTACKS[attack]).items() if name != "PYTHON"}
    make(copy, target, *(f"{name}={value}" for name, value in given.items()))
    seen = dict(part.partition("=")[::2] for part in (copy / "seen").read_text().split("\0"))
    assert {name: seen.get(name) for name in given} == given


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_arrives_as_it_was_given_where_the_shell_fills_it_in(copy, attack):
    value = ATTACKS[attack].format(ran="RAN")
    make(copy, "connect", f"ENDPOINT={value}", "TOKEN_FILE=token", "ADOPT=all")
    arguments = (copy / "seen").read_text().split("\0")
    assert f"--endpoint={value}" in arguments
    assert "--adopt=all" in arguments
    assert "--archived=" in arguments


def test_defaults_and_numbers_arrive(copy):
    make(copy, "simulate")
    make(copy, "simulate", "SEED=17", "HISTORIES=5", "FROM=100")
    make(copy, "test", "JOBS=0")
    arguments = (copy / "seen").read_text().split("\0")
    assert [part for part in arguments if part.startswith(("--histories", "--from", "--seed"))] == [
        "--histories=1000",
        "--from=1",
        "--histories=5",
        "--from=100",
        "--seed=17",
    ]
    assert arguments[arguments.index("-n") + 1] == "0"


def test_a_variable_that_nobody_gave_is_not_set(copy):
    make(copy, "plan", "PROJECT=keeper-prod")
    seen = dict(part.partition("=")[::2] for part in (copy / "seen").read_text().split("\0"))
    assert seen["PROJECT"] == "keeper-prod"
    assert "ALERTS" not in seen


def test_every_variable_of_a_shell_line_is_one_of_the_makefiles_own():
    own = {*re.findall(r"^([A-Z]+) :?= ", MAKEFILE, re.MULTILINE), "MAKEFILE_LIST", "ARGS"} - {"GIVEN"}
    recipes = "".join(line for line in MAKEFILE.splitlines() if line.startswith("\t"))
    outside_of_conditions = re.sub(r"\$\(if \$\([A-Z]+\),", "(", recipes)
    assert set(re.findall(r"\$[({](\w+)[)}]", outside_of_conditions)) <= own
