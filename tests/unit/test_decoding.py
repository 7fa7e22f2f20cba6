"""Threads that decode into the same type at once, as the first requests of an instance do."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.cloud import ROOT

PACKAGE = ROOT / "functions" / "autoprovisioning"

# The second thread comes while the first one is at the type of x, when Whole is noted and its part is not known.
AT_ONCE = """
import resource, threading
from dataclasses import dataclass
import msgspec
from autoprovisioning.decoding import built

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
inside, going_on, seen = threading.Event(), threading.Event(), []

def slow():
    inside.set()
    going_on.wait(1)
    return int

{kind}
class Part{base}:
    x: "slow()"

{kind}
class Whole{base}:
    part: Part

def decode():
    seen.append(msgspec.json.decode(b'{{"part": {{"x": 1}}}}', type={type}).part.x)

threads = [threading.Thread(target=decode) for _ in range(2)]
threads[0].start()
assert inside.wait(10)
threads[1].start()
threads[1].join(0.2)
going_on.set()
for thread in threads:
    thread.join()
print(seen)
"""
KINDS = {"struct": {"kind": "", "base": "(msgspec.Struct)"}, "dataclass": {"kind": "@dataclass", "base": ""}}


def decoded_at_once(kind: str, as_type: str) -> subprocess.CompletedProcess[str]:
    program = AT_ONCE.format(**KINDS[kind], type=as_type)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT / "functions", capture_output=True, text=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_that_is_built_first_is_decoded_into_by_any_number_of_threads(kind):
    done = decoded_at_once(kind, "built(Whole)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 1]\n", "")


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_not_kills_the_process(kind):
    """What `built` is for: without this it may go."""
    assert decoded_at_once(kind, "Whole").returncode == -signal.SIGSEGV


def unbuilt(path: Path) -> list[str]:
    """Return the places where something is decoded into a type that is not built."""
    return [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("msgspec.")
        for given in [typed(call)]
        if given is not None and not ast.unparse(given).startswith("built(")
    ]


def typed(call: ast.Call) -> ast.expr | None:
    """Return the type that a call of msgspec is given."""
    name = ast.unparse(call.func).rpartition(".")[2]
    position = {"Decoder": 0, "decode": 1, "convert": 1}.get(name)
    if position is None:
        return None
    by_name = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
    return by_name[0] if by_name else next(iter(call.args[position : position + 1]), None)


def test_the_product_builds_every_type_that_it_decodes_into():
    modules = [path for path in PACKAGE.rglob("*.py") if path.name != "decoding.py"]
    assert sum("built(" in path.read_text() for path in modules) > 10
    assert [place for path in modules for place in unbuilt(path)] == []
