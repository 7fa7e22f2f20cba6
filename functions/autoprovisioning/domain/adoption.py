"""Adoption: which of the accounts found in Keeper may become a user's.

    account                                       under the primary address          under an alias
    carries this directory id as externalId       adopted (whatever its address)     adopted
    carries another one, or a roster entry of     refused: NotAdoptable              left alone, as if not there
    another user holds its SCIM id
    an administrator confirmed this very pair     adopted                            adopted
    none of these                                 adopted if nothing speaks against  left alone and reported: a new
                                                  it, else AdoptionInDoubt           account is made

An address passes from hand to hand, and a vault must not go with it. What speaks against an account under the primary
address: a deleted user had the address (the directory lists the deleted for 20 days), the account is older than the
user, or it cannot be told whether it is so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from .accounts import Account, Attributes, whole_fingerprint
from .errors import AdoptionInDoubt, NotAdoptable

DELETED_HAD_IT = "a recently deleted user had this address"

RecordedLocks = Set[
    tuple[str, str]
]  # (directory id, SCIM id), and (directory id, address casefolded), of suspended accounts
Confirmed = Mapping[str, frozenset[str]]  # directory id -> SCIM ids that an administrator confirmed for this user


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeker:
    """A user for whom accounts were looked up.

    `primary` are the userName that the account is to have and the user's primary address, where that is another.
    """

    user_id: str
    primary: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    created: datetime | None = None  # the directory's creationTime

    @classmethod
    def of(
        cls, user_id: str, desired: Attributes, email: str, aliases: Iterable[str], created: datetime | None
    ) -> Seeker:
        """Return the user whose account is to have these attributes; `email` is the primary address."""
        wanted = str(desired.get("userName") or email)
        primary = tuple(dict.fromkeys((wanted, email or wanted)))
        return cls(user_id=user_id, primary=primary, aliases=tuple(aliases), created=created)

    @property
    def names(self) -> tuple[str, ...]:
        """The userNames under which an account may be found: the wanted one, the primary one, then aliases."""
        return tuple(dict.fromkeys((*self.primary, *self.aliases)))

    def has(self, address: str) -> bool:
        """Say whether it is a primary address of this user; compared without case (RFC 7643 4.1.1)."""
        return address.casefold() in map(str.casefold, self.primary)


class Grounds(Protocol):
    """What decides about adoptions besides the user and the account; each part is read only if it matters."""

    @property
    def held_by(self) -> Mapping[str, str]:
        """SCIM id -> directory id, over the rosters of all connections."""

    @property
    def locks(self) -> RecordedLocks:
        """What we locked ourselves, over the rosters of all connections."""

    @property
    def deleted_addresses(self) -> frozenset[str] | None:
        """The primary addresses of the directory's deleted users, casefolded; None where they could not be listed."""

    @property
    def confirmed(self) -> Confirmed:
        """What administrators confirmed on this connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Grounds of which every part is known already."""

    held_by: Mapping[str, str] = field(default_factory=dict)
    deleted_addresses: frozenset[str] | None = frozenset()
    confirmed: Confirmed = field(default_factory=dict)
    locks: RecordedLocks = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """An account in Keeper under an alias of a user who gets a new one: it is left alone, and reported."""

    scim_id: str
    user_name: str
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The account to adopt, or None: then a new one is made beside those under aliases of the user."""

    account: Account | None = None
    confirmed: bool = False
    beside: tuple[Beside, ...] = ()


def choose(accounts: Iterable[Account], seeker: Seeker, grounds: Grounds) -> Choice:
    """Choose among the accounts found: ours by externalId, else as the table above says, the wanted address first.

    Raises:
        NotAdoptable: the wanted address belongs to an account that is another user's.
        AdoptionInDoubt: an account under a primary address may be somebody else's.
    """
    found = ranked(accounts, seeker.names)
    ours = [account for account in found if account.external_id == seeker.user_id]
    beside: list[Beside] = []
    for account in (*ours, *found):
        if not _free(account, seeker.user_id, grounds.held_by):
            if account.user_name.casefold() == seeker.primary[0].casefold():
                raise NotAdoptable(
                    f"The address {account.user_name} belongs to another directory user's account in Keeper. "
                    "Give this user another address, or rename or delete the other account in Keeper's Admin Console."
                )
            continue
        if account.external_id:
            return Choice(account=account)
        confirmed = grounds.confirmed.get(seeker.user_id, frozenset())
        if account.scim_id in confirmed:
            return Choice(account=account, confirmed=True)
        if not seeker.has(account.user_name):
            beside.append(Beside(scim_id=account.scim_id, user_name=account.user_name, locked=not account.active))
            continue
        doubts = _doubts(account, seeker, grounds.deleted_addresses)
        if not doubts:
            return Choice(account=account)
        raise AdoptionInDoubt(account.user_name, "; ".join(doubts), account.scim_id, settled_by(confirmed))
    return Choice(beside=tuple(beside))


def _free(account: Account, user_id: str, held_by: Mapping[str, str]) -> bool:
    """Say whether the account is this user's or nobody's, judging by directory ids."""
    return account.external_id in ("", user_id) and held_by.get(account.scim_id, user_id) == user_id


def locked_by_us(account: Account, user_id: str, locks: RecordedLocks) -> bool:
    """Say whether the lock of an account is our own suspension of this user, on whichever connection.

    An account keeps its SCIM id where it is moved from node to node; where not, its address and our externalId tell.
    """
    ours = account.external_id == user_id and (user_id, account.user_name.casefold()) in locks
    return not account.active and (ours or (user_id, account.scim_id) in locks)


def _doubts(account: Account, seeker: Seeker, deleted_addresses: frozenset[str] | None) -> list[str]:
    """Say what speaks against an account under a primary address being this user's."""
    doubts: list[str] = []
    if deleted_addresses is None:
        doubts.append("the directory did not list its deleted users")
    elif account.user_name.casefold() in deleted_addresses:
        doubts.append(DELETED_HAD_IT)
    if account.created is None:
        doubts.append("Keeper does not say when it was created")
    elif seeker.created is None:
        doubts.append("the directory does not say when the user was created")
    elif account.created < seeker.created:
        doubts.append("it is older than the user in the directory")
    return doubts


def settled_by(confirmed: frozenset[str]) -> str:
    """Name what was confirmed for a user: when the name changes, a failure for doubt is retried."""
    return whole_fingerprint(dict.fromkeys(confirmed, True)) if confirmed else ""


def ranked(accounts: Iterable[Account], names: Sequence[str]) -> tuple[Account, ...]:
    """Put first the account under the wanted address, then those under aliases in their order, then any other.

    A node may hold several accounts with one externalId: a provisioner that made a second one for a new address left
    the first one locked.
    """
    order = {name.casefold(): position for position, name in reversed(list(enumerate(names)))}
    return tuple(sorted(accounts, key=lambda account: order.get(account.user_name.casefold(), len(order))))
