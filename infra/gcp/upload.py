"""What is uploaded: the files of `functions/` that git tracks, copied before anything else is done.

gcloud uploads everything in a folder, even a forgotten `.env` or a token, and some time after it was called, when
somebody may be editing.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = "functions"
STAGED = ".local/upload"  # each copy in a folder named by its digest: deployments of one clone share one, or have two


class NoClone(Exception):
    """There is no git, or this is not a clone of the repository; the text says what to do."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"Only what git tracks is deployed, and git cannot say what that is ({said}): deploy from a clone of the "
            "repository, on a machine that has git."
        )


def _git(root: Path, *arguments: str) -> str:
    # Another user's clone is fine here: nothing in it is run but what make runs anyway.
    command = ["git", "-c", "safe.directory=*", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoClone("there is no git") from None
    if done.returncode:
        raise NoClone(" ".join(done.stderr.split()))
    return done.stdout


def tracked(root: Path) -> list[Path]:
    """Return the tracked files of `functions/` that are there, in order, relative to it.

    Raises:
        NoClone: git does not tell.
    """
    listed = _git(root, "ls-files", "-z", "--", SOURCE).split("\0")
    return [Path(name).relative_to(SOURCE) for name in sorted(listed) if name and (root / name).is_file()]


def left_out(root: Path) -> list[str]:
    """Return what lies in `functions/`, is neither tracked nor ignored, and is therefore not uploaded.

    Raises:
        NoClone: git does not tell.
    """
    listed = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", SOURCE).split("\0")
    return sorted(filter(None, listed))


def changed(root: Path) -> list[str]:
    """Return the tracked files, of the whole repository, that are not as they were committed.

    Raises:
        NoClone: git does not tell.
    """
    return _git(root, "diff", "--name-only", "HEAD", "--").splitlines()


def commit(root: Path) -> str:
    """Return the short hash of what is checked out.

    Raises:
        NoClone: git does not tell.
    """
    return _git(root, "rev-parse", "--short=12", "HEAD").strip()


def version(root: Path) -> str:
    """Return a readable name of what is checked out: the tag, how far beyond it, whether anything is not committed.

    Raises:
        NoClone: git does not tell.
    """
    return _git(root, "describe", "--tags", "--always", "--dirty", "--abbrev=12").strip()


def digest(root: Path, recipe: str = "") -> str:
    """Return a digest of what is uploaded and of what is built from it, short enough for a label.

    Raises:
        NoClone: git does not tell.
    """
    whole = hashlib.sha256(recipe.encode())
    for path in tracked(root):
        whole.update(f"{path}\0".encode() + (root / SOURCE / path).read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def staged(name: str) -> str:
    """Return the folder that the copy with this digest is uploaded from, relative to the repository."""
    return f"{STAGED}/{name}"


def stage(root: Path, name: str) -> None:
    """Copy what is uploaded to its folder, unless it is there already.

    Raises:
        NoClone: git does not tell.
    """
    home = root / staged(name)
    if home.exists():
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        copy = Path(folder) / "copy"
        for path in tracked(root):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / SOURCE / path, copy / path)
        try:
            copy.rename(home)
        except OSError:
            if not home.exists():  # another deployment that began at the same time has made the same copy
                raise
