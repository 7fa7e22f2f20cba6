"""Whose an account that nobody provisions may be: by externalId, and by address, an alias included.

An alias is no reason to offer anybody the account, but reason enough to leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace

from autoprovisioning.app.provisioning.read_user import Asked, Round
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.locks import Owner
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.unprovisioned import Unprovisioned

Listed = Callable[[str], Set[str] | None]  # the members of a group, by its id; None: not read to their end


def owner_of(
    services: Services, connections: Sequence[Connection], account: Unprovisioned, listed: Listed | None = None
) -> Owner:
    """Ask the directory; a few requests. If it does not answer, or not intelligibly, that is not known.

    With `listed`, nobody is called no member of a scope group unless that group's listing lacks them, too.
    """
    try:
        users = {user.id: user for user in _found(services, account)}
        answers = [_entitled(services, connections, user, listed) for user in users.values()]
    except ProvisioningError:
        return Owner(entitled=None)
    return Owner(users=tuple(users.values()), entitled=_any(answers))


def _found(services: Services, account: Unprovisioned) -> Iterator[DirectoryUser]:
    if account.external_id:
        by_id = services.directory.user(account.external_id)
        if by_id is not None:
            yield by_id
    if "@" not in account.user_name:
        return
    by_address = services.directory.by_address(account.user_name)
    if by_address is not None and by_address.id:
        yield by_address
    elif by_address is not None:  # the directory refuses to show another organization's address, say: a listing tells
        wanted = account.user_name.casefold()
        for page in services.directory.users_beginning(wanted, frozenset()):
            yield from (user for user in page if wanted in map(str.casefold, (user.primary_email, *user.aliases)))


def _entitled(
    services: Services, connections: Sequence[Connection], user: DirectoryUser, listed: Listed | None
) -> bool | None:
    """Say whether any connection's scope holds a user who is active: one that is off, or a pilot, entitles as well."""
    if user.presence is not Presence.ACTIVE:
        return None if user.presence is Presence.UNKNOWN else False
    long_ago = services.clock() - services.timings.contradiction
    asked = Asked(look=Look(user_id=user.id), message_id="whose account", published=long_ago)
    set_up = [each for each in connections if each.state in (*SERVING, State.OFF)]
    seen = Round(services, [replace(each, state=State.ON, pilot=None) for each in set_up], asked).seen()
    if seen.user.presence is not Presence.ACTIVE:
        return None if seen.user.presence is Presence.UNKNOWN else False
    told = dict(seen.placement.in_scope)
    if listed is not None:
        told |= {each.id: _listed_in(each, user.id, listed) for each in set_up if each.id in seen.no_member}
    return _any(told.values())


def _listed_in(connection: Connection, user_id: str, listed: Listed) -> bool | None:
    """Say whether the listing of any scope group has a user."""
    members = [listed(group.id) for group in connection.settings.scope.groups]
    return _any(None if found is None else user_id in found for found in members)


def _any(answers: Iterable[bool | None]) -> bool | None:
    """Say whether any answer is yes; None if that depends on one that is not known."""
    told = {*answers}
    return True if True in told else None if None in told else False
