"""Decide about a held plan: about all, some, or one cause of it; and read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

from autoprovisioning.app.services import Services
from autoprovisioning.domain.approval import Approval
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput, NotFound, Stale
from autoprovisioning.domain.events import Actor, Event, decided_about
from autoprovisioning.domain.guard import Kind, Member
from autoprovisioning.domain.holds import DECIDED, OPEN, STANDS, Hold, Standing, Verdict
from autoprovisioning.domain.runs import RunKind

Choice = Literal["approve", "reject", "withdraw"]
TAKES: Mapping[Choice, Standing] = {
    "approve": Standing.APPROVED,
    "reject": Standing.REJECTED,
    "withdraw": Standing.WITHDRAWN,
}
FOLLOWS = "a reconciliation is requested and carries it out, reading each user again"  # what an approval leads to


def decide_hold(
    services: Services,
    connection_id: str,
    digest: str,
    choice: Choice,
    actor: Actor,
    *,
    users: Collection[str] | None = None,
    cause: str = "",
    among: Collection[Standing] | None = None,
    number: int | None = None,
    shown: datetime | None = None,
) -> Hold:
    """Decide about a held plan: about all members that wait, chosen users, or those due for one cause.

    A member that was decided already is decided again, unless it is done or `among` says which standings are meant.
    `number` is how many changes it is to be about. `shown` is when the plan was shown to whoever decides: what somebody
    else has decided since is not overruled unseen. Withdrawing revokes decisions, all or the chosen ones; members still
    due then wait in the plan. The requested run carries out what is approved, reading each user again.

    Raises:
        NotFound: there is no such plan.
        BadInput: naming the field that matches nobody in the plan; users=None means everybody.
        Stale: nothing of it is left that can be decided that way, another number of changes, or it was decided since.
    """
    if users is not None and not users:
        raise BadInput("users", "nobody is named", "Name users of the plan, or omit the field to mean all of them.")
    stamp, chosen = services.stamp(actor), frozenset(users or ())
    becomes = TAKES[choice]
    if among is None:
        among = DECIDED if choice == "withdraw" else STANDS if chosen or cause else OPEN

    def meant(member: Member) -> bool:
        return (not chosen or member.resource in chosen) and (not cause or member.cause == cause)

    def decide(hold: Hold) -> Hold:
        if not any(meant(member) for member in hold.members):
            field = "users" if chosen else "cause"
            raise BadInput(field, "it matches nobody in this plan", "Reload the held plan, then choose.")

        _refuse_if_decided_since(shown, [verdict for member, verdict in hold.each() if meant(member)])

        def move(member: Member, verdict: Verdict) -> Standing | None:
            return becomes if verdict.standing in among and meant(member) else None

        decided = hold.moved(move, stamp.at, actor.address)
        if decided is hold:
            state = hold.state.value
            raise Stale(
                f"Nothing in held plan {digest} can be decided that way any more: it is {state}. Reload the plan."
            )
        if number is not None and (count := _moved(hold, decided)) != number:
            raise Stale(f"The plan has changed: this would be about {count} changes, not {number}. Look at it again.")
        return decided

    def tell(was: Hold, decided: Hold) -> Event:
        what = f"{_moved(was, decided)} of {len(was.members)} of held plan {digest}: {becomes.value}"
        return decided_about(stamp, what, was.state.value, becomes.value)

    decided = services.holds.change(connection_id, digest, decide, tell)
    if decided is None:
        raise _unknown(digest)
    if becomes is Standing.APPROVED:
        services.queue.request_run(RunKind.FULL)  # which carries it out; no other decision changes anything
    return decided


def _refuse_if_decided_since(shown: datetime | None, verdicts: Collection[Verdict]) -> None:
    decided = [verdict.at for verdict in verdicts if verdict.standing in DECIDED and verdict.at is not None]
    since = sum(at > shown for at in decided) if shown is not None else 0
    if since:
        raise Stale(f"Somebody has decided about {since} of them since. Look at the plan again.")


def _moved(was: Hold, decided: Hold) -> int:
    return sum(old is not new for old, new in zip(was.verdicts, decided.verdicts, strict=True))


def review_of(services: Services, connection: Connection, hold: Hold) -> Approval:
    """Join a held plan with the people of the connection; a handful of documents is read, however many it affects."""
    accounts = services.unprovisioned.locks(connection.id).values() if hold.kind is Kind.LOCKING else ()
    return Approval(hold, services.people.read(connection, services.clock()), accounts)


def existing_hold(services: Services, connection_id: str, digest: str) -> Hold:
    """Read a held plan; raises NotFound."""
    hold = services.holds.get(connection_id, digest)
    if hold is None:
        raise _unknown(digest)
    return hold


def _unknown(digest: str) -> NotFound:
    return NotFound(f"No held plan has the digest {digest!r}. Reload the held plans and use one shown there.")
