"""`make audit`: whether any locked package has a vulnerability that is known to the Python Package Index.

pip-audit takes silence for health: it succeeds even if an index does not know a package, or reports no vulnerabilities,
as mirrors do. So it is asked first about a version that is known to be vulnerable: if that is not reported, nothing was
checked, and the command says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.dependencies.locks import DEVELOPMENT, FUNCTIONS, normalised, pins

KNOWN = "jinja2==2.10"  # PYSEC-2019-217, CVE-2019-10906: reported as long as anything is
SECONDS = 15  # for one answer; the first that takes longer ends the audit
AT_MOST = 600.0  # seconds, for all
CLEAN, VULNERABLE, UNCHECKED = 0, 1, 3  # exit statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What pip-audit said and how it ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Vulnerability:
    """A known vulnerability of a locked package."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixed_in: tuple[str, ...]
    deployed: bool  # it is in the functions, not only in what develops them


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an audit found."""

    vulnerable: tuple[Vulnerability, ...] = ()
    unchecked: tuple[str, ...] = ()  # why nothing could be checked, or which packages could not
    checked: int = 0  # packages

    @property
    def status(self) -> int:
        """Return the exit status."""
        return VULNERABLE if self.vulnerable else UNCHECKED if self.unchecked else CLEAN


Asked = Callable[[Path], Answer]


def ask(requirements: Path) -> Answer:
    """Run pip-audit over pinned requirements; nothing is installed or resolved."""
    what = ("--requirement", str(requirements), "--no-deps", "--disable-pip")
    how = ("--format=json", "--desc=off", "--progress-spinner=off", f"--timeout={SECONDS}")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *what, *how],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=AT_MOST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(status=124, out="", err=f"No end after {AT_MOST:g} seconds.")
    return Answer(status=done.returncode, out=done.stdout, err=done.stderr)


def audit(asked: Asked = ask) -> Verdict:
    """Return what is known about the locked packages."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(f"{KNOWN}\n")
        told = _told(asked(known))
    if isinstance(told, str):
        return Verdict(unchecked=(told,))
    if not any(each.get("vulns") for each in told):
        why = next((each["skip_reason"] for each in told if "skip_reason" in each), "it reports no vulnerability")
        return Verdict(unchecked=(f"The index that is reached here knows nothing of {KNOWN}, a vulnerable one: {why}",))
    told = _told(asked(DEVELOPMENT))
    return Verdict(unchecked=(told,)) if isinstance(told, str) else _verdict(told)


def _told(answer: Answer) -> list[dict[str, Any]] | str:
    """Return what was reported about each package, or why nothing was."""
    try:
        told: list[dict[str, Any]] = json.loads(answer.out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = answer.err.strip().splitlines() or [f"pip-audit ended with {answer.status} and said nothing"]
        return lines[-1]
    return told


def _verdict(told: list[dict[str, Any]]) -> Verdict:
    deployed, locked = pins(FUNCTIONS), pins(DEVELOPMENT)
    answered = {normalised(each["name"]) for each in told if "skip_reason" not in each}
    reasons = {normalised(each["name"]): each["skip_reason"] for each in told if "skip_reason" in each}
    vulnerable = [
        Vulnerability(
            package=normalised(each["name"]),
            version=each["version"],
            id=found["id"],
            aliases=tuple(found.get("aliases", ())),
            fixed_in=tuple(found.get("fix_versions", ())),
            deployed=normalised(each["name"]) in deployed,
        )
        for each in told
        for found in each.get("vulns", ())
    ]
    missing = sorted(locked.keys() - answered)
    return Verdict(
        vulnerable=tuple(sorted(vulnerable)),
        unchecked=tuple(f"{name} {locked[name]}: {reasons.get(name, 'no answer')}" for name in missing),
        checked=len(answered),
    )


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield the verdict as people read it."""
    for each in verdict.vulnerable:
        where = "in the functions" if each.deployed else "in development only"
        mend = f"fixed in {', '.join(each.fixed_in)}" if each.fixed_in else "no fixed version yet"
        names = ", ".join(filter(None, (each.id, *each.aliases)))
        yield f"VULNERABLE  {each.package} {each.version} ({where}): {names}; {mend}"
    for why in verdict.unchecked:
        yield f"UNCHECKED   {why}"
    if verdict.vulnerable:
        yield "Raise them: pyproject.toml, make lock, make test. docs/security.md says what to do if you cannot."
    elif verdict.unchecked:
        yield "Not checked, so nothing is known of them. Run make audit where the Python Package Index itself answers."
    else:
        yield f"{verdict.checked} locked packages checked: no known vulnerability."


def main(argv: list[str]) -> int:
    """Print the verdict; returns the exit status, with --report-only always 0."""
    parser = argparse.ArgumentParser(prog="python -m infra.dependencies.audit", description=__doc__)
    parser.add_argument("--report-only", action="store_true", help="never fail")
    options = parser.parse_args(argv)
    verdict = audit()
    for line in lines(verdict):
        print(line)
    return CLEAN if options.report_only else verdict.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
