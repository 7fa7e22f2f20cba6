"""The commands of the Makefile: python -m infra.gcp plan | deploy | rollback | destroy | logs | doctor."""

from __future__ import annotations

import argparse
import os
import re
import sys

from infra.gcp import deploy, destroy, doctor, logs, rollback
from infra.gcp.gcloud import Gcloud, GcloudFailed, Unready
from infra.gcp.target import Target

PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]\Z")
REGION = re.compile(r"[a-z]+-[a-z]+\d{1,2}\Z")
ADDRESS = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+\Z")
SHAPES = (
    ("project", PROJECT, "a project id, like keeper-prod"),
    ("region", REGION, "a region, like europe-west1"),
    ("admin", ADDRESS, "the address of a Workspace administrator"),
)


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def target_of(arguments: argparse.Namespace) -> Target:
    """Return the target that was named.

    Raises:
        SystemExit: naming everything that is missing or has no such shape.
    """
    wrong = [
        f"{name.upper()}=... must be {meaning}"
        for name, shape, meaning in SHAPES
        if not shape.match(getattr(arguments, name))
    ]
    if wrong:
        raise SystemExit("\n".join(wrong))
    return Target(
        project=arguments.project,
        region=arguments.region,
        admin=arguments.admin,
        location=arguments.location,
        access=arguments.access,
        alerts=arguments.alerts,
        runbooks=arguments.runbooks,
    )


def parsed(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.gcp", description=__doc__)
    parser.add_argument("verb", choices=sorted(VERBS))
    for name in ("project", "region", "admin", "location", "access", "alerts", "runbooks", "function"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--audit", choices=destroy.AUDIT, default="keep")
    parser.add_argument("--severity", default="INFO")
    parser.add_argument("--since", default="1h")
    return parser.parse_args(argv)


def _plan(target: Target, _: argparse.Namespace) -> int:
    deploy.plan(target, say)
    return 0


def _deploy(target: Target, _: argparse.Namespace) -> int:
    deploy.deploy(target, Gcloud(), say)
    return 0


def _rollback(target: Target, _: argparse.Namespace) -> int:
    rollback.rollback(target, Gcloud(), say)
    return 0


def _destroy(target: Target, arguments: argparse.Namespace) -> int:
    destroy.destroy(target, Gcloud(), say, input, audit=arguments.audit == "delete")
    return 0


def _logs(target: Target, arguments: argparse.Namespace) -> int:
    return logs.show(logs.command(target, arguments.function, arguments.severity, arguments.since))


def _doctor(target: Target, _: argparse.Namespace) -> int:
    return doctor.examine(target, Gcloud(pauses=()), say)


VERBS = {
    "plan": _plan,
    "deploy": _deploy,
    "rollback": _rollback,
    "destroy": _destroy,
    "logs": _logs,
    "doctor": _doctor,
}


def main(argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    arguments = parsed(argv)
    target = target_of(arguments)
    try:
        return VERBS[arguments.verb](target, arguments)
    except GcloudFailed as error:
        print(f"\n{error}\n\nMend that and run the same command again: it goes on from there.", file=sys.stderr)
    except Unready as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        # head or less has read enough. What Python would still flush when it ends goes nowhere, without a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if arguments.verb == "plan" else 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from there.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
