"""Keeper access tokens: verified against Keeper in memory, stored with their checksum, then switched to.

`latest` and aliases are eventually consistent, so a version is only ever named by its number, in the connection. The
old version is disabled after the switch and destroyed a day later, when no worker can still be using it. Who enters
tokens only disables them, which can be undone: destroying is left to `reconcile`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.ports.connections import Telling
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Account, Capabilities, Lookup, Value
from autoprovisioning.domain.connections import Connection, RetiredToken, State, proving
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    BadInput,
    NotFound,
    Permanent,
    ProvisioningError,
    Stale,
    Throttled,
    Transient,
)
from autoprovisioning.domain.events import Actor, Event, reauthorized
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.words import counted

log = logging.getLogger(__name__)

SAMPLE = 5  # known accounts that are asked for one by one, spread over the roster, before the node is listed
ASKED = 2 * SAMPLE  # where Keeper fails on some of them
LOOKED_UP = 100  # known users who are looked up where the node cannot be listed
DESTROY_AFTER = timedelta(days=1)
UNUSED_AFTER = timedelta(hours=1)  # far longer than a set-up or a switch takes
LONGEST_TOKEN = 4096
OVERRIDDEN = "; no known account was found, which was overridden: new accounts are held for approval"


def reauthorize(services: Services, connection_id: str, token: str, actor: Actor, *, override: bool = False) -> int:
    """Switch a connection to a new access token and resume it; returns how many users were waiting.

    `override` accepts a token with which no account of this connection is found, where the connection is paused: all
    of them may have been deleted in Keeper. From then on every account that would be created or adopted is held for
    approval (`Connection.unproven`), until a run finds a known account, or all that one would create is approved.

    Raises:
        NotFound: no such connection.
        BadInput: Keeper does not accept the token, or it belongs to another node; nothing was changed.
        Stale: another administrator changed the endpoint meanwhile; nothing was changed.
        Transient: Keeper could not be asked; nothing was changed.
    """
    connection = staying(services, connection_id)
    token = token.strip()
    waiting, proven = _tried(services, connection, token)
    if not proven and not (override and connection.state is State.PAUSED):
        raise _another_node(connection)
    stamp, reason = (
        services.stamp(actor),
        f"{counted(waiting, 'user was', 'users were')} waiting{'' if proven else OVERRIDDEN}",
    )

    def tell(was: Connection, becomes: Connection) -> Event:
        return reauthorized(stamp, reason, _described(was), _described(becomes))

    def edit(current: Connection) -> Connection:
        return replace(_as_verified(connection, current), unproven=None if proven else current.unproven or stamp.at)

    switched = switch(services, connection, token, tell, edit=edit)
    if switched.state is State.ON and not proven:
        services.queue.request_run(RunKind.DRIFT)
    if switched.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return waiting


def _described(connection: Connection) -> dict[str, Value]:
    """Describe the token for the audit: by the number of its version."""
    return {"access token": f"version {connection.token_version}"}


def _as_verified(verified: Connection, current: Connection) -> Connection:
    """Refuse to point a connection at a token that was tried elsewhere, or once its tokens are being destroyed."""
    if current.state is State.DELETING:
        raise NotFound(f"The connection {current.id!r} is being deleted. Set up another one.")
    if current.settings.endpoint != verified.settings.endpoint:
        raise Stale("Another administrator has changed the endpoint. Enter the access token shown next to it.")
    return current


def verify(services: Services, connection: Connection, token: str) -> str:
    """Try endpoint and token in memory: authorized, and the same node; returns the token that is to be stored.

    That is the one typed without the blanks around it, which come along when it is pasted.

    Raises:
        BadInput: naming the field that Keeper does not accept.
        Transient: Keeper could not be asked.
    """
    token = token.strip()
    _, proven = _tried(services, connection, token)
    if not proven:
        raise _another_node(connection)
    return token


def _tried(services: Services, connection: Connection, token: str) -> tuple[int, bool]:
    """Return how many users are waiting, and whether an account is found that proves the node to be the same.

    Raises:
        BadInput: naming the field that Keeper does not accept.
        Transient: Keeper could not be asked.
    """
    if not token or len(token) > LONGEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        problem = "it is empty, too long, or has blanks or control characters"
        raise BadInput("token", problem, "Paste the access token that Keeper shows once.")
    roster = services.roster.load(connection)
    accounts = services.accounts_for(connection, token)
    try:
        accounts.probe()
    except AuthorizationRefused as error:
        mend = "Create a new provisioning token in Keeper's Admin Console, press Save there, and paste it here."
        raise BadInput("token", f"Keeper does not accept it (HTTP {error.status})", mend) from None
    except Permanent as error:
        mend = "Copy the endpoint URL from Keeper's Admin Console, where the token was created."
        raise BadInput("endpoint", str(error), mend) from None
    known = any(entry.scim_id for entry in roster.values())
    proven = not known or _same_node(accounts, proving(connection, roster))
    return sum(entry.pending for entry in roster.values()), proven


def _another_node(connection: Connection) -> BadInput:
    mend = "Create the token for the same Keeper node as before; for another node set up another connection."
    if connection.state is State.PAUSED:
        mend += " Were all of its accounts deleted in Keeper? Confirm that it is the same node, with override."
    return BadInput("token", "it finds none of this connection's accounts", mend)


def try_out(services: Services, connection: Connection, token: str) -> Capabilities:
    """Try endpoint and token in memory and tell what the server offers; raises like `verify`, and saves nothing."""
    return services.accounts_for(connection, verify(services, connection, token)).capabilities()


def _same_node(accounts: Accounts, known: Sequence[Entry]) -> bool:
    """Say whether an account that we know is there: by its id, else by the externalId or userName that it was given.

    An account that Keeper fails on says nothing: another one is asked for.

    Raises:
        Transient: Keeper told of none of them.
    """
    missing, failed = 0, None
    for entry in _spread(known, ASKED):
        try:
            if _resolves(accounts, entry):
                return True
            missing += 1
        except Throttled:
            raise
        except Transient as error:
            failed = error
        if missing >= SAMPLE:
            break
    if failed is not None and not missing:
        raise failed
    return _listed(accounts, known)


def _spread(known: Sequence[Entry], number: int) -> Sequence[Entry]:
    """Return so many of them, spread over all of them, those with access first."""
    ranked = sorted(known, key=lambda entry: entry.status is not Status.ACTIVE)
    having = sum(entry.status is Status.ACTIVE for entry in ranked) or len(ranked)
    step = max(1, having // number)
    return [*ranked[:having:step], *ranked[having:]][:number]


def _resolves(accounts: Accounts, entry: Entry) -> bool:
    try:
        return accounts.get(entry.scim_id) is not None
    except (AuthorizationRefused, Permanent):
        return False  # the token is good, but not for this account


def _listed(accounts: Accounts, known: Sequence[Entry]) -> bool:
    """Look for any of them in the node's listing; where it cannot be listed, look some of them up."""
    ids, owners = {entry.scim_id for entry in known}, {entry.user_id for entry in known}
    names = {entry.email.casefold() for entry in known if entry.email}

    def ours(account: Account) -> bool:
        named = not account.external_id and account.user_name.casefold() in names
        return account.scim_id in ids or account.external_id in owners or named

    try:
        return any(ours(account) for page in accounts.list() for account in page)
    except Throttled:
        raise
    except (Transient, Permanent) as error:
        log.warning("The node could not be listed: %s", type(error).__name__)
    lookups = [
        Lookup(key=entry.user_id, external_id=entry.user_id, user_names=(entry.email,))
        for entry in _spread(known, LOOKED_UP)
    ]
    return any(ours(account) for found in accounts.find(lookups) for account in found.accounts)


def switch(
    services: Services,
    connection: Connection,
    token: str,
    tell: Telling[Connection],
    *,
    edit: Callable[[Connection], Connection],
) -> Connection:
    """Store the token, switch the pointer together with `edit`, disable the version before.

    A paused connection resumes. Whatever `edit` raises leaves everything as it was.

    Raises:
        NotFound: the connection has been deleted.
    """
    now = services.clock()
    services.set_ups.begin(connection.id, now)  # a deletion that ends meanwhile would leave the version to nobody
    version = services.tokens.add(connection.id, token)
    try:
        switched = services.connections.change(
            connection.id, lambda current: pointed(edit(current), version, now, resume=True), tell
        )
        if switched is None:
            raise NotFound(f"The connection {connection.id!r} has been deleted.")
    except Transient:
        raise  # the pointer may have moved all the same; where it did not, `destroy_unused` finds the version
    except ProvisioningError:
        disabled(services, connection.id, version)
        raise
    services.set_ups.end(connection.id)
    for retired in switched.retired_tokens:
        disabled(services, connection.id, retired.version)
    return switched


def pointed(connection: Connection, version: str, now: datetime, *, resume: bool = False) -> Connection:
    """Return the connection with its pointer on a token version; the version before is retired."""
    retired = connection.retired_tokens
    if connection.token_version and connection.token_version != version:
        retired = (*retired, RetiredToken(version=connection.token_version, at=now))
    pointing = replace(connection, token_version=version, retired_tokens=retired, throttled_until=None)
    if resume and connection.state is State.PAUSED:
        return replace(pointing, state=State.ON, paused_reason="", changed_at=now)
    return pointing


def destroy_retired(services: Services) -> None:
    """Destroy the token versions that were replaced more than a day ago."""
    now = services.clock()
    for connection in services.connections.all():
        due = tuple(retired for retired in connection.retired_tokens if now - retired.at >= DESTROY_AFTER)
        gone = tuple(retired for retired in due if destroyed(services, connection.id, retired.version))
        if gone:
            services.connections.change(connection.id, partial(_without, gone))


def _without(gone: tuple[RetiredToken, ...], connection: Connection) -> Connection:
    return replace(connection, retired_tokens=tuple(item for item in connection.retired_tokens if item not in gone))


def destroy_unused(services: Services) -> None:
    """Destroy the token versions that no connection points to or has replaced: something cut short left them behind.

    A version of less than an hour may be about to be pointed to.
    """
    now = services.clock()
    begun = services.set_ups.begun()
    old = [connection_id for connection_id, at in begun.items() if now - at >= UNUSED_AFTER]
    named = {connection.id: connection for connection in services.connections.all()}
    for connection_id in {*named, *old}:
        try:
            kept = in_use(named.get(connection_id))
            stored = services.tokens.stored(connection_id)
            unused = [name for name, at in stored.items() if name not in kept and now - at >= UNUSED_AFTER]
            gone = [destroyed(services, connection_id, name) for name in unused]
            if connection_id in old and all(gone):
                services.set_ups.end(connection_id)
        except ProvisioningError as error:
            log.warning("Unused token versions could not be looked for: %s", type(error).__name__)


def in_use(connection: Connection | None) -> frozenset[str]:
    """Return the token versions that a connection names: the one in force, and those that are destroyed in time."""
    if connection is None:
        return frozenset()
    return frozenset((connection.token_version, *(retired.version for retired in connection.retired_tokens)))


def destroyed(services: Services, connection_id: str, version: str) -> bool:
    """Destroy a version; if that fails, a later run does it, and the others go on."""
    try:
        services.tokens.destroy(connection_id, version)
    except ProvisioningError as error:
        log.warning("A token version could not be destroyed: %s", type(error).__name__)
        return False
    return True


def disabled(services: Services, connection_id: str, version: str) -> None:
    """Disable a version that is not used, or no longer; if that fails, `reconcile` destroys it all the same."""
    try:
        services.tokens.disable(connection_id, version)
    except ProvisioningError as error:
        log.warning("A token version could not be disabled: %s", type(error).__name__)
