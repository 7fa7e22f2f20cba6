"""Whatever the Directory or Keeper answers: an adapter raises ProvisioningErrors alone, in bounded time and memory."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import currently_in_test_context, given, note, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory
from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.accounts import Account, Lookup, Write, WriteKind
from autoprovisioning.domain.errors import ProvisioningError, Transient
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.teams import LONGEST_TEAM_NAME, Team
from tests.contract.scim_servers import Counts, person
from tests.fuzz.examples import COUNT, EXAMPLES
from tests.fuzz.liar import TOKEN, TRUTH, Liar, Request, lying
from tests.fuzz.lies import Lie, lies
from tests.support.system import GROUP, GROUP_ID, customer

pytestmark = pytest.mark.timeout(600)  # a failing example is made smaller for some minutes
TIMEOUT = 0.25  # seconds, of one request
LONGEST_CALL = 10.0  # seconds, of one call of a port
LONGEST_WAIT = 3600.0  # seconds that an error may ask anybody to wait
LIES = 40  # requests of one call that are lied to; afterwards the truth, so that every listing ends
MEMORY = 200 * 2**20  # bytes that one call may need

SCRIPT = st.lists(st.one_of(lies(), st.just(TRUTH)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


def prepared(liar: Liar, script: Sequence[Lie]) -> None:
    """Start over with three people on both sides, and lie by the script, over and over."""
    if currently_in_test_context():
        note(f"{script}")
    liar.as_new(customer(4))
    liar.keeper.settings.bulk = True
    for number in range(3):
        liar.keeper._seed([*liar.keeper.node.accounts.values(), seed(number)])
    asked = iter(range(LIES))

    def lie_to(_: Request) -> Lie:
        number = next(asked, None)
        return TRUTH if number is None else script[number % len(script)]

    liar.lie_to = lie_to


def seed(number: int) -> dict[str, Any]:
    name = f"person{number}@example.com"
    return {
        "id": f"k{number}",
        "userName": name,
        "externalId": f"u{number}",
        "active": True,
        "name": {"givenName": "A"},
    }


def accounts(liar: Liar, dialect: PatchDialect = PatchDialect.STANDARD) -> ScimAccounts:
    return ScimAccounts(
        liar.endpoint, TOKEN, dialect, Counts(), now, timeout=TIMEOUT, page_size=2, first_pause=0.001, longest_wait=0.02
    )


def directory(liar: Liar) -> GoogleDirectory:
    transport = DirectoryTransport(
        liar.url, requests.Session, Counts(), timeout=timedelta(seconds=TIMEOUT), first_pause=0.0005, longest_pause=0.02
    )
    return GoogleDirectory(transport)


def now() -> datetime:
    return datetime.now(UTC)


def judged(error: BaseException | None) -> None:
    """See that an error is one of ours, that its wait is one that somebody may keep, and that it shows no token."""
    if error is None:
        return
    assert isinstance(error, ProvisioningError), repr(error)
    assert TOKEN not in f"{error} {error.__cause__!r} {error.__context__!r}"
    if isinstance(error, Transient) and error.retry_after is not None:
        assert 0 <= error.retry_after <= LONGEST_WAIT, error.retry_after


def called(work: Callable[[], Any]) -> Any:
    """Return what a call returns, generators exhausted, or the error it raises; see that it ends in time."""
    began = time.monotonic()
    try:
        result: Any = work()
        if isinstance(result, Iterator):
            result = list(result)
    except ProvisioningError as error:
        judged(error)
        result = error
    except BaseExceptionGroup as group:
        raise AssertionError(f"{sorted({type(part).__name__ for part in group.exceptions})}") from None
    assert time.monotonic() - began < LONGEST_CALL
    return result


# ---- Keeper


@EXAMPLES
@given(script=SCRIPT)
def test_probe_and_capabilities(liar: Liar, script: list[Lie]):
    prepared(liar, script)
    called(accounts(liar).probe)
    offered = called(accounts(liar).capabilities)
    if not isinstance(offered, ProvisioningError) and offered.bulk:
        assert offered.max_operations >= 2
        assert offered.max_payload >= 1024


@EXAMPLES
@given(script=SCRIPT, scim_id=st.sampled_from(["k1", "k9", "..", ".", "a/b", "x" * 300]))
def test_get(liar: Liar, script: list[Lie], scim_id: str):
    """None means a 404 to this very question; an account is the one that was asked for."""
    prepared(liar, script)
    account = called(lambda: accounts(liar).get(scim_id))
    if account is None:
        assert 404 in {given.status for given in liar.given}
        assert scim_id not in (".", "..")
    elif not isinstance(account, ProvisioningError):
        sound(account)
        assert account.scim_id == scim_id


LOOKUPS = [
    Lookup(key="a", external_id="u1", user_names=("person1@example.com", "alias@example.com")),
    Lookup(key="b", external_id="nobody", user_names=("PERSON2@example.com",)),
    Lookup(key="c", external_id="nobody", user_names=("o'brien\\\"@example.com",)),
]


@EXAMPLES
@given(script=SCRIPT)
def test_find(liar: Liar, script: list[Lie]):
    """Each lookup has one result, and holds nobody who was not asked for."""
    prepared(liar, script)
    found = called(lambda: accounts(liar).find(LOOKUPS))
    assert Counter(item.key for item in found) == Counter(lookup.key for lookup in LOOKUPS)
    asked = {lookup.key: lookup for lookup in LOOKUPS}
    for item in found:
        judged(item.error)
        lookup = asked[item.key]
        for account in item.accounts:
            sound(account)
            names = {name.casefold() for name in lookup.user_names}
            assert account.external_id == lookup.external_id or account.user_name.casefold() in names


@EXAMPLES
@given(script=SCRIPT)
def test_list(liar: Liar, script: list[Lie]):
    """A listing has everybody once, or is an error."""
    prepared(liar, script)
    pages = called(accounts(liar).list)
    if not isinstance(pages, ProvisioningError):
        listed = [account for page in pages for account in page]
        usable = [account.scim_id for account in listed if not account.flaw]
        assert len(set(usable)) == len(usable)
        for account in listed:
            sound(account)


def sound(account: Account) -> None:
    """See that what is kept of an account has its type and is no longer than anything honest.

    One whose id cannot be used has a flaw instead of it.
    """
    texts = [account.scim_id, account.user_name, account.external_id]
    assert all(isinstance(text, str) for text in texts)
    assert bool(account.flaw) is not bool(account.scim_id)
    assert len(account.scim_id) <= 256
    assert account.scim_id not in (".", "..")
    assert isinstance(account.active, bool)
    assert all(value is None or isinstance(value, str | bool) for value in account.attributes.values())


WRITES = [
    Write(key="c1", kind=WriteKind.CREATE, external_id="u7", attributes=person(7)),
    Write(key="c2", kind=WriteKind.CREATE, external_id="u8", attributes=person(8)),
    Write(key="s0", kind=WriteKind.PATCH, scim_id="k0", active=False),
    Write(key="p1", kind=WriteKind.PATCH, scim_id="k1", attributes={"name.familyName": "Byron", "title": None}),
    Write(
        key="a2", kind=WriteKind.PATCH, scim_id="k2", external_id="u2", attributes={"userName": "person2@example.com"}
    ),
    Write(key="d9", kind=WriteKind.DELETE, scim_id="k9"),
    Write(key="d2", kind=WriteKind.DELETE, scim_id="k2"),
]


@EXAMPLES
@given(
    script=SCRIPT,
    writes=st.lists(st.sampled_from(WRITES), min_size=1, unique_by=lambda write: write.key),
    dialect=st.sampled_from(PatchDialect),
)
def test_write(liar: Liar, script: list[Lie], writes: list[Write], dialect: PatchDialect):
    """Each write has one result, and none is done that no answer says was done."""
    prepared(liar, script)
    written = called(lambda: accounts(liar, dialect).write(writes, now() + timedelta(seconds=3)))
    assert Counter(item.key for item in written) == Counter(write.key for write in writes)
    sent = {write.key: write for write in writes}
    for item in written:
        judged(item.error)
        if item.error is None:
            assert 0 < len(item.scim_id) <= 256
            shown(liar, sent[item.key])


MANY = [
    *(Write(key=f"c{n}", kind=WriteKind.CREATE, external_id=f"u{n}", attributes=person(n)) for n in range(100, 180)),
    *WRITES[2:],
]


@settings(EXAMPLES, max_examples=COUNT // 4)
@given(script=SCRIPT, seconds=st.sampled_from([0.1, 3]))
def test_write_many_side_by_side(liar: Liar, script: list[Lie], seconds: float):
    """Each write has one result, in time, whatever becomes of the requests beside its own."""
    prepared(liar, script)
    client = accounts(liar)
    client._writing._sizes.at_once = 8
    written = called(lambda: client.write(MANY, now() + timedelta(seconds=seconds)))
    assert Counter(item.key for item in written) == Counter(write.key for write in MANY)
    for item in written:
        judged(item.error)


def shown(liar: Liar, write: Write) -> None:
    """See that a suspension that counts as done was told by some answer, and that the last one to tell agrees.

    What answers about the account itself tell is believed before what a listing shows that was read for another one.
    """
    if write.active is not False:
        return
    about: list[bool] = []
    listed: list[bool] = []
    for answer in liar.given:
        if answer.arrived and 200 <= answer.status < 300:
            its = answer.request.path.endswith((f"/{write.scim_id}", "/Bulk"))
            (about if its else listed).extend(
                resource["active"]
                for resource in resources(answer.object())
                if resource.get("id") == write.scim_id and isinstance(resource.get("active"), bool)
            )
    told = about or listed
    assert told[-1:] != [True], "Keeper shows that it is active"
    whole = [given for given in liar.given if 200 <= given.status < 300 and given.object() is not None]
    silent = [given for given in liar.given if given.status == 204]
    assert whole or silent, "nothing that Keeper said is SCIM"


def resources(body: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects with an id in a body, however deep; a name's case tells nothing (RFC 7643, 2.1)."""
    if isinstance(body, dict):
        named = {name.casefold(): value for name, value in body.items()}
        if "id" in named:
            yield named
        for item in body.values():
            yield from resources(item)
    elif isinstance(body, list):
        for item in body:
            yield from resources(item)


OURS = Team(id="t1", name="Engineers", external_id="g1")


@EXAMPLES
@given(script=SCRIPT)
def test_teams(liar: Liar, script: list[Lie]):
    """A listing has each team once, or is an error; what is written is of the group that it was written for."""
    prepared(liar, script)
    liar.keeper.teams.seed([{"id": f"t{n}", "displayName": "Engineers", "externalId": f"g{n}"} for n in range(5)])
    client = accounts(liar)
    until = now() + timedelta(seconds=3)
    listed = called(client.teams)
    if not isinstance(listed, ProvisioningError):
        usable = [team.id for team in listed if team.id]
        assert len(set(usable)) == len(usable)
    for written, group_id in (
        (called(lambda: client.create_team("g7", "Sales", until)), "g7"),
        (called(lambda: client.rename_team(OURS, "Builders", until)), "g1"),
    ):
        if not isinstance(written, ProvisioningError):
            assert written.external_id == group_id
            assert written.id not in (".", "..")
            assert all(len(text) <= LONGEST_TEAM_NAME for text in (written.id, written.name))


# ---- the directory


CHANNEL = Channel(
    id="c1", address="https://example.com/", token="t", expires=datetime(2026, 12, 1, tzinfo=UTC), resource_id="r1"
)
VERBS: dict[str, Callable[[GoogleDirectory], Any]] = {
    "user": lambda reader: reader.user("u1"),
    "nobody": lambda reader: reader.user("u9"),
    "by address": lambda reader: reader.by_address("person1@example.com"),
    "users": lambda reader: reader.users(frozenset({"name", "emails", "customSchemas"})),
    "deleted users": lambda reader: reader.deleted_users(),
    "members": lambda reader: reader.members(GROUP_ID),
    "a member": lambda reader: reader.is_member(GROUP_ID, "u1"),
    "group": lambda reader: reader.group(GROUP),
    "all groups": lambda reader: reader.all_groups(),
    "groups of a user": lambda reader: reader.groups_of("u1"),
    "search for users": lambda reader: reader.search_users("person1"),
    "search for groups": lambda reader: reader.search_groups("keep"),
    "units": lambda reader: reader.org_units(),
    "probe": lambda reader: reader.probe(),
    "watch": lambda reader: reader.watch(CHANNEL, ""),
    "stop": lambda reader: reader.stop(CHANNEL),
}


@pytest.mark.parametrize("verb", VERBS)
@settings(EXAMPLES, max_examples=COUNT // 2)
@given(script=SCRIPT)
def test_directory(liar: Liar, script: list[Lie], verb: str):
    prepared(liar, script)
    result = called(lambda: VERBS[verb](directory(liar)))
    if isinstance(result, ProvisioningError):
        return
    statuses = {given.status for given in liar.given}
    match verb:
        case "user":
            assert result is None or result.id == "u1"
            assert result is not None or statuses & {404, 412}, "only the directory's own word is that there is nobody"
        case "users" | "deleted users":
            assert all(isinstance(user.id, str) and user.id for page in result for user in page)
            assert all(isinstance(user.primary_email, str) for page in result for user in page)
        case "all groups" | "groups of a user":
            assert all(group.id and isinstance(group.name, str) and isinstance(group.email, str) for group in result)
        case "members":
            assert all(isinstance(member, str) and member for page in result for member in page)


# ---- memory

QUESTIONS: dict[str, Callable[[Liar], Any]] = {
    "get": lambda liar: accounts(liar).get("k1"),
    "find": lambda liar: accounts(liar).find(LOOKUPS[:1]),
    "list": lambda liar: accounts(liar).list(),
    "write": lambda liar: accounts(liar).write(WRITES[2:3], now() + timedelta(seconds=3)),
    "write in Bulk": lambda liar: accounts(liar).write(WRITES[2:5], now() + timedelta(seconds=3)),
    **{f"directory: {verb}": (lambda liar, verb=verb: VERBS[verb](directory(liar))) for verb in ("user", "users")},
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("manner", ["gzip bomb", "endless"])
def test_a_body_without_measure_is_not_taken_in(liar: Liar, question: str, manner: str):
    prepared(liar, [Lie(200, manner=manner)])
    with peak() as grown:
        called(lambda: QUESTIONS[question](liar))
    assert grown() < MEMORY, f"{grown() >> 20} MiB"


class peak:  # noqa: N801 - reads as a statement
    """The most memory that this process held within the block, beyond what it held before (Linux)."""

    def __enter__(self) -> Callable[[], int]:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts over: proc_pid_clear_refs(5)
        before = self._status("VmRSS")
        return lambda: self._status("VmHWM") - before

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    @staticmethod
    def _status(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * 1024
