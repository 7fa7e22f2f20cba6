"""Decisions in the words of an administrator: what would be done with a user now, and why, in a sentence."""

from __future__ import annotations

from datetime import datetime

from .accounts import changed_attributes
from .connections import Connection, State
from .decision import BackOff, Decision, Do, Fail, Nothing, Observed
from .deprovisioning import NEVER, Due, due
from .directory_user import Presence
from .entry import EXTERNAL_ID, Action, Entry, Status, Trigger
from .holds import Standing
from .words import BECAUSE, IF_DUE, WAITS_FOR, at_time, attribute_in_words


def in_words(
    decision: Decision,
    entry: Entry | None,
    seen: Observed,
    connection: Connection,
    now: datetime,
    *,
    owner: str = "",
    held: Standing | None = None,
) -> str:
    """Say what would be done with this user now, and why.

    `entry` is the roster's, before the decision. `owner` names the other connection that the user belongs to,
    `held` is what the change stands at in the held plans.
    """
    if entry is not None and entry.mark is not None:
        action = entry.mark.action.value
        if entry.mark.live(now):
            return f"A worker is carrying out a change ({action}) right now; the user is looked at again afterwards."
        unknown = f"What became of the last change ({action}) is not known: Keeper is asked before anything else"
        failure = entry.failure
        if failure is None or failure.trying:
            return f"{unknown}."
        when = at_time(failure.next_attempt)
        return f"{unknown}. That failed, and is retried on {when}, or as soon as the user changes: {failure.text}"
    match decision:
        case Do():
            return _to_do(decision, entry, seen, connection=connection, now=now, owner=owner, held=held)
        case Fail():
            return f"Nothing can be sent: {decision.error}"
        case BackOff():
            text, when = decision.failure.text, at_time(decision.failure.next_attempt)
            if connection.state in WAITS_FOR:
                return f"{WAITS_FOR[connection.state]}; the last attempt failed: {text}"
            return f"The last attempt failed; the next one is on {when}, or as soon as the user changes: {text}"
        case Nothing():
            return _nothing(decision, entry, seen, connection=connection, now=now, owner=owner)


def _nothing(
    decision: Nothing, entry: Entry | None, seen: Observed, connection: Connection, now: datetime, owner: str
) -> str:
    noted = decision.noted or entry
    if not connection.operates_on(seen.user_id):
        return "The user is outside the pilot, and not operated on: everything stays as it is, and timers stand still."
    if decision.unsure and noted is not None and noted.status is Status.SUSPENDED:
        moved = "active on another connection since it was suspended here"
        if connection.state in WAITS_FOR:
            return f"{WAITS_FOR[connection.state]}: ask Keeper about the account, which was {moved}."
        return f"The account was {moved}: Keeper is asked about it."
    if noted is not None and noted.status is Status.LOCKED:
        return _locked(noted, seen, connection, unsure=decision.unsure)
    return _idle(noted, seen, connection, now, owner)


def _to_do(
    decision: Do,
    entry: Entry | None,
    seen: Observed,
    connection: Connection,
    now: datetime,
    owner: str,
    *,
    held: Standing | None,
) -> str:
    action = decision.action
    done = f"{_infinitive(action, decision, entry)}, because {_reason(action, decision, entry, seen, owner)}."
    held_back = held in (Standing.WAITING, Standing.WITHDRAWN) or (action is Action.UNLOCK and held is None)
    if connection.state in WAITS_FOR:
        also = ", and for an approval under Approvals" if held_back and connection.state is State.PAUSED else ""
        return f"{WAITS_FOR[connection.state]}{also}: {done}"
    if held is Standing.REJECTED:
        return f"Not done, because an administrator rejected it in a held plan: {done}"
    if held_back:
        return f"Held until an administrator approves it under Approvals: {done}"
    until = connection.waits_until(now)
    if until is not None:
        return f"Keeper asked this connection to wait until {at_time(until)}: {done}"
    if entry is not None and entry.pending:
        return f"Being retried: {done}"
    return f"Due now: {done}"


def _infinitive(action: Action, decision: Do, entry: Entry | None) -> str:
    match action:
        case Action.CREATE:
            return "create the account, or adopt the one that is in Keeper under the user's address"
        case Action.UPDATE:
            applied = entry.fingerprint if entry is not None else ""
            names = ", ".join(map(attribute_in_words, changed_attributes(applied, decision.attributes)))
            return f"update the {names or 'account'}"
        case Action.SUSPEND:
            return "suspend the account"
        case Action.UNSUSPEND:
            return "reactivate the account"
        case Action.DELETE:
            return "delete the account, which Keeper keeps locked"
        case Action.RECREATE:
            return "create the account again, or adopt the one that is in Keeper under the user's address"
        case Action.UNLOCK:
            return "unlock the account, which was locked in Keeper by someone else"
        case Action.LOCK:
            return "lock the account, which nobody provisions"


def _reason(action: Action, decision: Do, entry: Entry | None, seen: Observed, owner: str) -> str:
    match action:
        case Action.CREATE | Action.UNLOCK:
            return "the user is active and in the provisioning scope"
        case Action.RECREATE if entry is None or entry.status is Status.NONE:
            return "the user is entitled to one, and the node is not proven to be the same as before"
        case Action.RECREATE:
            return "it vanished from Keeper, and the user is active and in the provisioning scope"
        case Action.UPDATE if entry is not None and entry.drift:
            return "somebody else changed the account in Keeper"
        case Action.UPDATE:
            return "the directory's values differ from those last written"
        case Action.UNSUSPEND:
            return "the user is active and in the provisioning scope again"
        case _:
            return because(decision.trigger, seen, owner)


def because(trigger: Trigger | None, seen: Observed, owner: str = "") -> str:
    """Say why a user is deprovisioned."""
    if trigger is Trigger.APP_OFF and owner:
        return f"the user belongs to the connection {owner}"
    if trigger is Trigger.SUSPENDED and seen.presence is Presence.ARCHIVED:
        return "the user is archived in the directory, which this connection treats as suspended"
    return BECAUSE[trigger] if trigger is not None else "it is due"


def _locked(noted: Entry, seen: Observed, connection: Connection, *, unsure: bool) -> str:
    """Say what becomes of an account that somebody else had locked when last seen; it may be open by now."""
    locked = "The account was locked in Keeper by someone else"
    if unsure and connection.state in WAITS_FOR:
        return f"{WAITS_FOR[connection.state]}: ask Keeper whether the account, locked when last seen, still is."
    if unsure:
        return f"{locked} when it was last seen. Keeper is asked whether it still is: if not, access is taken away."
    if seen.presence is Presence.ACTIVE and seen.in_scope is None:
        return f"{locked}, and it is not known whether the user is in the provisioning scope: it stays locked."
    if seen.presence is Presence.ACTIVE and seen.in_scope and EXTERNAL_ID in noted.drift:
        return f"{locked}, and carries another externalId: nobody is asked to unlock it until that is fixed in Keeper."
    return f"{locked}: there is no access to take away. It is not unlocked without an administrator's approval."


def _idle(noted: Entry | None, seen: Observed, connection: Connection, now: datetime, owner: str) -> str:
    """Say why there is nothing to do."""
    if seen.presence is Presence.UNKNOWN:
        return f"The directory does not show this user, which alone proves nothing: {_stays(noted)}."
    if seen.presence is Presence.ARCHIVED and not connection.settings.archived_as_suspended:
        return "Archived users are not operated on: everything stays as it is, and timers stand still."
    if noted is None or noted.status is Status.NONE:
        return _without_account(seen, owner)
    if seen.presence is Presence.ACTIVE and seen.in_scope is None:  # whatever timers there are
        return _unproven(noted)
    if noted.deleted:
        return "There is nothing more to do: the account was deleted, and Keeper keeps it locked."
    if seen.moving and noted.status is Status.ACTIVE:
        return f"The user is moving to the connection {owner}: this account stays as it is until they are let in there."
    if noted.timers:
        when = due(connection.settings.deprovisioning, noted.timers, connection.clock, now)
        return _waiting(noted, when, seen, owner, connection)
    return "In step: the account matches the directory, and there is nothing to do."


def _without_account(seen: Observed, owner: str) -> str:
    match seen.presence:
        case Presence.DELETED:
            return "The user is deleted in the directory and has no account: there is nothing to do."
        case Presence.SUSPENDED | Presence.ARCHIVED:
            return "The user is suspended or archived in the directory and gets no account before returning."
    if owner:
        return f"The user belongs to the connection {owner}: there is nothing to do here."
    if seen.in_scope is None:
        return "Whether the user is in the provisioning scope is not known: until then no account is created."
    return "The user is not in the provisioning scope and has no account: there is nothing to do."


def _unproven(noted: Entry) -> str:
    if noted.status is Status.SUSPENDED:
        return "The account stays suspended: whether the user is in the provisioning scope again is not known."
    if noted.missing_since is not None:
        return f"Whether the user is still in scope is not known: {_stays(noted)}."
    return "In step; whether the user is still in scope is not known, and nobody loses access for that reason."


def _stays(noted: Entry | None) -> str:
    """Say what becomes of an account whose user the directory does not show."""
    if noted is None or noted.missing_since is None:
        return "everything stays as it is"
    since = at_time(noted.missing_since)
    lacking = f"complete listings have lacked the user since {since}"
    return f"{lacking}, so it takes an administrator's approval under Approvals"


def _waiting(noted: Entry, when: Due, seen: Observed, owner: str, connection: Connection) -> str:
    proviso = IF_DUE.get(connection.state, "")
    if noted.status is Status.ACTIVE and when.suspend <= when.delete and when.suspend < NEVER:
        why = because(when.suspend_by, seen, owner)
        return f"The account will be suspended on {at_time(when.suspend)}, because {why}.{proviso}"
    if when.delete < NEVER:
        why = because(when.delete_by, seen, owner)
        return f"The account will be deleted on {at_time(when.delete)}, because {why}.{proviso}"
    why = because(min(noted.timers, key=lambda trigger: noted.timers[trigger].since), seen, owner)
    if noted.status is Status.SUSPENDED:
        return (
            f"The account stays suspended, because {why}; the deprovisioning policy never deletes it for that reason."
        )
    return (
        f"The account stays as it is although {why}: the deprovisioning policy never takes access away for that reason."
    )
