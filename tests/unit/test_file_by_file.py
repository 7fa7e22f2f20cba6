"""What jobs that read files of tests one by one report: all that a session that has read them all would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def shared(request):
    yield
    with open(request.config.rootpath / "ends", "a") as file:
        file.write("x")
"""
WHOLE = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_number(number, shared):
    assert number != 1

@pytest.mark.slow
def test_slow():
    raise AssertionError

@pytest.mark.skip
def test_skipped():
    raise AssertionError
"""
COMMAND = "-q -p xdist.plugin -p tests.support.file_by_file -n 1 --dist load --maxschedchunk 1 -m".split()


def test_each_test_of_a_file_is_reported_and_so_is_a_file_that_cannot_be_read(tmp_path: Path):
    for name, text in {"conftest": CONFTEST, "test_a": WHOLE, "test_b": WHOLE, "test_c": "import nowhere"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n slow\n timeout\n")
    command = [sys.executable, "-m", "pytest", *COMMAND, "not slow"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("2 failed, 4 passed, 2 skipped, 1 error in ")
    assert "FAILED test_b.py::test_number[1]" in ended.stdout
    assert "ERROR test_c.py" in ended.stdout
    assert (tmp_path / "ends").read_text() == "x"
