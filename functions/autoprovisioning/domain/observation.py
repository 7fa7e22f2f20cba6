"""Turn what the directory says of one user into what a decision needs, for one connection."""

from __future__ import annotations

from .accounts import Attributes
from .adoption import Confirmed
from .connections import Connection
from .decision import Observed, Rules
from .directory_user import DirectoryUser, Presence
from .errors import MappingFailure


def rules_of(connection: Connection, confirmed: Confirmed, *, retry_failures: bool = False) -> Rules:
    """Return what the connection's configuration, and the adoptions confirmed on it, contribute to decisions."""
    return Rules(
        deprovisioning=connection.settings.deprovisioning,
        clock=connection.clock,
        archived_as_suspended=connection.settings.archived_as_suspended,
        retry_failures=retry_failures,
        by_groups=bool(connection.settings.scope.groups),
        unproven=connection.unproven is not None,
        confirmed=confirmed,
    )


def observed(
    connection: Connection,
    user: DirectoryUser,
    in_scope: bool | None,
    *,
    moving: bool = False,
    handed: bool = False,
    outdated: bool = False,
) -> Observed:
    """Map the user's attributes and join them with presence and scope."""
    desired: Attributes = {}
    failure = None
    if user.presence not in (Presence.DELETED, Presence.UNKNOWN):
        try:
            desired = connection.settings.mapping.apply(user.profile)
        except MappingFailure as error:
            failure = error
    return Observed(
        user_id=user.id,
        presence=user.presence,
        in_scope=in_scope,
        email=user.primary_email,
        aliases=user.aliases,
        since=user.since,
        desired=desired,
        mapping_failure=failure,
        created=user.created,
        moving=moving and in_scope is False and user.presence is Presence.ACTIVE,
        handed=handed,
        outdated=outdated and in_scope is True and user.presence is Presence.ACTIVE,
    )
