"""Whether a user of the roster must be looked at between two full runs: to leave, or because something waited.

The table of `domain/decision.py` decides, as in a full run, by what the listings of suspended and deleted users say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from .decision import SECOND_LISTING, Do, Nothing, Observed, Rules, decide
from .directory_user import DirectoryUser, Presence
from .entry import ACCOUNT, Action, Entry, Status, Trigger
from .guard import member_of
from .holds import Book, Standing
from .settings import VolumeLimit


class Reason(StrEnum):
    """Why a user is looked at."""

    LEAVER = "leaver"  # access is to be taken
    WAITED = "waited"  # for an attempt, a mark to run out, a timer to begin, another look, or a new account
    LISTING = "listing"  # only a full run's listings tell


def crowd(number: int, roster: Mapping[str, Entry], limit: VolumeLimit) -> bool:
    """Say whether so many leavers are too many to be looked at one by one: a full run holds them as one plan."""
    return number > limit.taken(sum(entry.status is Status.ACTIVE for entry in roster.values()))


def reason_to_look(
    entry: Entry, user: DirectoryUser | None, rules: Rules, book: Book, now: datetime, *, listed_at: datetime
) -> Reason | None:
    """Say why to look; None where nothing is due.

    `user` is as the listings of suspended, archived and deleted users have them, None if they have not. `book` holds
    what administrators decided, `listed_at` is when the last full run began.
    """
    waits = entry.failure is not None and now < entry.failure.next_attempt
    if entry.mark is not None:
        return None if waits or entry.mark.live(now) else Reason.WAITED
    if entry.missing_since is not None and listed_at - entry.missing_since < SECOND_LISTING:
        return Reason.LISTING  # complete listings lack the user: another one is to say so, too
    leaver = _leaver(entry, user, rules, book, now)
    if leaver is not None:
        return leaver
    attempts = entry.failure is not None and not waits
    waited = attempts or entry.pending or entry.again or _restored(entry, user) or _vanished(entry, book)
    return Reason.WAITED if waited else None


def _leaver(entry: Entry, user: DirectoryUser | None, rules: Rules, book: Book, now: datetime) -> Reason | None:
    """Decide as a full run would."""
    seen = _seen(entry, user)
    if seen is None or entry.status is Status.NONE:
        return None
    told = Reason.LEAVER if user is not None else Reason.LISTING
    match decide(entry, seen, rules, now):
        case Do(action=action, noted=noted, trigger=trigger) if action.deprovisions:
            verdict = book.verdict(member_of(action, noted, trigger, {}))
            return None if verdict is not None and verdict.standing is Standing.REJECTED else told
        case Nothing(unsure=True):
            return told
        case Nothing(noted=Entry() as noted) if noted.timers.keys() != entry.timers.keys() or noted.gone != entry.gone:
            return Reason.WAITED
    return None


def _seen(entry: Entry, user: DirectoryUser | None) -> Observed | None:
    """Return what is known of whoever may have to leave; the profile, which is mapped for others, is no part of it.

    Of whom the listings do not tell it is as was noted: out of scope, which only members tell, or deleted for longer
    than the directory lists it.
    """
    if user is not None:
        return Observed(
            user_id=user.id, presence=user.presence, in_scope=None, email=user.primary_email, since=user.since
        )
    if entry.gone:
        return Observed(user_id=entry.user_id, presence=Presence.DELETED, in_scope=None, email=entry.email)
    if Trigger.APP_OFF in entry.timers and not entry.in_scope:
        return Observed(user_id=entry.user_id, presence=Presence.ACTIVE, in_scope=False, email=entry.email)
    return None


def _restored(entry: Entry, user: DirectoryUser | None) -> bool:
    """Say whether somebody was suspended, and is not by now; the timer of who is archived instead stands still."""
    timer = entry.timers.get(Trigger.SUSPENDED)
    return user is None and not entry.gone and timer is not None and timer.running_since is not None


def _vanished(entry: Entry, book: Book) -> bool:
    """Say whether an account that vanished from Keeper is still to be created again, as far as nobody rejected that."""
    if entry.status is not Status.ACTIVE or not entry.in_scope or ACCOUNT not in entry.drift:
        return False
    verdict = book.verdict(member_of(Action.RECREATE, entry, None, {}))
    return verdict is None or verdict.standing is not Standing.REJECTED
