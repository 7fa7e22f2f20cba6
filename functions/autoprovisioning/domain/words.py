"""Every enumeration in the words of an administrator, and how numbers and times are written; templates hold none.

Sentences that take a decision to make are in `explanation.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from .accounts import Value
from .causes import Cause, Source
from .connections import Connection, State
from .deprovisioning import WITHIN_24_HOURS
from .directory_user import Presence
from .entry import ACCESS, ACCOUNT, EXTERNAL_ID, GROUPS, Action, Status, Trigger
from .events import EventName, TeamUsage
from .guard import Kind
from .holds import Hold, HoldState, Standing
from .keeper import PatchDialect
from .keeper_listing import LOCK
from .mapping import Row
from .memberships import Membership
from .requests import Became, Forecast, RequestState, TeamsForeseen, Would
from .runs import Run, RunKind, RunState
from .scim_user import attribute_of
from .scope import OrgUnit
from .settings import VolumeLimit
from .teams import GroupTeam, TeamChoice, TeamState
from .unprovisioned import By, Suggestion

# ---- connections

SHOWN: Mapping[State, str] = {
    State.DRAFT: "Draft",
    State.ON: "On",
    State.OFF: "Off",
    State.PAUSED: "Paused: needs reauthorization",
    State.DELETING: "Being deleted",
}
HELD = "Held: waiting for approval"
PILOT = "On for chosen people only"
BEING_DELETED = "The configuration is being deleted, as soon as no change is in flight."
FIRST: Mapping[State, str] = {  # what is to be done before anybody is provisioned
    State.DRAFT: "Finish the set-up and turn it on first.",
    State.OFF: "Turn it on first.",
    State.PAUSED: "Reauthorize it first: the user waits until then.",
}
WAITS_FOR: Mapping[State, str] = {
    State.PAUSED: "Waits until the connection is reauthorized",
    State.OFF: "Waits until autoprovisioning is turned on",
    State.DRAFT: "Waits until the set-up is finished and autoprovisioning turned on",
    State.DELETING: "Not done, since the configuration is being deleted",
}
PENDING_UNTIL: Mapping[State, str] = {  # what a change that could not be carried out waits for
    State.ON: "for a retry, with the next full run at the latest",
    State.PAUSED: "until the connection is reauthorized",
    State.OFF: "until autoprovisioning is turned on",
    State.DRAFT: "until autoprovisioning is turned on",
    State.DELETING: "not any more, since the configuration is being deleted",
}
IF_DUE: Mapping[State, str] = {  # what is to be added to a date
    State.PAUSED: " It waits if the connection is not reauthorized by then.",
    State.OFF: " This assumes that autoprovisioning is turned on now: timers stand still while it is off.",
    State.DRAFT: " This assumes that autoprovisioning is turned on now: nothing is done before that.",
    State.DELETING: " It will not happen, since the configuration is being deleted.",
}
DIALECTS: Mapping[PatchDialect, str] = {
    PatchDialect.STANDARD: "one operation per attribute (RFC 7644)",
    PatchDialect.KEEPER: "as Keeper documents it",
}

# ---- where the vendors explain what a page asks for

_OF_GOOGLE = (
    "https://support.google.com/cloudidentity/answer/9227528",
    "Google's help: Configure Keeper user provisioning",
)
_OF_KEEPER = (
    "https://docs.keeper.io/enterprise-guide/user-and-team-provisioning/google-g-suite-scim",
    "Keeper's documentation: Google Workspace provisioning with SCIM",
)
HELP: Mapping[str, tuple[str, str]] = {  # by page: address and title
    "authorization": _OF_KEEPER,
    "mapping": _OF_GOOGLE,
    "scope": _OF_GOOGLE,
    "deprovisioning": _OF_GOOGLE,
    "usage": ("https://support.google.com/a/answer/6294828", "Google's help: Monitor automated user provisioning"),
}

# ---- users

STATUS: Mapping[Status, str] = {
    Status.NONE: "no account known",
    Status.ACTIVE: "active",
    Status.SUSPENDED: "suspended by autoprovisioning",
    Status.LOCKED: "locked by someone else",
}
BECAUSE: Mapping[Trigger, str] = {
    Trigger.APP_OFF: "the user is out of the provisioning scope",
    Trigger.SUSPENDED: "the user is suspended in the directory",
    Trigger.DELETED: "the user is deleted in the directory",
}
LEFT_BECAUSE: Mapping[Trigger, str] = {
    Trigger.APP_OFF: "Left the provisioning scope",
    Trigger.SUSPENDED: "Suspended in Google",
    Trigger.DELETED: "Deleted in Google",
}
IN_KEEPER: Mapping[str, str] = {  # by the values of `review.InKeeper`
    "active": "Active",
    "suspended": "Suspended",
    "deleted": "Deleted: locked",
    "locked": "Locked",
    "none": "No account",
}
LACKING = "The directory's listings lack the user"
IN_SCOPE: Mapping[bool | None, str] = {True: "In scope.", False: "Not in scope.", None: "Not known."}
WHEN: Mapping[Trigger, str] = {  # as the settings name the triggers
    Trigger.APP_OFF: "When the app is turned off for a user",
    Trigger.SUSPENDED: "When a user is suspended on Google",
    Trigger.DELETED: "When a user is deleted from Google",
}
CAUSES: Mapping[str, str] = {
    Trigger.APP_OFF: "Out of scope",
    Trigger.SUSPENDED: "Suspended in the directory",
    Trigger.DELETED: "Deleted in the directory",
}
DUE_BECAUSE: Mapping[str, str] = {  # why a change of a held plan is due: by trigger, or by action where none is
    **CAUSES,
    Action.SUSPEND: "Not recorded",  # by schema 1
    Action.DELETE: "Not recorded",
    Action.CREATE: "In scope, and without an account",
    Action.UNSUSPEND: "Back in scope, or active in the directory again",
    Action.UPDATE: "Changed in the directory, or in the attribute mapping",
    Action.RECREATE: "The account vanished from Keeper",
    Action.UNLOCK: "Locked in Keeper by somebody else",
    Action.LOCK: "Provisioned by nobody, and chosen by an administrator",
}
IN_PREVIEW: Mapping[Trigger | None, str] = {
    Trigger.APP_OFF: "the app is turned off for them (not in scope)",
    Trigger.SUSPENDED: "suspended in the directory",
    Trigger.DELETED: "deleted in the directory",
    None: "",
}
OWNED_BY: Mapping[By, str] = {
    By.EXTERNAL_ID: "its externalId is their directory id",
    By.ADDRESS: "it has their primary address",
    By.UNKNOWN_ID: "its externalId is unknown to the directory: deleted long ago, or another system's",
    By.NOTHING: "the directory does not say",
}
SUGGESTED: Mapping[Suggestion, tuple[str, str]] = {  # what an account that nobody provisions is, and what to do
    Suggestion.LEAVER: ("A leaver from before", "Take it over: it is deprovisioned like its owner."),
    Suggestion.OUT_OF_SCOPE: (
        "Out of scope",
        "Widen the scope if they are to keep it; otherwise take it over, or lock it.",
    ),
    Suggestion.SECOND: ("A second account", "Its owner has another one. Lock it if nobody uses it."),
    Suggestion.SHARED: (
        "A service account, a shared one, or an outsider's",
        "No owner to be deprovisioned with. Ask who uses it: ignore it with a note, or lock it.",
    ),
}
TAKEN_OVER_BY: Mapping[By, str] = {
    By.EXTERNAL_ID: "its externalId is this user's directory id",
    By.UNKNOWN_ID: "an administrator says that its externalId is this user's directory id",
    By.ADDRESS: "an administrator says that it is this user's, whose primary address it has",
}

# ---- changes; plans name actions and triggers by their values

VERBS: Mapping[str, str] = {
    Action.SUSPEND: "Suspend",
    Action.DELETE: "Delete",
    Action.RECREATE: "Create again",
    Action.CREATE: "Create",
    Action.UNSUSPEND: "Reactivate",
    Action.UPDATE: "Change userName, or remove values",
    Action.UNLOCK: "Unlock",
    Action.LOCK: "Lock",
}
NOUNS: Mapping[str, tuple[str, str]] = {  # of one, of several
    Action.SUSPEND: ("suspension", "suspensions"),
    Action.DELETE: ("deletion", "deletions"),
    Action.CREATE: ("creation", "creations"),
    Action.UNSUSPEND: ("reactivation", "reactivations"),
    Action.UPDATE: ("change of a userName or removal of values", "changes of userNames or removals of values"),
    Action.RECREATE: (
        "creation of an account that vanished from Keeper",
        "creations of accounts that vanished from Keeper",
    ),
    Action.UNLOCK: ("unlock", "unlocks"),
    Action.LOCK: ("lock of an account that nobody provisions", "locks of accounts that nobody provisions"),
}
EFFECTS: Mapping[str, tuple[str, str, str, str]] = {  # of one, of several, what would happen, and the button
    Action.SUSPEND: ("person", "people", "would lose access", "Suspend {}"),
    Action.DELETE: ("account", "accounts", "would be deleted", "Delete {}"),
    Action.CREATE: ("account", "accounts", "would be created", "Create {}"),
    Action.UNSUSPEND: ("person", "people", "would get access again", "Reactivate {}"),
    Action.UPDATE: ("account", "accounts", "would get another userName, or lose values", "Change {}"),
    Action.RECREATE: ("account", "accounts", "that vanished from Keeper would be created again", "Create {} again"),
    Action.UNLOCK: ("account", "accounts", "that somebody locked would be unlocked", "Unlock {}"),
    Action.LOCK: ("account", "accounts", "that nobody provisions would be locked", "Lock {}"),
}
KEPT: Mapping[str, str] = {  # the button that rejects it
    Action.SUSPEND: "Keep their access",
    Action.DELETE: "Keep these accounts",
    Action.CREATE: "Create none of them",
    Action.UNSUSPEND: "Leave them suspended",
    Action.UNLOCK: "Leave them locked",
    Action.LOCK: "Leave them active",
    Action.UPDATE: "Leave them as they are",
    Action.RECREATE: "Create none of them",
}
DONE: Mapping[str, str] = {
    Action.SUSPEND: "suspended",
    Action.DELETE: "deleted",
    Action.CREATE: "created",
    Action.UNSUSPEND: "reactivated",
    Action.UPDATE: "updated",
    Action.RECREATE: "created again",
    Action.UNLOCK: "unlocked",
    Action.LOCK: "locked",
}
BRAKED: Mapping[Kind, str] = {
    Kind.GIVING: "Creations and reactivations",
    Kind.WIPING: "Changes of userNames and removals of values",
}
DRIFTED: Mapping[str, str] = {  # by the names of an entry's `drift`; anything else is an attribute
    ACCOUNT: "vanished",
    ACCESS: "unlocked",
    LOCK: "locked",
    EXTERNAL_ID: "with another externalId",
    GROUPS: "taken out of teams",
}
DRIFT_POLICY: Mapping[bool, str] = {  # by whether what somebody else changed in Keeper is repaired
    True: "reported and repaired",
    False: "only reported, unless they give access to somebody who is to have none",
}
TEAMS: Mapping[TeamState, tuple[str, str]] = {  # what became of a group that is to be a team, and what to do
    TeamState.THERE: (
        "In Keeper",
        "A new team is pending there until somebody approves it: an administrator, or the Automator.",
    ),
    TeamState.SENT: (
        "Sent, waits for Keeper",
        "Keeper does not list it yet, and nobody else joins before it does. Approve it there.",
    ),
    TeamState.UNSEEN: (
        "Not seen yet",
        "Keeper has not listed it in days. Approve it there; if it is gone, leave the group out for one full run.",
    ),
    TeamState.WAITING: ("Waits for the next run", "Nothing is to be done."),
    TeamState.REFUSED: ("Refused by Keeper", "It is tried again every hour. Correct what Keeper says first."),
    TeamState.NAME_TAKEN: (
        "The name is taken",
        "Another team has this name. Rename the group, or that team in Keeper's Admin Console.",
    ),
    TeamState.DOUBLE: (
        "Two teams carry this group's id",
        "Which one is meant cannot be told. Delete the wrong one in Keeper's Admin Console.",
    ),
    TeamState.DELETED: (
        "Deleted in Keeper",
        "It is not made again. To have it made, take the group out of the choice for one run.",
    ),
    TeamState.ROLE: ("Would be a role", "Its name begins with the role prefix, and roles carry rights."),
    TeamState.TOO_MANY: ("Beyond the limit", "Raise the number of teams, or choose fewer groups."),
    TeamState.LEFT: (
        "Not chosen any more",
        "Or the group was deleted. Nobody joins. Delete it in Keeper's Admin Console if nobody needs what it shares.",
    ),
}
GIVEN_UP = (
    "Keeper gave no answer",
    "Each time it may have made a team that it does not list. Delete those of this name in Keeper, then try again.",
)
TEAM_NEEDS: Mapping[TeamState, str] = {  # the states in which a team waits for somebody, and for what
    TeamState.UNSEEN: "Approve it in Keeper",
    TeamState.REFUSED: "Correct what Keeper refuses",
    TeamState.NAME_TAKEN: "Rename the group or that team",
    TeamState.DOUBLE: "Delete the wrong one in Keeper",
    TeamState.DELETED: "Decide whether it is made again",
    TeamState.TOO_MANY: "Raise the limit or choose fewer",
}
MEMBERSHIPS: Mapping[Membership, str] = {
    Membership.INSIDE: "In the team",
    Membership.UNSEEN: "Waits in Keeper",
    Membership.ENDED: "Taken out there",
    Membership.JOINS: "To join",
    Membership.WAITS: "Without access",
    Membership.ASKED: "Not answered",
    Membership.LEAVES: "To leave",
}
REPAIRS: Mapping[Action | None, str] = {  # what is done about what somebody else changed in Keeper
    Action.UPDATE: "Written again",
    Action.SUSPEND: "Suspended again",
    Action.DELETE: "Deleted again",
    Action.CREATE: "Created again",
    Action.RECREATE: "Created again, within the limit for vanished accounts",
    Action.UNSUSPEND: "Reactivated",
    Action.UNLOCK: "Stays locked, unless an administrator approves unlocking it",
    None: "Left as it is for now",
}
HOLDS: Mapping[HoldState, str] = {
    HoldState.WAITING: "Waiting for approval",
    HoldState.APPROVED: "Approved",
    HoldState.REJECTED: "Rejected",
    HoldState.CLOSED: "Closed",
    HoldState.SUPERSEDED: "Ended automatically",
}
STANDINGS: Mapping[Standing, str] = {
    Standing.WAITING: "Waiting for a decision",
    Standing.WITHDRAWN: "Waiting for another decision",
    Standing.APPROVED: "Approved",
    Standing.REJECTED: "Rejected",
    Standing.DONE: "Done",
    Standing.NOT_DUE: "No longer due",
    Standing.EXPIRED: "Approval expired",
    Standing.RELEASED: "No longer held here",
}
EVENTS: Mapping[EventName, str] = {  # those that usage counts
    EventName.CREATED: "Users created by autoprovisioning",
    EventName.UPDATED: "Users updated by autoprovisioning",
    EventName.SUSPENDED: "Users suspended by autoprovisioning",
    EventName.UNSUSPENDED: "Users reactivated by autoprovisioning",
    EventName.DELETED: "Users deleted by autoprovisioning (Keeper locks the account)",
    EventName.ADOPTED: "Existing accounts taken over by autoprovisioning",
    EventName.FAILED: "Failed requests",
}
TEAM_USAGE: Mapping[TeamUsage, str] = {
    TeamUsage.JOINED: "People put into a team, each time",
    TeamUsage.LEFT: "People taken out of a team, each time",
    TeamUsage.CREATED: "Teams made of groups",
    TeamUsage.ADOPTED: "Teams adopted for groups",
    TeamUsage.RENAMED: "Teams renamed with their group",
}

REPORTED: Mapping[str, str] = {  # by the events of Google's admin log; a group follows upon the first three
    "ADD_GROUP_MEMBER": "Added to group",
    "REMOVE_GROUP_MEMBER": "Removed from group",
    "UPDATE_GROUP_MEMBER": "Given another role in group",
    "CREATE_USER": "Created",
    "DELETE_USER": "Deleted",
    "UNDELETE_USER": "Restored",
    "SUSPEND_USER": "Suspended",
    "UNSUSPEND_USER": "Reactivated",
    "ARCHIVE_USER": "Archived",
    "UNARCHIVE_USER": "Unarchived",
    "RENAME_USER": "Renamed",
    "MOVE_USER_TO_ORG_UNIT": "Moved to another organizational unit",
}
SOURCES: Mapping[Source, tuple[str, str]] = {  # what told of a change, and since when its latency counts
    Source.EVENT: ("Audit log", "the change, by Google's time"),
    Source.NOTIFICATION: ("Notification", "its arrival: Google tells no time"),
    Source.RUN: ("Sweep or run", "when it found the difference"),
}
A_HINT = "It made us look and proves nothing: what was done was decided by what the directory showed then."

FAILURES: Mapping[str, str] = {  # why users fail, by the failure's code
    "permanent": "Keeper does not do what was asked for",
    "mapping": "A mandatory attribute has no value, or one that does not fit",
    "rejected": "Keeper refuses a value",
    "address_taken": "The address belongs to another account in Keeper",
    "not_adoptable": "The account under the user's address belongs to somebody else",
    "adoption_in_doubt": "The account under the user's address may be somebody else's",
    "keeper_failed": "Keeper fails for these users",
    "directory_failed": "The directory fails to show these users",
    "incomplete_listing": "A listing of the directory broke off",
    "unresolved": "It is not known what became of a change",
    "unforeseen": "An unforeseen error",
    "not_offered": "Keeper says that it cannot do this",
    "contradicted": "Keeper accepted a change, and shows something else",
    "seats_exhausted": "No seats are left in Keeper",
    "account_gone": "The account is not in Keeper any more",
    "configuration": "Keeper refuses the set-up of this connection",
    "authorization_refused": "Keeper refuses these changes to the access token",
}

MENDS: Mapping[str, str] = {  # what to do about a failure, by its code
    "permanent": "Look at the reason given, and at the user's account in Keeper.",
    "mapping": "Fill the field in the directory, or change the attribute mapping.",
    "rejected": "Correct the value that Keeper refuses in the directory.",
    "address_taken": "Free the address in Keeper, or change the user's address.",
    "not_adoptable": "Remove the other account in Keeper, or correct the address in the directory.",
    "adoption_in_doubt": "Confirm the adoption in a preview, or remove the account in Keeper.",
    "keeper_failed": "Nothing at first: it is retried automatically. If this persists, ask Keeper's support.",
    "directory_failed": "Nothing at first: the directory is asked again. If this persists, look at the user there.",
    "incomplete_listing": "Nothing at first: it is retried automatically. If this persists, ask Google's support.",
    "unresolved": "Nothing at first: Keeper is asked about the outcome. If this persists, ask Keeper's support.",
    "unforeseen": "See the log: it says what happened. It is retried automatically.",
    "not_offered": "Ask Keeper's support: the server says that it cannot do this.",
    "contradicted": "Look at the account in Keeper: it does not show what was written.",
    "seats_exhausted": "Buy seats in Keeper, or free some.",
    "account_gone": "Nothing: the account is looked up, or created again.",
    "configuration": "Check the endpoint URL, and what the access token may do.",
    "authorization_refused": "Check what the access token may do, or reauthorize.",
}

# ---- what a worker is asked for

PREVIEWS: Mapping[RequestState, str] = {
    RequestState.WAITING: "The preview is waiting to be computed.",
    RequestState.RUNNING: "The preview is being computed.",
    RequestState.DONE: "The preview is ready.",
    RequestState.FAILED: "The preview failed.",
}
INQUIRIES: Mapping[RequestState, str] = {
    RequestState.WAITING: "Waiting for the answer.",
    RequestState.RUNNING: "Waiting for the answer.",
    RequestState.DONE: "Done.",
    RequestState.FAILED: "It failed.",
}
WOULD: Mapping[Would, str] = {
    Would.DELETE: "Deleted",
    Would.SUSPEND: "Suspended",
    Would.UNSUSPEND: "Reactivated",
    Would.CREATE: "Created",
    Would.ADOPT: "Adopted",
    Would.DOUBT: "To be confirmed",
    Would.UPDATE: "Updated",
    Would.FAIL: "Failing",
    Would.WAIT: "Timers",
}
RUNS: Mapping[RunKind, str] = {
    RunKind.FULL: "Full run",
    RunKind.DRIFT: "Drift run",
    RunKind.SWEEP: "Sweep",
}
RAN: Mapping[RunState, str] = {  # how a run ended, or what it does
    RunState.OBSERVING: "It is reading the directory and planning.",
    RunState.PLANNED: "It is being carried out.",
    RunState.DONE: "Everything that it planned is settled: done, failed with a reason, or held.",
    RunState.UNSETTLED: "Part of what it planned is not settled yet, and is retried automatically.",
    RunState.SUPERSEDED: "It was closed with work left, which the next run does.",
    RunState.REFUSED: "It could not be planned, so nothing was changed. The next run tries again.",
}
RAN_SHORTLY: Mapping[RunState, str] = {
    RunState.OBSERVING: "Planning",
    RunState.PLANNED: "Running",
    RunState.DONE: "Done",
    RunState.UNSETTLED: "Not settled",
    RunState.SUPERSEDED: "Left to the next",
    RunState.REFUSED: "Refused",
}
COUNTED: Mapping[str, str] = {  # what became of people in a run, in the order of the page
    "created": "created",
    "adopted": "adopted",
    "updated": "updated",
    "unsuspended": "reactivated",
    "suspended": "suspended",
    "deleted": "deleted",
    "failed": "failed",
    "held": "held",
    "unsettled": "not settled",
    "unchanged": "unchanged",
}
CHANGED = {name: word for name, word in COUNTED.items() if name != "unchanged"}
BECAME: Mapping[Became, str] = {
    Became.WAITING: "It has not started yet: an earlier run may still be in progress.",
    Became.RUNNING: "It is in progress.",
    Became.DONE: "It is done.",
    Became.UNSETTLED: "It ended, but not everything it planned is settled: the rest is retried automatically.",
    Became.REFUSED: "Nothing was planned: the run's notes say why. The next run tries again.",
    Became.SUPERSEDED: "It was closed with work left, which the next run does.",
}


def shown_state(connection: Connection, *, held: bool) -> str:
    """Return the state as the console shows it; `held` says that a plan of it waits for approval."""
    if connection.state is not State.ON:
        return SHOWN[connection.state]
    return HELD if held else PILOT if connection.pilot is not None else SHOWN[State.ON]


def pilot_in_full(connection: Connection) -> str:
    """Say for whom a pilot is; empty where there is none."""
    if connection.pilot is None:
        return ""
    return (
        f"A pilot: on{_for_chosen(connection)}. Nobody else is created, changed or suspended, and timers stand still."
    )


def _for_chosen(connection: Connection) -> str:
    """Say that something holds for a pilot's people only; empty where there is no pilot."""
    if connection.pilot is None:
        return ""
    return f" for {counted(len(connection.pilot), 'chosen person', 'chosen people')} only"


def state_in_full(connection: Connection, concerned: bool) -> str:
    """Say what the state of a connection means; `concerned` says that something about it is not well."""
    match connection.state:
        case State.ON:
            if concerned:
                return "On, but something is wrong."
            return f"Syncing active{_for_chosen(connection)}."
        case State.OFF:
            return "Inactive: no changes are made in Keeper, and deprovisioning timers stand still."
        case State.PAUSED:
            why = connection.paused_reason or "Keeper refuses the access token"
            return f"{why}. Nothing is changed and nothing is lost: changes wait for a new access token."
        case State.DRAFT:
            return "The set-up is not finished."
        case State.DELETING:
            return f"{BEING_DELETED} Keeper accounts stay as they are."


def turning_on(forecast: Forecast | None, connection: Connection) -> str:
    """Say on a button what turning on does first, by a preview: what else it says may be held for approval."""
    number = forecast.counts.get(Would.CREATE.value, 0) if forecast is not None else 0
    everybody = " for everybody" if connection.pilot is not None else ""
    told = [f"create {counted(number, 'account')}"] if number else []
    if forecast is not None and forecast.teams is not None and forecast.teams.made:
        told.append(f"make {counted(forecast.teams.made, 'team')}")
    return " and ".join((f"Turn on{everybody}", *told))


def teams_foreseen(teams: TeamsForeseen) -> str:
    """Say what a preview tells of teams in a sentence, without its full stop."""
    if teams.problem:
        return teams.problem.rstrip(".")
    told = [f"{counted(teams.made + teams.there, 'team')}, {counted(teams.memberships, 'membership')}"]
    if teams.there:
        told.append(f"{teams.there:,} of the teams {'is' if teams.there == 1 else 'are'} in Keeper already")
    if teams.taken:
        one = teams.taken == 1
        told.append(f"{counted(teams.taken, 'name')} {'exists' if one else 'exist'} already in Keeper: adopt or leave")
    if teams.suspended:
        ends = "ends" if teams.suspended == 1 else "end"
        told.append(f"{counted(teams.suspended, 'membership')} of suspended people {ends}")
    told += [f"{TEAMS[state][0].lower()}: {count:,}" for state, count in sorted(teams.other.items())]
    if teams.unread:
        told.append(f"the members of {counted(teams.unread, 'group')} could not be read, and are not counted")
    return "; ".join(told)


def saving(forecast: Forecast, state: State) -> str:
    """Say on a button what saving does next, by a preview; what is held for approval it does not do."""
    counts = {action: forecast.counts.get(would, 0) for would, action in _SAVED.items()} if state is State.ON else {}
    if forecast.held:
        counts |= {Action.SUSPEND.value: 0, Action.DELETE.value: 0}
    told = [button.lower() for button in buttons(counts)]
    teams = forecast.teams
    if teams is not None and state is State.ON and teams.made:
        told.append(f"make {counted(teams.made, 'team')}, {counted(teams.memberships, 'membership')} in all")
    return f"Save, {', '.join(told)}" if len(told) > 1 else f"Save and {told[0]}" if told else "Save"


_SAVED: Mapping[str, str] = {  # what a preview counts, as plans name it
    Would.CREATE: Action.CREATE.value,
    Would.SUSPEND: Action.SUSPEND.value,
    Would.UNSUSPEND: Action.UNSUSPEND.value,
    Would.DELETE: Action.DELETE.value,
}


def at_time(at: datetime) -> str:
    """Write a time as pages and texts show it."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def reported(cause: Cause) -> str:
    """Say what Google reported: who did what in Workspace, and when."""
    return f"{briefly(cause)} at {cause.at.astimezone(UTC):%H:%M:%S UTC on %-d %b %Y}, as reported by Google"


_ATTRIBUTES: Mapping[str, str] = {  # those whose own name does not say it
    "displayName": "name",
    "name.givenName": "first name",
    "name.familyName": "last name",
    "name.formatted": "full name",
    "emails.value": "e-mail",
    "emails.primary": "main e-mail",
    ACCESS: "access",
    EXTERNAL_ID: "directory id",
}


def attribute_in_words(name: str) -> str:
    """Return what people call an attribute of a SCIM User: "cost center", "work phone"."""
    attribute = attribute_of(name)
    if name in _ATTRIBUTES:
        return _ATTRIBUTES[name]
    if attribute is not None and attribute.type:
        what = {"phoneNumbers": "phone", "addresses": "address"}.get(attribute.family, attribute.family)
        part = "" if attribute.part in ("value", "formatted") else f", {_apart(attribute.part)}"
        return f"{attribute.type} {what}{part}"
    return _apart(name.rpartition(":")[2].removeprefix("name."))


def _apart(name: str) -> str:
    """Set the words of a name apart: "costCenter" is "cost center"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace(".", " ").lower()


def briefly(cause: Cause) -> str:
    """Say who did what in Workspace, by Google's report."""
    what = REPORTED.get(cause.event, "Changed")
    group = f" {cause.group}" if cause.group else ""
    by = f" by {cause.actor}" if cause.actor else ""
    return f"{what}{group}{by}"


def on_day(at: datetime) -> str:
    """Write a day as pages and texts show it."""
    return f"{at.astimezone(UTC):%-d %b %Y}"


def presence(of: Presence) -> str:
    """Say how the directory shows a user."""
    return "not shown" if of is Presence.UNKNOWN else of.value


def missing_unit(unit: OrgUnit) -> str:
    """Say that a chosen organizational unit is gone; the caller continues the sentence."""
    return f"The organizational unit {unit.path} is no longer in the directory"


def became(run: Run) -> str:
    """Say what came of a run: "12 created, 3 failed"."""
    return ", ".join(f"{run.counts[name]:,} {word}" for name, word in CHANGED.items() if run.counts.get(name))


def _effects(counts: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """Yield of each action that a plan has to whom it happens ("900 people"), what would happen, and the button."""
    for action in Action:
        if number := counts.get(action.value):
            one, many, effect, button = EFFECTS[action]
            yield counted(number, one, many), effect, button


def would(counts: Mapping[str, int]) -> str:
    """Say what a plan would do: "900 people would lose access"."""
    return " and ".join(f"{whom} {effect}" for whom, effect, _ in _effects(counts))


def buttons(counts: Mapping[str, int]) -> list[str]:
    """Say on buttons what is done: "Suspend 900 people"."""
    return [button.format(whom) for whom, _, button in _effects(counts)]


def carried_out(hold: Hold) -> str:
    """Say what became of a plan that is over: "carried out: 12 suspended, 3 no longer due"."""
    done = Counter(DONE[member.action] for member in hold.those(Standing.DONE))
    other = Counter(hold.standings()) - Counter({Standing.DONE.value: len(hold.members)})
    parts = [f"{count} {what}" for what, count in (*sorted(done.items()), *sorted(other.items()))]
    return f"carried out: {', '.join(parts)}"


def described(connection: Connection) -> dict[str, Value]:
    """Describe the settings of a connection, one line each, for the audit; the token is its version's number."""
    rows = {f"mapping {row.target}": _row(row) for row in connection.settings.mapping.rows}
    policy = {f"deprovisioning {trigger.value}": _delays(connection, trigger) for trigger in Trigger}
    return {
        "name": connection.settings.name,
        "endpoint": connection.settings.endpoint,
        "access token": f"version {connection.token_version}",
        **rows,
        "scope groups": ", ".join(sorted(group.email or group.id for group in connection.settings.scope.groups)),
        "scope organizational units": ", ".join(sorted(unit.path for unit in connection.settings.scope.org_units)),
        **policy,
        "volume limit": limited(connection.settings.limit),
        "archived users are treated as suspended": connection.settings.archived_as_suspended,
        "changes in Keeper are repaired": connection.settings.repair_drift,
        "PATCH dialect": connection.settings.patch_dialect.value,
        "teams": teams_chosen(connection.settings.teams),
    }


def state_of(team: GroupTeam) -> tuple[str, str]:
    """Say what became of a group that is to be a team, and what to do."""
    return GIVEN_UP if team.given_up else TEAMS[team.state]


def teams_chosen(choice: TeamChoice) -> str:
    """Say which groups become teams, and under which limits."""
    left = "; those of groups that left are emptied" if choice.empty_left else ""
    if not choice.on:
        return f"none{left}"
    left += "; whoever is suspended is taken out" if choice.remove_suspended else ""
    left += f"; what was sent is awaited for {counted(choice.pending_days, 'day')}"
    chosen = sorted(group.email or group.id for group in choice.groups)
    which = ", ".join([*chosen, *choice.patterns])
    but = f", but {', '.join(choice.exclusions)}" if choice.exclusions else ""
    prefix = f"; roles, which begin with {choice.role_prefix}, are {'made' if choice.roles else 'not made'}"
    return f"{which}{but}; at most {choice.most}{prefix if choice.role_prefix else ''}{left}"


def _row(row: Row) -> str:
    return f"{row.source} (mandatory)" if row.required else row.source


def _delays(connection: Connection, trigger: Trigger) -> str:
    delays = connection.settings.deprovisioning.of(trigger)
    return f"suspend {after(delays.suspend_after)}, delete {after(delays.delete_after)}"


def limited(limit: VolumeLimit) -> str:
    """Say how much may be taken away at once."""
    return f"{counted(limit.minimum, 'user')} or {limit.percent:g} percent within 24 hours"


def counted(number: int, one: str, many: str = "") -> str:
    """Show a number of things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def after(days: int | None) -> str:
    """Say when something is due, so many days after a trigger; None is never."""
    if days is None:
        return "never"
    return "within 24 hours" if days == WITHIN_24_HOURS else f"after {counted(days, 'day')}"
