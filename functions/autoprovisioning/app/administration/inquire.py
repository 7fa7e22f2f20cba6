"""Inquiries: what an administrator asks about one user and only a worker can answer, since it reads the access token.

An inquiry is stored and published as a "look again" that names it; the worker's answer is found in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.requests import ask, fail, find, finish
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked, entry_of
from autoprovisioning.app.provisioning.target import Keeper, end_wait, first_found
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import (
    BadInput,
    Busy,
    Forbidden,
    NotFound,
    NotSent,
    ProvisioningError,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.mapping import addresses
from autoprovisioning.domain.observation import observed
from autoprovisioning.domain.requests import (
    INQUIRY,
    Findings,
    Inquiry,
    InquiryKind,
    Question,
    RequestState,
    Step,
)
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.texts import USER_ID
from autoprovisioning.domain.words import FIRST, SHOWN


def inquire(
    services: Services, connection_id: str, user_id: str, kind: InquiryKind, actor: Actor, role: Role, *, key: str = ""
) -> Inquiry:
    """Ask a worker about one user: every administrator may have the account looked up in Keeper.

    Having a user provisioned ends a wait that Keeper asked the connection for. Whoever asks again while the inquiry
    waits gets the same one.

    Raises:
        Forbidden: only super administrators may have a user provisioned.
        NotFound: there is no such connection.
        BadInput: that is not a directory id, or nobody is being provisioned on this connection now.
        Transient: it could not be published.
    """
    if kind is InquiryKind.PROVISION and role is not Role.SUPER:
        raise Forbidden(f"{actor.address} may look, but only super administrators may provision users.")
    connection = staying(services, connection_id)
    if not USER_ID.fullmatch(user_id):
        raise BadInput("user_id", "it is not a directory id", "Search for the user by name or address.")
    if kind is InquiryKind.PROVISION and connection.state is not State.ON:
        raise BadInput("connection", f"it is not on ({SHOWN[connection.state]})", FIRST[connection.state])

    def publish(inquiry: Inquiry) -> None:
        event = ""
        if kind is InquiryKind.PROVISION:
            event = kind.value
            end_wait(services, connection_id, actor, f"Requested provisioning of user {user_id} now")
        named = f"{connection_id}/{inquiry.id}"
        services.queue.look_again([Look(user_id=user_id, event=event, asked_at=inquiry.asked_at, inquiry=named)])

    question = Question(user_id=user_id, kind=kind)
    return ask(services, INQUIRY, connection_id, subject=question, actor=actor, publish=publish, key=key)


def answer_inquiry(services: Services, asked: Asked, deadline: datetime) -> None:
    """Answer the inquiry that a "look again" names, once.

    A user who is to be converged is converged, even if the inquiry has expired or was answered already.

    Raises:
        ProvisioningError: the user could not be converged; the administrator has been told, and the message must be
            redelivered if that helps.
    """
    connection_id, _, inquiry_id = asked.look.inquiry.partition("/")
    inquiry = find(services, INQUIRY, connection_id, inquiry_id)
    if inquiry is not None and inquiry.subject.user_id != asked.look.user_id:
        inquiry = None  # nobody asked that about this user
    asked = replace(asked, retry_failures=True, actor=_asker(inquiry))
    if inquiry is not None and inquiry.state is RequestState.WAITING:
        _Answer(services=services, inquiry=inquiry).give(asked, deadline)
    elif asked.look.event == InquiryKind.PROVISION.value:
        converge(services, asked, deadline)


def _asker(inquiry: Inquiry | None) -> Actor | None:
    """Return who had the user provisioned, by what was stored when they asked: a message names nobody."""
    if inquiry is None or inquiry.subject.kind is not InquiryKind.PROVISION:
        return None
    return inquiry.asked_by


@dataclass(slots=True, kw_only=True)
class _Answer:
    """One inquiry on its way to an answer."""

    services: Services
    inquiry: Inquiry
    steps: list[Step] = field(default_factory=list)

    def tell(self, text: str, *, failed: bool = False) -> None:
        self.steps.append(Step(at=self.services.clock(), text=text, failed=failed))

    def give(self, asked: Asked, deadline: datetime) -> None:
        if self.inquiry.subject.kind is InquiryKind.PROVISION:
            try:
                converge(self.services, replace(asked, tell=self.tell), deadline)
            except Busy:
                raise  # an earlier delivery of this message is being worked on, and answers
            except ProvisioningError as error:
                self._end(str(error))
                raise
        try:
            if self.services.clock() >= deadline:
                raise NotSent("Keeper was not asked for the account: the time for this answer had run out")
            self._look()
        except ProvisioningError as error:
            self._end(str(error))
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the message is not redelivered for ever
            self._end(str(unforeseen(error)))

    def _end(self, problem: str = "", account: Account | None = None) -> None:
        found = Findings(steps=tuple(self.steps), account=account)
        if problem:
            fail(self.services, self.inquiry, problem, found)
        else:
            finish(self.services, self.inquiry, found)

    def _look(self) -> None:
        """Find the account and end the inquiry with it; a failure that converging recorded is its problem.

        So is a connection that was turned off between the question and this answer: nobody was provisioned on it.
        """
        connection = self.services.connections.get(self.inquiry.connection_id)
        if connection is None:
            raise NotFound("The connection has been deleted.")
        user_id = self.inquiry.subject.user_id
        entry = entry_of(self.services, connection, user_id)
        account = self._find(connection, entry)
        self._end(self._undone(connection, entry), account)

    def _undone(self, connection: Connection, entry: Entry | None) -> str:
        """Say why the user could not be provisioned; empty if that was done, or not asked for."""
        if self.inquiry.subject.kind is not InquiryKind.PROVISION:
            return ""
        if connection.state not in SERVING:
            shown, mend = SHOWN[connection.state], FIRST.get(connection.state, "")
            return f"Nothing was done: the connection is no longer on ({shown}). {mend}".rstrip()
        return entry.failure.text if entry is not None and entry.failure is not None else ""

    def _find(self, connection: Connection, entry: Entry | None) -> Account | None:
        """Find the user's account in Keeper; like any worker it pauses the connection whose token is refused.

        A wait that Keeper asks for because of a question delays that question only: the connection keeps sending.

        Raises:
            BadInput: no access token was entered yet.
            ReauthorizationRequired, Transient, Permanent: Keeper could not be asked.
        """
        if not connection.token_version:
            raise BadInput("token", "there is none yet", "Enter Keeper's access token under App authorization first.")
        if connection.state is State.PAUSED:
            self.tell("The connection is paused and needs reauthorization; Keeper is asked anyway.", failed=True)
        return Keeper(self.services, connection).ask(lambda accounts: self._ask(connection, accounts, entry))

    def _ask(self, connection: Connection, accounts: Accounts, entry: Entry | None) -> Account | None:
        """Search by the SCIM id that the roster has, then by the directory id, then by the user's addresses."""
        began = self.services.clock()
        user_id = self.inquiry.subject.user_id
        account = accounts.get(entry.scim_id) if entry is not None and entry.scim_id else None
        how = "by the SCIM id that is on record"
        if account is None:
            account = first_found(
                accounts, Lookup(key=user_id, external_id=user_id, user_names=self._addresses(connection))
            )
            how = "by the directory id, as its externalId"
            if account is not None and account.external_id != user_id:
                another = "it carries another directory id" if account.external_id else "it carries no directory id"
                how = f"by the user's address, but {another}"
        seconds = (self.services.clock() - began).total_seconds()
        found = f"the account was found {how}" if account is not None else "this user has no account"
        self.tell(f"Keeper answered in {seconds:.2f} s: {found}.")
        return account

    def _addresses(self, connection: Connection) -> tuple[str, ...]:
        user = self.services.directory.user(self.inquiry.subject.user_id)
        if user is None or user.presence is Presence.UNKNOWN:
            return ()
        seen = observed(connection, user, None)
        return addresses(seen.aliases, seen.email, seen.desired)
