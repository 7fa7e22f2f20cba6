"""Memory, time and room of each function, if a deployment needs others than described: a file, not a change of code.

[reconcile]
memory = "2Gi"

[console]
concurrency = 32
max_instances = 5
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprovisioning import config
from infra.gcp.description import DEPLOYMENT, Deployment, Function

Tuning = Mapping[str, Mapping[str, Any]]

MEMORIES = ("128Mi", "256Mi", "512Mi", "1Gi", "2Gi", "4Gi")  # more than 4Gi takes more than one processor
LONGEST = 3600  # seconds: an HTTP function of the second generation
MOST = 1000  # instances, and requests in one of them


class Unfit(Exception):
    """The file is invalid; the text has a line for each thing that is wrong."""


def read(path: str) -> dict[str, dict[str, Any]]:
    """Return what a file says of each function, by its name.

    Raises:
        Unfit: naming everything in it that fits nothing, with what to give instead.
    """
    try:
        given = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unfit(f"TUNING={path} cannot be read ({error}): give a TOML file, as in docs/install.md.") from None
    found = {name.replace("_", "-"): values for name, values in given.items()}
    functions = {function.name: function for function in DEPLOYMENT.functions}
    trouble = [
        f"{name} is not a function: give one of {', '.join(functions)}." for name in found if name not in functions
    ]
    for name, function in functions.items():
        trouble += _trouble(function, found.get(name, {}))
    if trouble:
        raise Unfit("\n".join(f"TUNING={path}: {text}" for text in trouble))
    return found


def _trouble(function: Function, values: Any) -> list[str]:
    if not isinstance(values, Mapping):
        return [f"{function.name} is not a table: give [{function.name}], and its settings below it."]
    limits = _limits(function)
    trouble = []
    for name, value in values.items():
        if name == "memory":
            told = "" if value in MEMORIES else f"one of {', '.join(MEMORIES)}"
        elif name in limits:
            least, most = limits[name]
            fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            told = "" if fits else f"a number from {least} to {most}" if least < most else f"{least}, or nothing"
        else:
            told = f"one of memory, {', '.join(limits)} instead"
        trouble += [f"{function.name}.{name} = {value!r} does not fit: give {told}."] if told else []
    if not trouble and _with(function, values).min_instances > _with(function, values).max_instances:
        trouble.append(f"{function.name}.min_instances is more than max_instances: give at most as many.")
    return trouble


def _limits(function: Function) -> dict[str, tuple[int, int]]:
    """Return the minimum and the maximum of each number."""
    return {
        "timeout": _timeouts(function),
        # A run, a sweep and a preview have an instance each: two of them would need twice the memory in one.
        "concurrency": (1, 1 if function.name == "reconcile" else MOST),
        "min_instances": (0, MOST),
        # One process remembers what it was told of, and counts the directory requests that it causes.
        "max_instances": (3 if function.name == "reconcile" else 1, 1 if function.name == "workspace-events" else MOST),
    }


def _timeouts(function: Function) -> tuple[int, int]:
    """Return the seconds between what its own deadline and its callers need, and what comes again too early."""
    names = {"GOOGLE_CLOUD_PROJECT": "p", "DIRECTORY_ADMIN": "a", "DIRECTORY_SERVICE_ACCOUNT": "s"}
    settings = config.load(names)
    work = {
        "provision-user": (settings.user_deadline, settings.user_mark),
        "apply-changes": (settings.batch_deadline, settings.batch_mark),
        "reconcile": (settings.reconcile_deadline, settings.reconcile_deadline * 1.2),
    }
    least, most = 10, LONGEST
    if function.name in work:
        deadline, mark = work[function.name]
        least, most = int(deadline.total_seconds()) + 1, int(mark.total_seconds())
    least = max([least, *(job.deadline for job in DEPLOYMENT.jobs if job.function == function.name)])
    again = [item.ack_deadline for item in DEPLOYMENT.subscriptions if item.function == function.name]
    return least, min([most, *(seconds - 1 for seconds in again if seconds > function.timeout)])


def _with(function: Function, values: Mapping[str, Any]) -> Function:
    changed = replace(function, **values)
    if changed.concurrency == function.concurrency:
        return changed
    return replace(changed, environment=function.environment | {"THREADS": str(changed.concurrency)})


def tuned(deployment: Deployment, tuning: Tuning) -> Deployment:
    """Return the deployment with what was read from a file."""
    functions = tuple(_with(function, tuning.get(function.name, {})) for function in deployment.functions)
    return replace(deployment, functions=functions)
