"""Turn what the directory says of one user into what a decision needs, for one connection."""

from __future__ import annotations

from datetime import datetime

from autoprovisioning.app.ports import Directory
from autoprovisioning.domain.adoption import Confirmed
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import ConfigurationRefused, MappingFailure, Transient
from autoprovisioning.domain.plan import Observed, Rules
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.users import DirectoryUser, Presence

NOT_PROVEN = "The directory knows no such user, but nothing else proves that the user is deleted."


def rules_of(connection: Connection, confirmed: Confirmed, *, retry_failures: bool = False) -> Rules:
    """Return what the connection's configuration, and the adoptions confirmed on it, contribute to decisions."""
    return Rules(
        deprovisioning=connection.deprovisioning,
        clock=connection.clock,
        archived_as_suspended=connection.archived_as_suspended,
        retry_failures=retry_failures,
        by_groups=bool(connection.scope.groups),
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
    desired, failure = None, None
    if user.presence not in (Presence.DELETED, Presence.UNKNOWN):
        try:
            desired = connection.mapping.apply(user.profile)
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


def read_user(directory: Directory, look: Look, fresh_until: datetime, now: datetime) -> DirectoryUser:
    """Read one user again, proving a deletion where the directory knows the user no more.

    Deleted is proven by the id among the deleted users, or, where a complete listing lacked the id, by "no such user"
    while the same credentials read another user of the customer. Anything else that cannot be read is UNKNOWN.

    Raises:
        Transient: the answer contradicts the event, which is recent (until `fresh_until`): ask again.
    """
    user = directory.user(look.user_id)
    young = now < fresh_until
    if user is not None and (user.presence is not Presence.UNKNOWN or user.profile):
        if look.event == "delete" and young:
            raise Transient("The directory still returns a user it reported as deleted", retry_after=5)
        return user
    if look.event in ("add", "undelete") and young:
        raise Transient("The directory does not return yet a user it reported as added", retry_after=5)
    deleted = _among_the_deleted(directory, look.user_id)
    if deleted is not None:
        return deleted
    if look.evidence.missing and user is None and directory.probe():
        return DirectoryUser(id=look.user_id, primary_email="", presence=Presence.DELETED)
    if look.event == "delete" and young:
        raise Transient("The directory does not list yet a user it reported as deleted", retry_after=5)
    return user or DirectoryUser(
        id=look.user_id, primary_email="", presence=Presence.UNKNOWN, org_unit_path="", untold=NOT_PROVEN
    )


def _among_the_deleted(directory: Directory, user_id: str) -> DirectoryUser | None:
    """Look for a user among the deleted ones; a listing that breaks off proves nothing."""
    try:
        return next((user for page in directory.deleted_users() for user in page if user.id == user_id), None)
    except (Transient, ConfigurationRefused):
        return None
