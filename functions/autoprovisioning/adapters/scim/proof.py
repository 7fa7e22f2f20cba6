"""What Keeper's answer to a write proves: that it is done, nothing, or that it was refused and why. Pure.

A success alone proves nothing: gateways answer 200 with a page of their own. It is believed with the account in its
body, with 204 (RFC 7644 3.5.2, 3.6), and in Bulk, where the account is optional (3.7.3). What names another account,
another access, another externalId, or another value than a server may have made of the one sent, contradicts the write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from autoprovisioning.adapters.scim.names import spelled
from autoprovisioning.adapters.scim.protocol import Answer, error_of, words
from autoprovisioning.adapters.scim.resources import CORE, read_account, read_listed
from autoprovisioning.domain.accounts import Account, Write, WriteKind, Written
from autoprovisioning.domain.entry import TEXT_LIMIT
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    Contradicted,
    NotAsWritten,
    NotOffered,
    ProvisioningError,
    Rejected,
    SeatsExhausted,
    Unresolved,
)
from autoprovisioning.domain.normalization import made_of
from autoprovisioning.domain.scim_user import ADDRESSES

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
NAMES = 60  # characters of attribute names in an error
SHORTEST_WORDS = 40  # characters of Keeper's own words, however long the rest of an error is
LOOK = "Look at this account in Keeper's Admin Console."
NOT_OFFERED = frozenset({405, 501, 505})


def proven(write: Write, answer: Answer) -> Written | None:
    """Return what a success proves; None where only the account itself can tell whether the write was done."""
    if answer.status == 204 and write.kind is not WriteKind.CREATE:
        return Written(key=write.key, scim_id=write.scim_id, seconds=answer.seconds)
    account = _shown(write, answer.body)
    if account is None or answer.status == 202:  # accepted, and not done yet (RFC 9110 15.3.3)
        return None
    if write.kind is WriteKind.DELETE:
        gone = account.scim_id == write.scim_id and not account.active
        return Written(key=write.key, scim_id=write.scim_id, seconds=answer.seconds) if gone else None
    if write.active is not None and write.kind is WriteKind.PATCH and _named(answer.body, "active") is None:
        return None
    if write.kind is WriteKind.CREATE and not (account.user_name or account.external_id):
        return None  # an id alone names somebody's account, and not whose
    differing = contradictions(write, account)
    if differing:
        text = (
            f"Keeper answered {answer.status} to {_doing(write)}, but shows something else: {_names(differing)}. {LOOK}"
        )
        made = _made(write, account, differing)
        return Written(key=write.key, scim_id=made, error=Contradicted(text), seconds=answer.seconds)
    return Written(key=write.key, scim_id=account.scim_id, seconds=answer.seconds, shown=account.attributes)


def proven_in_bulk(write: Write, result: Mapping[str, Any], operation: Answer) -> Written | None:
    """Return what the success of one operation proves; None as above, and if it is about another account.

    The place of a result in the answer is only a guess: one that does not name the write must show its account. And
    without a response, only 201 is a creation (RFC 7644 3.3): anything else may mean an account that was there before.
    """
    named, response = last_part(result), result.get("response")
    if operation.status == 202 or (write.scim_id and named not in ("", write.scim_id)):
        return None
    if response:
        written = _proven_by_response(write, named, replace(operation, status=200))  # nor is 204 one with a response
        return written if written is None or written.error is None or names(result, write) else None
    if write.kind is WriteKind.DELETE or (write.kind is WriteKind.PATCH and write.active is not None):
        return None  # access counts as given or taken only where it is shown
    if not names(result, write):
        return None
    if write.kind is WriteKind.PATCH:
        return Written(key=write.key, scim_id=write.scim_id, seconds=operation.seconds)
    account = read_account({"id": named}) if operation.status == 201 else None
    return Written(key=write.key, scim_id=account.scim_id, seconds=operation.seconds) if account is not None else None


def names(result: Mapping[str, Any], write: Write) -> bool:
    """Say whether a result of Bulk names the write: by its bulkId, or the account's id in the location."""
    return str(result.get("bulkId") or "") == write.key or (write.scim_id != "" and last_part(result) == write.scim_id)


def _proven_by_response(write: Write, named: str, operation: Answer) -> Written | None:
    told, expected = _named(operation.body, "id"), named or write.scim_id
    if told is None:
        operation = replace(operation, body={"id": named, **(operation.body or {})})
    elif expected and str(told) != expected:
        return None
    return proven(write, operation)


def proven_by_account(write: Write, status: int, seen: Answer, now: datetime) -> Written:
    """Return what the account itself proves, read by its id after a success that proved nothing.

    Raises:
        Unresolved: that cannot be found out.
    """
    account = _shown(write, seen.body) if seen.ok else None
    if seen.status == 404 and write.kind is WriteKind.DELETE:
        return Written(key=write.key, scim_id=write.scim_id)
    if seen.status == 404:
        return Written(key=write.key, error=refused(write, seen, now))
    if account is None or account.scim_id != write.scim_id:
        raise Unresolved(f"Keeper answered {status} to {_doing(write)}, and does not show the account")
    if _about_teams(write) and not _in_teams(write, account):
        raise Unresolved(f"Keeper answered {status} to {_doing(write)}, and does not show them so")
    return as_written(write, account, f"Keeper answered {status}", later=status == 202)


def as_written(write: Write, account: Account, told: str, *, later: bool = False) -> Written:
    """Return what an account that was looked up proves; `later` says that the write may still be carried out."""
    differing = contradictions(write, account)
    if not differing:
        return Written(key=write.key, scim_id=account.scim_id, shown=account.attributes)
    text = f"{told}, but the account is not as written ({_names(differing)}). It is retried."
    if later:
        return Written(key=write.key, error=Unresolved(text))
    return Written(key=write.key, scim_id=_made(write, account, differing), error=NotAsWritten(text))


def _made(write: Write, account: Account, differing: list[str]) -> str:
    """Return the id of the account that a creation made, though not as written; "" if it may be anybody's.

    It is the new one where it shows the externalId sent, or the userName and no other externalId.
    """
    named = account.external_id == write.external_id or not {"externalId", "userName"} & {*differing}
    return account.scim_id if write.kind is WriteKind.CREATE and named else ""


def contradictions(write: Write, account: Account) -> list[str]:
    """Name what an account shows differently from what a write sent; what it does not show contradicts nothing."""
    shown, differing = account.attributes, []
    if write.scim_id and account.scim_id != write.scim_id:
        differing.append("id")
    active = {WriteKind.CREATE: True, WriteKind.PATCH: write.active, WriteKind.DELETE: False}[write.kind]
    if active is not None and account.active is not active:
        differing.append("active")
    if write.external_id and account.external_id not in ("", write.external_id):
        differing.append("externalId")
    for target, value in write.attributes.items():
        if value is None and write.kind is WriteKind.CREATE:
            continue
        if shown.get(target) not in (value, None, "") and not made_of(target, shown, write.attributes):
            differing.append(target)
    return differing


def refused(write: Write, answer: Answer, now: datetime) -> ProvisioningError:
    """Translate an answer that is not a success into what it means for this write."""
    error = error_of(answer, now, known_account=write.kind is not WriteKind.CREATE)
    kind, mend = _meaning(write, answer.status, error)
    if kind is None:
        return error
    head, tail = f"Keeper refuses {_doing(write)} (HTTP {answer.status}", f"). {mend}"
    said = words(answer)[: max(SHORTEST_WORDS, TEXT_LIMIT - len(head) - len(tail) - 2)]
    return kind(f"{head}: {said}{tail}" if said else head + tail)


def _meaning(write: Write, status: int, error: ProvisioningError) -> tuple[type[ProvisioningError] | None, str]:
    """Return the error of a refusal and its fix; None if it does not depend on what was attempted."""
    if _about_teams(write) and isinstance(error, Rejected | NotOffered | AccountGone):
        kind = NotOffered if status in NOT_OFFERED else type(error)
        return kind, "Look in Keeper's Admin Console whether its teams are there, and this node may change them."
    sends_address = any(address in write.attributes for address in ADDRESSES)
    opens = write.kind is WriteKind.CREATE or write.active is True
    match status:
        case 404 if write.scim_id:
            return AccountGone, "It no longer has this account, which is looked up again."
        case 404:
            return Rejected, "Check the connection's endpoint URL."
        case 409 if sends_address:
            return AddressTaken, "Another account holds this e-mail address: free it there, or change it here."
        case 409:
            return Rejected, f"The account's state in Keeper prevents this. {LOOK}"
        case 428 if opens:
            return SeatsExhausted, "No licensed seats are left: buy seats, or free some."
        case 413:
            return Rejected, "The user's attributes are too long: shorten them, or map fewer."
        case 400 | 422 if write.attributes:
            return Rejected, "Correct the attribute that Keeper names, in the directory or in the attribute mapping."
        case 400 | 422 if write.kind is WriteKind.PATCH:
            return Rejected, "Try the connection's other PATCH dialect."
        case 412 | 428:
            return Rejected, "It requires a condition that is never sent. Ask Keeper's support."
    if status in NOT_OFFERED:
        return NotOffered, f"It does not support this. {LOOK}"
    return (Rejected, LOOK) if isinstance(error, Rejected) else (None, "")


def _in_teams(write: Write, account: Account) -> bool:
    """Say whether an account shows the teams that a write left it in; one that waits for Keeper is not shown."""
    return account.teams is not None and {*write.joins} <= {*account.teams} and not {*write.leaves} & {*account.teams}


def _about_teams(write: Write) -> bool:
    """Say whether a write changes teams alone."""
    beside = write.attributes or write.external_id is not None or write.active is not None
    return bool(write.joins or write.leaves) and not beside


def _doing(write: Write) -> str:
    if _about_teams(write):
        return "changing this account's teams"
    match write.kind:
        case WriteKind.CREATE:
            return "creating this account"
        case WriteKind.DELETE:
            return "deleting this account"
    if write.active is not None:
        return "reactivating this account" if write.active else "suspending this account"
    return "updating this account" if write.external_id is None else "adopting this account"


def _names(targets: list[str]) -> str:
    """Name attributes without the URN of their schema."""
    return ", ".join(target.rpartition(":")[2] for target in targets)[:NAMES]


def last_part(result: Mapping[str, Any]) -> str:
    """Return the id at the end of a result's location, percent-decoded as `user_path` encoded it; empty without one."""
    location = result.get("location")
    part = unquote(location.rstrip("/").rpartition("/")[2]) if isinstance(location, str) else ""
    return "" if part.lower() == "users" else part


def _shown(write: Write, body: Mapping[str, Any] | None) -> Account | None:
    """Read the User that an answer shows; None where it shows none: an error, a listing, somebody else's page.

    Raises:
        Permanent: the account created has an id that cannot be used.
    """
    schemas = _named(body, "schemas")
    listed = schemas if isinstance(schemas, list) else []
    if not body or ERROR in listed or not (_named(body, "userName") or CORE in listed):
        return None
    if write.kind is WriteKind.CREATE:
        account = read_account(body)  # one that can never be addressed is there all the same: that user's failure
    else:
        found = read_listed(body)
        account = None if found.flaw else found
    if account is None or write.active is None or _named(body, "active") is not None:
        return account
    return replace(account, active=write.active)  # not shown: no contradiction


def _named(body: Mapping[str, Any] | None, name: str) -> Any:
    """Return an attribute, whose name is compared without case (RFC 7643 2.1)."""
    return spelled(body).get(name) if body else None
