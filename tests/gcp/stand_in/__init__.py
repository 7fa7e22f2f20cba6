"""A stand-in for gcloud: parses every command with gcloud's own parser first, keeps state, answers in API messages.

It is as strict as the cloud where an order matters: an identity must exist before it is granted something, an API be
enabled before it is used, and the first revision of a service gets all traffic.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from infra.gcp import budget, commands, destroy, doctor, lock, mounts, preflight, release, rollback, services, smoke
from infra.gcp.description import DEPLOYMENT, KEYS
from infra.gcp.smoke import Question, Reply
from infra.gcp.steps import FOUND, Command, filled
from tests.gcp.gcloud_parser import TARGET, complaints
from tests.gcp.stand_in import billing, build, firestore, iam, logging, monitoring, pubsub, run, scheduler, secrets
from tests.gcp.stand_in.cloud import FORMER, NUMBER, PROJECT, Cloud, Handler

__all__ = ["FORMER", "NUMBER", "PROJECT", "StandIn"]

HANDLERS: dict[str, Handler] = {
    "version": lambda cloud, names, flags, stdin: cloud.sdk,
    "config get account": lambda cloud, names, flags, stdin: cloud.account,
    "auth print-access-token": lambda cloud, names, flags, stdin: {"token": "token-of-the-operator"},
    **billing.HANDLERS,
    **iam.HANDLERS,
    **firestore.HANDLERS,
    **pubsub.HANDLERS,
    **secrets.HANDLERS,
    **build.HANDLERS,
    **run.HANDLERS,
    **scheduler.HANDLERS,
    **monitoring.HANDLERS,
    **logging.HANDLERS,
}


def foreseen() -> list[Command]:
    """Return the commands that are likely to come; any other is parsed when it comes."""
    names = [
        f"projects/{PROJECT}/{kind}/1"
        for kind in ("alerts", "dashboards", "notificationChannels", "uptimeCheckConfigs")
    ]
    found = [*names, f"{billing.ACCOUNT}/budgets/1", *KEYS, "keeper-token-0123456789ab"]
    functions = [function.name for function in DEPLOYMENT.functions]
    paid = replace(TARGET, budget="50EUR", billing_account=billing.ACCOUNT)
    templates = [
        *(command for step in commands.all_steps(TARGET) for command in step.commands),
        *(part for item in destroy.removals(TARGET, audit=True, backups=True) for part in (item.look, *item.commands)),
        *(rollback.serve(TARGET, name, f"{name}-00001-abc") for name in functions),
        *(release.revisions_of(TARGET, name) for name in functions),
        *(services.detach(TARGET, name) for name in functions),
        *(mounts.version_of(TARGET, key, version) for key in KEYS for version in "12"),
        release.ACCOUNT,
        lock.look(TARGET),
        lock.take(TARGET, holder="x", since="x", id="x", does="x"),
        lock.give_back(TARGET, "x"),
        *preflight.commands_of(TARGET),
        *(command for step in budget.steps(paid) for command in step.commands),
        budget.of_project(paid),
        doctor.VERSION,
        doctor.ACCESS_TOKEN,
        smoke.IDENTITY,
    ]
    return [
        named for command in templates for named in filled(command, found if FOUND in command else (FORMER, "allUsers"))
    ]


class StandIn(Cloud):
    """All services of one project."""

    handlers = HANDLERS

    def __init__(self) -> None:
        _parse_foreseen()
        super().__init__()

    def visit(self, question: Question) -> Reply:
        """Answer a request over HTTPS."""
        return run.visited(self, question)


@cache
def _parse_foreseen() -> None:
    complaints(foreseen())  # one call for all of them
