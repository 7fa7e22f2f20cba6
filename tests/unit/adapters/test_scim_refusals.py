"""What a refused write says: what was attempted, the status, Keeper's own words, and the mend."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autoprovisioning.adapters.scim.proof import refused
from autoprovisioning.adapters.scim.protocol import Answer, passing
from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.entry import TEXT_LIMIT
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    AuthorizationRefused,
    ConfigurationRefused,
    NotOffered,
    Rejected,
    SeatsExhausted,
    Throttled,
    Transient,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
CREATE = Write(
    key="c",
    kind=WriteKind.CREATE,
    scim_id="",
    external_id="d1",
    attributes={"userName": "ada@example.com"},
    active=True,
)
RENAME = Write(key="r", kind=WriteKind.PATCH, scim_id="k1", attributes={"userName": "ada@example.com"})
MOVE = Write(key="m", kind=WriteKind.PATCH, scim_id="k1", attributes={"emails.value": "ada@example.com"})
TITLE = Write(key="t", kind=WriteKind.PATCH, scim_id="k1", attributes={"title": "Countess"})
ADOPT = Write(key="a", kind=WriteKind.PATCH, scim_id="k1", external_id="d1", attributes={"displayName": "Ada"})
SUSPEND = Write(key="s", kind=WriteKind.PATCH, scim_id="k1", active=False)
RETURN = Write(key="u", kind=WriteKind.PATCH, scim_id="k1", active=True)
DELETE = Write(key="d", kind=WriteKind.DELETE, scim_id="k1")
JOIN = Write(key="j", kind=WriteKind.PATCH, scim_id="k1", joins=("t1",))
LEAVE = Write(key="l", kind=WriteKind.PATCH, scim_id="k1", leaves=("t1",))
DOING = {
    CREATE.key: "creating", RENAME.key: "updating", MOVE.key: "updating", TITLE.key: "updating", ADOPT.key: "adopting",
    SUSPEND.key: "suspending", RETURN.key: "reactivating", DELETE.key: "deleting",
}  # fmt: skip
EVERY = (CREATE, RENAME, MOVE, TITLE, ADOPT, SUSPEND, RETURN, DELETE)
REFUSALS = (400, 404, 405, 409, 412, 413, 415, 418, 422, 428, 501)


@pytest.mark.parametrize("write", EVERY, ids=lambda write: DOING[write.key])
@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("said", ["", "no", "x" * 5000])
def test_a_refusal_says_what_was_attempted_how_it_was_answered_and_what_to_do(write, status, said):
    text = str(refused(write, Answer(status=status, body={"detail": said} if said else None), NOW))
    assert text.startswith(f"Keeper refuses {DOING[write.key]} this account (HTTP {status}")
    assert (f"{status}: {said[:40]}" in text) is bool(said)
    assert text.endswith(".")
    assert len(text.rpartition("). ")[2]) > 20
    assert len(text) <= TEXT_LIMIT


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        # create, rename, new e-mail, title, adopt, suspend, reactivate, delete
        (400, [Rejected] * 8),
        (404, [Rejected, *[AccountGone] * 7]),
        (405, [NotOffered] * 8),
        (409, [AddressTaken] * 3 + [Rejected] * 5),
        (412, [Rejected] * 8),
        (413, [Rejected] * 8),
        (415, [Rejected] * 8),
        (422, [Rejected] * 8),
        (428, [SeatsExhausted, *[Rejected] * 5, SeatsExhausted, Rejected]),
        (501, [NotOffered] * 8),
        (401, [AuthorizationRefused] * 8),
        (403, [AuthorizationRefused] * 8),
        (302, [ConfigurationRefused] * 8),
        (429, [Throttled] * 8),
        (500, [Transient] * 8),
        (503, [Transient] * 8),
    ],
)
def test_what_a_refusal_means_depends_on_what_was_attempted(status, kinds):
    assert [type(refused(write, Answer(status=status, body=None), NOW)) for write in EVERY] == kinds


@pytest.mark.parametrize("write", [TITLE, ADOPT, SUSPEND, RETURN, DELETE])
def test_only_who_sends_an_address_is_told_of_another_account(write):
    assert "e-mail" not in str(refused(write, Answer(status=409, body=None), NOW))


@pytest.mark.parametrize("write", [JOIN, LEAVE])
@pytest.mark.parametrize("status", REFUSALS)
def test_a_membership_that_is_refused_is_a_matter_of_teams(write, status):
    error = refused(write, Answer(status=status, body={"detail": "invalidPath"}), NOW)
    assert str(error).startswith(f"Keeper refuses changing this account's teams (HTTP {status}: invalidPath). ")
    assert "team" in str(error).rpartition("). ")[2]
    assert isinstance(error, AccountGone if status == 404 else NotOffered if status in (405, 501) else Rejected)


def test_a_deletion_that_is_refused_is_no_matter_of_the_patch_dialect():
    assert "dialect" in str(refused(SUSPEND, Answer(status=400, body=None), NOW))
    assert "dialect" not in str(refused(DELETE, Answer(status=400, body=None), NOW))


def test_what_is_not_offered_does_not_pass():
    assert not passing(Answer(status=501, body=None))
    assert passing(Answer(status=500, body=None))
