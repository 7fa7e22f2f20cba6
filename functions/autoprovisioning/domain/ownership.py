"""Whose user it is: of the connections whose scope holds a user, the one that has them already; else the first.

    scope holds the user   what the connection's roster has                   rank
    yes                    an account, and the user belonged here last        1
    could not be told      an account, and the user belonged here last        1: the user stays, nobody else takes them
    yes                    an active account (the user had left, say)         2
    yes                    a suspended, deleted or locked account             3
    yes                    no account                                         4
    could not be told      anything else                                      none: nobody waits for it
    no                     anything                                           none

The best rank wins; of equal ones the first connection in the administrator's order. So a connection that comes first,
or whose scope becomes readable again, takes nobody away from another one, and a scope group of the first one that
cannot be read keeps nobody from being hired by the second.

A move is make before break: a user who leaves one connection's scope for another's keeps the old account until the new
one is active. Keeper's addresses are unique across nodes and its DELETE locks, so taking the old account away first
would free nothing; if the old account is in the way of the new one, the user keeps it, and a failure says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .entry import Action, Entry, Status

_BELONGS, _ACTIVE, _ACCOUNT, _NOTHING = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A connection that a user may belong to.

    `in_scope` is what its own scope says, None if not known. `entry` is the roster's. `keeper` names the Keeper
    instance of its node, in which SCIM ids are unique. `ready` says that it can be written to, and that no held plan
    keeps this user out.
    """

    connection_id: str
    in_scope: bool | None
    entry: Entry | None = None
    keeper: str = ""
    ready: bool = True

    def rank(self) -> int | None:
        """Return how strong its claim is, 0 first; None where it has none."""
        entry = self.entry
        known = entry is not None and (entry.status is not Status.NONE or _being_made(entry))
        if entry is not None and known and entry.in_scope:
            return _BELONGS if self.in_scope is not False else None
        if not self.in_scope:
            return None
        if entry is None or not known:
            return _NOTHING
        return _ACTIVE if entry.status is Status.ACTIVE else _ACCOUNT

    def lets_in(self) -> bool:
        """Say whether the user has access here, or somebody else's lock is all that is in the way."""
        return self.entry is not None and self.entry.status in (Status.ACTIVE, Status.LOCKED)

    def stuck(self) -> bool:
        """Say whether access here has to wait for something."""
        entry = self.entry
        return not self.ready or (entry is not None and (entry.pending or entry.failure is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a user belongs.

    `in_scope` is the scope of each connection for this user, by id: false where another one has them, None where it is
    not known. `owner` is the connection that they belong to, empty if there is none or it is not known. `awaited` says
    that the owner has not let them in yet, `stuck` that this waits for something. `overlaps` are the connections whose
    scope holds them too. `handed` are those whose account may be on the owner's node by now, moved there in Keeper's
    Admin Console: both rosters name it, so their own node is asked before it is locked. `outdated` are those whose
    record of a lock of ours is older than the access that the same account had on another one: if it is locked,
    somebody else may have locked it since.
    """

    in_scope: Mapping[str, bool | None] = field(default_factory=dict)
    owner: str = ""
    awaited: bool = False
    stuck: bool = False
    overlaps: tuple[str, ...] = ()
    handed: frozenset[str] = frozenset()
    outdated: frozenset[str] = frozenset()


def place(candidates: Sequence[Candidate]) -> Placement:
    """Give the user to one of the connections, which come in the administrator's order; pure."""
    told = {each.connection_id: each.in_scope for each in candidates}
    ranked = [(rank, number) for number, each in enumerate(candidates) if (rank := each.rank()) is not None]
    if not ranked:
        return Placement(in_scope=told)
    owner = candidates[min(ranked)[1]]
    others = [each for each in candidates if each is not owner]
    overlapping = [each.connection_id for each in others if each.in_scope]
    if owner.in_scope is None:
        return Placement(in_scope=told | dict.fromkeys(overlapping))
    awaited = not owner.lets_in() or any(_stayed(owner, each) for each in others)
    return Placement(
        in_scope=told | dict.fromkeys(overlapping, False),
        owner=owner.connection_id,
        awaited=awaited,
        stuck=awaited and owner.stuck(),
        overlaps=tuple(overlapping),
        handed=frozenset(each.connection_id for each in others if _same_account(each, owner)),
        outdated=frozenset(
            one.connection_id for one in candidates if any(_open_since(one, other) for other in candidates)
        ),
    )


def _being_made(entry: Entry) -> bool:
    return entry.mark is not None and entry.mark.action is Action.CREATE


def _same_account(one: Candidate, other: Candidate) -> bool:
    """Say whether two rosters name the same account; without a moved one only where ids are not unique after all."""
    if one.entry is None or other.entry is None or one.keeper != other.keeper:
        return False
    return one.entry.scim_id == other.entry.scim_id != ""


def _stayed(owner: Candidate, other: Candidate) -> bool:
    """Say whether the account that is locked by the owner's record is active by that of another connection.

    A node shows its own accounts alone: until this one is moved back the owner can neither see nor unlock it.
    """
    if not _same_account(owner, other) or owner.entry is None or other.entry is None:
        return False
    return owner.entry.status is Status.LOCKED and other.entry.status is Status.ACTIVE


def _open_since(one: Candidate, other: Candidate) -> bool:
    """Say whether the account that one suspended was another one's, and not suspended there, later."""
    if not _same_account(one, other) or one.entry is None or other.entry is None:
        return False
    taken, given = one.entry.locked_at, other.entry.last_action_at
    let_in = one.entry.status is Status.SUSPENDED and other.lets_in()
    return let_in and taken is not None and given is not None and taken < given
