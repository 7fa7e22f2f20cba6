"""What an administrator does with a connection as a whole: set up, edit, turn on and off, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.administration.find_connection import check_edition, check_staying, existing, staying
from autoprovisioning.app.administration.tokens import disabled, in_use, pointed, switch, verify
from autoprovisioning.app.ports.connections import Telling
from autoprovisioning.app.provisioning.target import wait_of
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Value
from autoprovisioning.domain.connections import LARGEST_PILOT, SERVING, Connection, PastPilot, State, node_of
from autoprovisioning.domain.errors import BadInput, ProvisioningError, Stale, Transient, WrongState
from autoprovisioning.domain.events import (
    CHOSE_OTHERS,
    EDITED,
    ENDED_PILOT,
    TURNED_OFF_PILOT,
    TURNED_ON_FOR_CHOSEN,
    Actor,
    Event,
    configured,
)
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import ROOT, Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.teams import TeamChoice, after_edit, team_name
from autoprovisioning.domain.texts import has_controls
from autoprovisioning.domain.words import counted, described, shown_state

LONGEST_NAME = 100
_NOTHING: Mapping[str, Value] = {}


def set_up(services: Services, settings: Settings, token: str, actor: Actor, connection_id: str = "") -> Connection:
    """Create a connection, a draft, once endpoint and token have been tried against Keeper.

    Raises:
        BadInput: naming the field; nothing was stored.
        Stale: the id was used before.
    """
    wanted = check(services, settings, connection_id)
    order = 1 + max((connection.order for connection in services.connections.all()), default=0)
    draft = _edited(Connection(id=connection_id or services.new_id()[:12], order=order), wanted)
    token = verify(services, draft, token)
    now = services.clock()
    services.set_ups.begin(draft.id, now)  # what is cut short from here on is cleaned up
    version = services.tokens.add(draft.id, token)  # first: a connection that is there can be used
    connection = replace(pointed(draft, version, now), changed_at=now)
    try:
        services.connections.create(connection, configured(services.stamp(actor), "Set up", {}, described(connection)))
    except ProvisioningError as error:
        _give_up(services, draft.id, version, error)
        raise
    services.set_ups.end(draft.id)
    return connection


def _give_up(services: Services, connection_id: str, version: str, error: ProvisioningError) -> None:
    """Disable the token of a set-up that failed, after checking whether the connection exists all the same."""
    if isinstance(error, Transient):
        try:
            if version in in_use(services.connections.get(connection_id)):
                return
        except ProvisioningError:
            return  # `destroy_unused` sees to it
    disabled(services, connection_id, version)


def finish(services: Services, connection_id: str, actor: Actor) -> Connection:
    """End the set-up of a draft: the connection is off, and can be turned on."""
    connection = staying(services, connection_id)
    now = services.clock()

    def change(current: Connection) -> Connection | None:
        return turned_off(current, now) if current.state is State.DRAFT else None

    return (
        services.connections.change(connection_id, change, _states(services, actor, "Finished the set-up"))
        or connection
    )


def edit(
    services: Services,
    connection_id: str,
    edition: int,
    settings: Settings,
    actor: Actor,
    token: str = "",
    *,
    run: bool = True,
) -> Connection:
    """Change a connection's configuration; a new token, or endpoint and token, are tried against Keeper first.

    An edit without a change writes nothing. A connection that is on is reconciled at once, unless `run` is False or
    accounts have nothing to do with the change.

    Raises:
        NotFound, Stale: no such connection, or an administrator changed it since `edition`.
        BadInput: naming the field; nothing was changed.
    """
    connection = existing(services, connection_id, edition)
    wanted = _wanted(services, connection, settings)
    if token:
        token = verify(services, wanted, token)
    else:
        _keeps_token(connection, wanted)

    def change(current: Connection) -> Connection:
        check_edition(current, edition)
        check_staying(current)
        return _edited(current, wanted.settings)

    def change_if_other(current: Connection) -> Connection | None:
        becomes = change(current)
        return becomes if becomes.settings != current.settings else None

    def tell(was: Connection, becomes: Connection) -> Event:
        return configured(services.stamp(actor), EDITED, described(was), described(becomes))

    if token:
        edited = switch(services, connection, token, tell, edit=change)
    else:
        changed = services.connections.change(connection_id, change_if_other, tell)
        edited = changed or existing(services, connection_id, edition)
        run = run and changed is not None and _reconciles(services, connection, changed)
    if connection.settings.teams != edited.settings.teams:
        _leave_teams(services, edited)
    if run and edited.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return edited


def _leave_teams(services: Services, edited: Connection) -> None:
    """See that nothing more is promised of teams whose groups are left out, and nobody put into them until a run."""
    choice, now = edited.settings.teams, services.clock()
    services.teams.change(edited.id, lambda known: after_edit(choice, known, now))


def _reconciles(services: Services, was: Connection, becomes: Connection) -> bool:
    """Say whether a run is to follow: also if one is under way, which ends at an edit, whatever it is about."""
    return not was.settings.provisions_like(becomes.settings) or bool(services.runs.open(was.id))


def as_edited(services: Services, connection_id: str, settings: Settings, edition: int | None = None) -> Connection:
    """Return the connection as `edit` would make it without a new token; raises like it, and changes nothing."""
    connection = existing(services, connection_id, edition)
    wanted = _wanted(services, connection, settings)
    _keeps_token(connection, wanted)
    return wanted


def _wanted(services: Services, connection: Connection, settings: Settings) -> Connection:
    check_staying(connection)
    return _edited(connection, check(services, settings, connection.id, connection.settings.scope.org_units))


def _keeps_token(connection: Connection, wanted: Connection) -> None:
    if wanted.settings.endpoint != connection.settings.endpoint:
        mend = "Paste the access token that Keeper shows next to this endpoint URL."
        raise BadInput("token", "a new endpoint needs its own", mend)


def check(services: Services, settings: Settings, connection_id: str = "", chosen: Sequence[OrgUnit] = ()) -> Settings:
    """Check the settings of a connection, and return them with groups and units resolved (BadInput names the field).

    An organizational unit that is `chosen` already may stay though the directory lists it no more.
    """
    settings.limit.check()
    settings.mapping.check()
    settings.deprovisioning.check()
    settings.teams.check()
    groups = tuple(dict.fromkeys(group.id for group in settings.scope.groups))
    teams = tuple(dict.fromkeys(group.id for group in settings.teams.groups))
    units = tuple(unit.key for unit in settings.scope.org_units)
    if not 0 < len(settings.name.strip()) <= LONGEST_NAME:
        raise BadInput("name", "it is empty or too long", f"Use 1 to {LONGEST_NAME} characters, for instance Keeper.")
    for where, texts in (
        ("name", (settings.name.strip(),)),
        ("scope.groups", groups),
        ("scope.org_units", units),
        ("teams.groups", teams),
    ):
        if any(map(has_controls, texts)):
            raise BadInput(where, "it holds line breaks or control characters", "Type it again, without them.")
    if not settings.endpoint.strip():
        raise BadInput("endpoint", "it is empty", "Paste the endpoint URL from Keeper's Admin Console.")
    _check_node(services, settings.endpoint, connection_id)
    return replace(
        settings,
        name=settings.name.strip(),
        endpoint=settings.endpoint.strip(),
        scope=Scope(org_units=_units(services, units, chosen), groups=_groups(services, "scope.groups", groups)),
        teams=replace(settings.teams, groups=_groups(services, "teams.groups", teams)),
    )


def _groups(services: Services, where: str, keys: Sequence[str]) -> tuple[Group, ...]:
    """Resolve groups by id or address."""
    found = []
    for key in keys:
        group = services.directory.group(key)
        if group is None:
            mend = "Check its address in the Admin console, or remove it."
            raise BadInput(where, f"the directory has no group {key!r}", mend)
        found.append(group)
    return tuple(found)


def chosen_groups(services: Services, choice: TeamChoice) -> Sequence[Group]:
    """Return the groups that a choice of teams has in the directory now, by name (BadInput names the field)."""
    choice.check()
    named = tuple(dict.fromkeys(group.id for group in choice.groups))
    resolved = replace(choice, groups=_groups(services, "teams.groups", named))
    listed = services.directory.all_groups() if choice.on else ()
    return sorted(filter(resolved.chooses, listed), key=lambda group: (team_name(group).casefold(), group.id))


def _units(services: Services, keys: Sequence[str], chosen: Sequence[OrgUnit]) -> tuple[OrgUnit, ...]:
    """Resolve organizational units by id, or by path; the directory is asked unless all of them stay."""
    known = {unit.key: unit for unit in (ROOT, *chosen)}
    if not set(keys) <= set(known):
        listed = services.directory.org_units()
        known |= {unit.path: unit for unit in (*chosen, *listed)}  # a path means the unit that has it now
        known |= {unit.id: unit for unit in listed}
    return tuple(dict.fromkeys(known.get(key) or known.get(key.rstrip("/")) or _no_unit(key) for key in keys))


def _no_unit(key: str) -> OrgUnit:
    if not key.startswith("/"):
        raise BadInput("scope.org_units", f"{key!r} is not a path", "Start it with a slash, as in /Sales.")
    mend = "Choose a listed one: paths are spelled as in the Admin console."
    raise BadInput("scope.org_units", f"the directory has no organizational unit {key!r}", mend)


def _check_node(services: Services, endpoint: str, connection_id: str) -> None:
    """Refuse a second connection to a node: each would undo what the other does to the accounts they share."""
    for connection in services.connections.all():
        if connection.id != connection_id and node_of(connection.settings.endpoint) == node_of(endpoint):
            mend = f"Widen the scope of {connection.settings.name!r} instead, or use another Keeper node."
            if connection.state is State.DELETING:
                mend = "It is being deleted: try again in a minute."
            raise BadInput(
                "endpoint", f"the connection {connection.settings.name!r} already provisions this node", mend
            )


def turn_on(
    services: Services, connection_id: str, actor: Actor, *, run: bool = True, creates: int | None = None
) -> Connection:
    """Turn a connection on for everybody; timers go on, and a full run starts at once (unless `run` is False).

    That ends a pilot; otherwise a wait that Keeper asked for is over. `creates` is how many accounts a preview said
    would be created: if this is the first run for everybody, more than that are held. Without it the first run is
    limited like any other.

    Raises:
        WrongState: the set-up is not finished.
    """
    connection = staying(services, connection_id)
    needs_token(connection)
    _check_node(services, connection.settings.endpoint, connection_id)  # two may have been set up at the same moment
    now = services.clock()

    def change(current: Connection) -> Connection | None:
        check_staying(current)
        _check_finished(current)
        turned = turned_on(current, now) or for_everybody(current, now)
        return replace(turned, confirmed=creates) if turned is not None else None

    def tell(was: Connection, becomes: Connection) -> Event:
        what = ENDED_PILOT if was.pilot is not None else "Turned on"
        return _states(services, actor, what)(was, becomes)

    turned = services.connections.change(connection_id, change, tell)
    if turned is not None and run:
        services.queue.request_run(RunKind.FULL)
    return turned or connection


def turn_on_for(
    services: Services,
    connection_id: str,
    people: Sequence[str],
    actor: Actor,
    *,
    edition: int | None = None,
    begins: bool = True,
    run: bool = True,
) -> Connection:
    """Turn a connection on for these people only, by address or directory id, or change who they are in a pilot.

    Unless it `begins` one, there must be a pilot: somebody may have turned the connection off.

    Raises:
        Stale: an administrator changed it since `edition`, or there is no pilot any more.
        WrongState: the set-up is not finished, or it is on for everybody.
        BadInput: nobody is named, too many are, or somebody whom the directory does not know.
        Transient: the directory could not be asked.
    """
    connection = staying(services, connection_id)
    needs_token(connection)
    _check_node(services, connection.settings.endpoint, connection_id)
    chosen = _people(services, people, connection.pilot or {})
    now = services.clock()
    what = CHOSE_OTHERS if connection.pilot is not None else TURNED_ON_FOR_CHOSEN

    def change(current: Connection) -> Connection | None:
        if current.pilot is None and not begins:
            raise Stale("The pilot has ended meanwhile. Look whether it is to begin again.")
        check_edition(current, current.edition if edition is None else edition)
        check_staying(current)
        _check_finished(current)
        if current.pilot == chosen:
            return None
        if current.state in SERVING and current.pilot is None:
            raise WrongState("It is on for everybody. Turn it off first; accounts stay as they are.")
        turned = turned_on(current, now) or current
        turned = replace(turned, chosen_at=now, past_pilot=_past_pilot(current, now))
        return replace(turned, pilot=chosen, edition=current.edition + 1, confirmed=None)

    turned = services.connections.change(connection_id, change, _states(services, actor, what))
    if turned is not None and run and turned.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return turned or connection


def _people(services: Services, keys: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return who is meant, addresses by directory id; the directory is asked about those who are not known."""
    wanted = list(dict.fromkeys(filter(None, map(str.strip, keys))))
    if not wanted:
        raise BadInput("people", "nobody is named", "Name at least one person, by address or directory id.")
    if len(wanted) > LARGEST_PILOT:
        problem = f"{counted(len(wanted), 'person', 'people')} are more than {LARGEST_PILOT}"
        raise BadInput("people", problem, "Name fewer, or choose a group as the provisioning scope.")
    addresses = Counter(map(str.casefold, known.values()))  # one may have become another's since it was stored
    ids = {each: each for each in known}
    ids |= {address.casefold(): each for each, address in known.items() if addresses[address.casefold()] == 1}

    def person(key: str) -> tuple[str, str]:
        user_id = ids.get(key) or ids.get(key.casefold())
        if user_id is not None:
            return user_id, known[user_id]
        user = services.directory.by_address(key) if "@" in key else services.directory.user(key)
        if user is None or not user.id or not user.primary_email:
            raise BadInput("people", f"the directory has no user {key!r}", "Check the address in the Admin console.")
        return user.id, user.primary_email

    if any(map(has_controls, wanted)):
        raise BadInput("people", "it holds control characters", "Type it again, without them.")
    found = services.executor.each(person, wanted, services.reads_at_once)
    return dict(sorted(found, key=lambda one: (one[1], one[0])))


def _check_finished(connection: Connection) -> None:
    if connection.state is State.DRAFT:
        raise WrongState("The set-up is not finished. Finish it, look at the preview, then turn it on.")


def needs_token(connection: Connection) -> None:
    """Refuse a connection that has no access token (BadInput)."""
    if not connection.token_version:
        raise BadInput("token", "there is none", "Enter Keeper's access token under App authorization first.")


def turned_on(connection: Connection, now: datetime) -> Connection | None:
    """Return the connection as it is when turned on now; None where there is nothing to turn on.

    Of a draft it is what a preview foresees.
    """
    if connection.state not in (State.OFF, State.DRAFT):
        return None
    clock = connection.clock.started(now)
    return replace(connection, state=State.ON, changed_at=now, clock=clock, paused_reason="", throttled_until=None)


def for_everybody(connection: Connection, now: datetime) -> Connection | None:
    """Return a pilot as it is when turned on for everybody now; None where there is no pilot.

    It counts as an edit: what is planned for the people chosen is planned again for everybody.
    """
    if connection.pilot is None:
        return None
    ended = replace(connection, pilot=None, chosen_at=None, past_pilot=_past_pilot(connection, now))
    return replace(ended, edition=connection.edition + 1, changed_at=now)


def _past_pilot(connection: Connection, now: datetime) -> PastPilot | None:
    """Return the pilot that ends now, or was for other people until now; else the one before."""
    if connection.pilot is None or connection.chosen_at is None:
        return connection.past_pilot
    return PastPilot(people=tuple(connection.pilot), start=connection.chosen_at, end=now)


def turned_off(connection: Connection, now: datetime) -> Connection:
    """Return the connection as it is when turned off now; that ends a pilot, too, which counts as an edit."""
    clock = connection.clock.stopped(now)
    connection = for_everybody(connection, now) or connection
    return replace(connection, state=State.OFF, changed_at=now, clock=clock, paused_reason="")


def turn_off(services: Services, connection_id: str, actor: Actor) -> Connection:
    """Turn a connection off: the configuration stays, every change stops, timers stand still."""
    connection = existing(services, connection_id)
    now = services.clock()

    def change(current: Connection) -> Connection | None:
        return turned_off(current, now) if current.state in (State.ON, State.PAUSED) else None

    def tell(was: Connection, becomes: Connection) -> Event:
        what = TURNED_OFF_PILOT if was.pilot is not None else "Turned off"
        return _states(services, actor, what)(was, becomes)

    return services.connections.change(connection_id, change, tell) or connection


def delete(services: Services, connection_id: str, actor: Actor, typed: str) -> None:
    """Begin to delete a connection's configuration: from now on nothing is started for it.

    `finish_deletions` does the rest. The audit stays, and Keeper's accounts stay as they are.

    Raises:
        BadInput: what was `typed` to confirm is not the connection's name.
    """
    connection = existing(services, connection_id)
    if typed.strip() != connection.settings.name.strip():
        mend = f"Type {connection.settings.name} to confirm: the configuration cannot be restored."
        raise BadInput("confirmation", "it is not the connection's name", mend)
    now = services.clock()

    def change(current: Connection) -> Connection | None:
        return None if current.state is State.DELETING else replace(current, state=State.DELETING, changed_at=now)

    def tell(was: Connection, _becomes: Connection) -> Event:
        return configured(services.stamp(actor), "Requested deletion of the configuration", described(was), {})

    services.connections.change(connection_id, change, tell)
    services.queue.request_run(RunKind.FULL)  # which may destroy tokens; and another connection may take users over


def _edited(connection: Connection, settings: Settings) -> Connection:
    return replace(connection, edition=connection.edition + 1, settings=settings)


def _states(services: Services, actor: Actor, what: str) -> Telling[Connection]:
    """Record a change of the state, and the wait that it ends."""

    def tell(was: Connection, becomes: Connection) -> Event:
        before, after = ({"state": shown_state(at, held=False), **_chosen(at), **wait_of(at)} for at in (was, becomes))
        return configured(services.stamp(actor), what, before, after)

    return tell


def _chosen(connection: Connection) -> Mapping[str, Value]:
    return {"chosen people": ", ".join(connection.pilot.values())} if connection.pilot is not None else {}
