"""The description as the settings of a deployment want it: functions tuned, with or without the other change sources.

How often something is done that the schedule calls for is a variable of the function that does it, not a schedule of
its own: the function knows what it heard meanwhile, and one that an older release serves does it each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from infra.gcp.description import DEPLOYMENT, WEBHOOK, Deployment, Function
from infra.gcp.target import FULL_RUNS, Target
from infra.gcp.tuning import tuned

SINK_ON = {"AUDIT_LOG_SINK": "on"}
# With a log sink the sweep is a net: full runs find what it would, and entries that stop let it come more often again.
RARELY = {"SWEEP_MINUTES": "60"}
WITH_SINK = {
    "reconcile": SINK_ON | RARELY,
    "provision-user": SINK_ON,
    "console": SINK_ON | RARELY,
}
WITHOUT_WEBHOOK = {name: {"PUBLIC_WEBHOOK": "off"} for name in ("reconcile", "renew-watch", "console")}


def chosen(target: Target, deployment: Deployment = DEPLOYMENT) -> Deployment:
    """Return the deployment that a target is to have."""
    deployment = tuned(deployment, target.tuned)
    if target.publishes:
        deployment = _given(deployment, WITH_SINK)
        if target.full_runs:
            minutes = {"FULL_RUN_MINUTES": str(FULL_RUNS[target.full_runs])}
            deployment = _given(deployment, dict.fromkeys(("reconcile", "console"), minutes))
    if not target.webhook:
        deployment = _given(deployment, WITHOUT_WEBHOOK)
        functions = tuple(map(_without_address, deployment.functions))
        deployment = replace(deployment, functions=tuple(each for each in functions if each.name != WEBHOOK))
    return deployment


def _given(deployment: Deployment, variables: Mapping[str, dict[str, str]]) -> Deployment:
    functions = (
        replace(function, environment=function.environment | variables.get(function.name, {}))
        for function in deployment.functions
    )
    return replace(deployment, functions=tuple(functions))


def _without_address(function: Function) -> Function:
    address = f"{{url[{WEBHOOK}]}}"
    return replace(function, environment={name: text for name, text in function.environment.items() if text != address})
