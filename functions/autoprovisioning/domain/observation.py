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
        operates_on=connection.operates_on,
        left_out=connection.left_out,
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
    desired, failure = mapped(connection, user)
    return observed_with(user, in_scope, desired, failure, moving=moving, handed=handed, outdated=outdated)


def mapped(connection: Connection, user: DirectoryUser) -> tuple[Attributes, MappingFailure | None]:
    """Map the user's attributes; nothing, and why, where that fails."""
    if user.presence in (Presence.DELETED, Presence.UNKNOWN):
        return {}, None
    try:
        return connection.settings.mapping.apply(user.profile), None
    except MappingFailure as error:
        return {}, error


def observed_with(
    user: DirectoryUser,
    in_scope: bool | None,
    desired: Attributes,
    failure: MappingFailure | None,
    *,
    moving: bool = False,
    handed: bool = False,
    outdated: bool = False,
    teams: tuple[str, ...] | None = None,
    undecided: tuple[str, ...] = (),
) -> Observed:
    """Join what was mapped with presence and scope."""
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
        teams=teams,
        undecided=undecided,
    )
