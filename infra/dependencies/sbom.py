"""`make sbom`: a software bill of materials (CycloneDX, JSON) of each lock, the same bytes from the same lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from infra.dependencies.locks import DEVELOPMENT, FUNCTIONS, ROOT

FOLDER = ROOT / ".local" / "sbom"
LOCKS = {"functions": FUNCTIONS, "development": DEVELOPMENT}
SPECIFICATION = "1.6"


def write(folder: Path) -> list[Path]:
    """Write a file for each lock; needs no network.

    Raises:
        SystemExit: cyclonedx-py cannot read a lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_written(lock, folder / f"{name}.cdx.json") for name, lock in LOCKS.items()]


def _written(lock: Path, file: Path) -> Path:
    # Not validated: that takes ten times as long, and a test does it.
    options = ("--output-reproducible", "--output-format=JSON", f"--spec-version={SPECIFICATION}", "--no-validate")
    told = (f"--pyproject={ROOT / 'pyproject.toml'}", f"--output-file={file}", str(lock))
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", *options, *told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # else it has warnings alone: that it was not validated, and that no graph is known
        raise SystemExit(f"{lock.relative_to(ROOT)}: {done.stderr.strip()}")
    return file


def main() -> None:
    """Write the files and say where they are."""
    for file in write(FOLDER):
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
