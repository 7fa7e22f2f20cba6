"""Try users who are failing again before their time: chosen ones, all of one cause, or all.

Few are looked at one by one, within seconds; for many the directory is read once, by a full run, which tries everybody
who is failing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.ports.reports import UserReports
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, WrongState
from autoprovisioning.domain.events import Actor, configured
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.texts import USER_ID
from autoprovisioning.domain.words import SHOWN, counted

ONE_BY_ONE = 200  # users: more are left to a run


def retry(
    services: Services,
    reports: UserReports,
    connection_id: str,
    actor: Actor,
    *,
    users: Sequence[str] | None = None,
    code: str = "",
) -> int:
    """Have the named users tried again, or all who fail, or those who fail with a code; returns how many.

    Raises:
        NotFound: there is no such connection.
        WrongState: it is not on.
        BadInput: naming the field: nobody is named, or nobody is failing.
        Transient: it could not be published.
    """
    connection = staying(services, connection_id)
    if connection.state is not State.ON:
        raise WrongState(f"Nothing is tried, since the connection is not on ({SHOWN[connection.state]}).")
    chosen = list(dict.fromkeys(users)) if users is not None else _failing(reports, connection_id, code)
    if not chosen and users is not None:
        raise BadInput("users", "nobody is selected", "Tick users, or retry all.")
    if not chosen:
        raise BadInput("code", "nobody is failing for that reason any more", "Look at the list again.")
    if not all(map(USER_ID.fullmatch, chosen)):
        raise BadInput("users", "one of them is not a directory id", "Name users by the id that the list shows.")
    many = len(chosen) > ONE_BY_ONE
    number = reports.failing_users(connection_id) if many and users is None else len(chosen)
    told = f"Requested another attempt for {counted(number, 'user')}"
    services.audit.record(connection_id, [configured(services.stamp(actor), told)])
    if many:
        services.queue.request_run(RunKind.FULL, retry_failures=True)
    else:
        now = services.clock()
        services.queue.look_again([Look(user_id=each, asked_at=now, retry_failures=True) for each in chosen])
    return number


def _failing(reports: UserReports, connection_id: str, code: str) -> list[str]:
    return [failing.user_id for failing in islice(reports.every_failure(connection_id, code), ONE_BY_ONE + 1)]
