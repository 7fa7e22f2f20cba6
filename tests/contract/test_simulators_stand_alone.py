"""The simulators and the comparison are the second opinion: they share no code with the functions they judge."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEPENDENT = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("directory/*.py", "keeper/*.py", "secrets_emulator.py", "compare.py", "iap.py", "asgi.py")
    for path in (ROOT / "infra/local").glob(pattern)
)


def imported(source: str, package: str) -> Iterator[str]:
    """Name every module that a source imports, wherever in it; a string that names the functions' package too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("autoprovisioning"):
            yield str(node.value)


def reached(path: str) -> set[str]:
    """Name the modules that a file imports, through the files of ours that it imports."""
    found: set[str] = set()
    todo = [ROOT / path]
    while todo:
        here = todo.pop()
        package = ".".join(here.relative_to(ROOT).parts[:-1])
        for name in imported(here.read_text(), package):
            if name in found:
                continue
            found.add(name)
            ours = ROOT / (name.replace(".", "/"))
            todo += [file for file in (ours.with_suffix(".py"), ours / "__init__.py") if file.is_file()]
    return found


@pytest.mark.parametrize("path", INDEPENDENT)
def test_a_simulator_imports_nothing_of_the_functions(path: str) -> None:
    assert not {name for name in reached(path) if name.split(".")[0] == "autoprovisioning"}


@pytest.mark.parametrize(
    "source",
    [
        "import autoprovisioning.config",
        "def f():\n    from autoprovisioning.domain import errors",
        "import importlib\nimportlib.import_module('autoprovisioning')",
        "from autoprovisioning import config",
    ],
)
def test_an_import_of_the_functions_would_be_noticed(source: str) -> None:
    assert any(name.split(".")[0] == "autoprovisioning" for name in imported(source, "infra.local"))


def test_what_a_simulator_imports_is_followed() -> None:
    assert "infra.local.asgi" in reached("infra/local/keeper/__main__.py")
    assert "uvicorn" in reached("infra/local/keeper/__main__.py")
    assert "infra.local.keeper.accounts.Node" in reached("infra/local/keeper/server.py")


def test_the_simulators_run_where_the_functions_are_not_installed() -> None:
    modules = [path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in INDEPENDENT]
    script = f"import importlib, sys\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
    script += "print([name for name in sys.modules if name.startswith('autoprovisioning')])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
