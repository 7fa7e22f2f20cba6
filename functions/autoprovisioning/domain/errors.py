"""Errors named by what the caller does next.

The doors map the four families to HTTP and Pub/Sub answers in one table (`entrypoints/answers.py`); texts name the
field, the problem and the mend, and never carry a token or a response body that could hold one.
"""

from __future__ import annotations


class ProvisioningError(Exception):
    """Base of every error this system raises on purpose; `code` is a stable word for logs, events and pages."""

    code = "error"
    defers = False  # the work is not lost and not a failure: it waits for a retry, an approval or a new token
    about = ""  # what it depends on besides what was attempted: once that changes, it is attempted again at once


class BadInput(ProvisioningError):
    """The caller's input is refused, nothing was done: names the field, what is wrong with it and the mend."""

    code = "bad_input"

    def __init__(self, field: str, problem: str, mend: str) -> None:
        super().__init__(f"{field}: {problem}. {mend}")
        self.field = field
        self.problem = problem
        self.mend = mend


class Forbidden(ProvisioningError):
    """The caller is known but may not do this, or is not known at all."""

    code = "forbidden"


class NotFound(ProvisioningError):
    """What the caller named does not exist."""

    code = "not_found"


class Stale(ProvisioningError):
    """The caller acted on an older revision than the one in force; reread and try again."""

    code = "stale"


class WrongState(ProvisioningError):
    """What was asked for is not possible now, but will be (RFC 9110 15.5.10)."""

    code = "wrong_state"


class Transient(ProvisioningError):
    """Worth trying again: 429, 5xx, timeout, contention. `retry_after` is in seconds, where the other side said."""

    code = "transient"
    defers = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Transient):
    """Another holder works on the same thing; its lease has not run out."""

    code = "busy"


class EarlierDelivery(Busy):
    """An earlier delivery of the same message marked the user: it is at work still, or its worker died.

    Only this message can tell what became of it, once the mark has run out: it must come again until then.
    """


class Contention(Transient):
    """A compare-and-set lost too many races in a row."""

    code = "contention"


class Throttled(Transient):
    """Keeper asked us to slow down (429, or 403 "throttled"); the whole connection waits `retry_after` seconds."""

    code = "throttled"


class Waiting(Throttled):
    """The wait that Keeper asked this connection for is not over; nothing was sent, so no wait is prolonged."""


class Unresolved(Transient):
    """A write went out and its answer was lost: the account must be fetched before anything is sent again."""

    code = "unresolved"


class KeeperFailed(Transient):
    """Keeper failed on this one user's request each time it was tried, with an answer that says nothing about the user.

    It counts against the user: after some attempts it is that user's failure.
    """

    code = "keeper_failed"


class NotAsWritten(KeeperFailed):
    """Keeper answered a write with a success that proves nothing, and the account itself is not as written."""


class DirectoryFailed(Transient):
    """The directory failed to show this one user each time it was asked, while it shows others; counted at the user."""

    code = "directory_failed"


class NotSent(Transient):
    """The deadline or a refusal of the whole connection came before this write was sent."""

    code = "not_sent"


class Incomplete(Transient):
    """A directory listing could not be read to its end: it proves nothing about who is missing from it."""

    code = "incomplete_listing"


class Permanent(ProvisioningError):
    """Trying the same again cannot help: recorded as that user's failure."""

    code = "permanent"


class MappingFailure(Permanent):
    """A mandatory attribute has no value, or a value does not fit its SCIM attribute."""

    code = "mapping"


class Rejected(Permanent):
    """Keeper refused this account's data (400 and other 4xx without a meaning of their own)."""

    code = "rejected"


class AddressTaken(Permanent):
    """409: another account holds this e-mail address.

    `about` is the directory id of the user of this connection who has it; empty if nobody on the roster has it.
    """

    code = "address_taken"

    def __init__(self, message: str, *, about: str = "") -> None:
        super().__init__(message)
        self.about = about


class NotAdoptable(Permanent):
    """The account found belongs to another directory user, or another roster entry holds it."""

    code = "not_adoptable"


class AdoptionInDoubt(NotAdoptable):
    """The account found may be somebody else's: an administrator's confirmation is needed to adopt it.

    `detail` names the account's address and what speaks against it; `about` names what had been confirmed for the user.
    """

    code = "adoption_in_doubt"

    def __init__(self, user_name: str, doubts: str, scim_id: str, about: str = "") -> None:
        super().__init__(
            f"The account under {user_name} in Keeper may not be this user's: {doubts}. Confirm it in a preview."
        )
        self.detail = f"{user_name}: {doubts}"
        self.scim_id = scim_id
        self.about = about


class NotOffered(Permanent):
    """Keeper cannot do this at all (501, RFC 9110 15.6.2): sending it again cannot help."""

    code = "not_offered"


class Contradicted(Permanent):
    """Keeper answered a write with a success, but shows something other than what was written."""

    code = "contradicted"


class SeatsExhausted(Permanent):
    """428: the number of licensed Keeper seats was exceeded."""

    code = "seats_exhausted"


class AccountGone(Permanent):
    """404 on a SCIM id we know: deleted, or re-created under a new id, in Keeper's Admin Console."""

    code = "account_gone"


class ConfigurationRefused(Permanent):
    """The directory or Keeper refuses our set-up itself (delegation, scopes, endpoint), not one user."""

    code = "configuration"


class Unindexed(ConfigurationRefused):
    """Firestore lacks an index, or is still building it: only the queries that need it have no answer."""


class AuthorizationRefused(ProvisioningError):
    """Keeper answered 401 or 403 (not throttled) to one request; whether the token is dead needs a probe."""

    code = "authorization_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ReauthorizationRequired(ProvisioningError):
    """The probe was refused too: the connection is paused until a super administrator reauthorizes it."""

    code = "reauthorization_required"
    defers = True


class Vanished(ProvisioningError):
    """The account of somebody entitled is not in Keeper any more: whether it is created again is decided anew."""

    code = "vanished"
    defers = True


class Unforeseen(ProvisioningError):
    """An unforeseen error: its stack trace is in the log, and no part of it in an answer."""

    code = "unforeseen"
