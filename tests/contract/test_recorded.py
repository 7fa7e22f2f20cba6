"""What earlier versions stored is read and written by this one, and what newer ones store is kept, or refused.

Each recording of `tests/contract/recorded/` is what one layout wrote; `recording.py` says how to add the next one.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from autoprovisioning import document_kinds, messages
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Entry, Unseen
from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.runs import Batch, Look
from autoprovisioning.domain.teams import GroupTeam, TeamChoice
from autoprovisioning.schemas import Schema
from tests.contract import recording
from tests.contract.recording import CLAIM, CONNECTION, FOLDER, FULL, HOUR, PLAIN, load
from tests.contract.state_stores import Firestore
from tests.support.builders import NOW
from tests.support.settings import with_settings

RECORDINGS = sorted(FOLDER.glob("*.json"), key=lambda path: int(path.stem))
NEWEST = load(RECORDINGS[-1])
WITH_CAUSES = 4  # the first recording that has them
MESSAGES: Mapping[str, tuple[Callable[[bytes], object], object]] = {
    "look": (messages.decode_look, recording.LOOK),
    "batch": (messages.decode_batch, recording.BATCH),
    "run request": (messages.decode_run_request, recording.RUN_REQUEST),
}
WRITTEN_ANEW = {"schema", "stamp", "entries", "written"}  # entries are compared one by one


def store(firestore: Firestore, documents: Mapping[str, Mapping[str, Any]]) -> None:
    for path, fields in documents.items():
        firestore.client.document(path).set(dict(fields))


def stored(firestore: Firestore, documents: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {path: firestore.client.document(path).get().to_dict() for path in documents}


FIRST_WITH_PEOPLE = 4  # recording
FIRST_WITH_IGNORED = 4  # and with what is done about changes in Keeper, a pilot, teams, and locks
# And with what becomes of suspended people in teams, when each person was let out of one, or approved to be, since when
# a pilot is for its people, and the one before.
FIRST_WITH_TIMES = 5
FIRST_WITH_LOST = 6  # and with how many creations of a team got no answer
PEOPLE = {user_id: listed.name for user_id, listed in recording.LISTED.items()}


def connection_in(path: Path) -> Connection:
    """Return the connection that a recording tells of: what it does not know is as it is by default."""
    number = int(path.stem)
    if number >= FIRST_WITH_TIMES:
        return CONNECTION
    earlier = replace(CONNECTION, chosen_at=None, past_pilot=None)
    if number >= FIRST_WITH_IGNORED:
        return with_settings(earlier, teams=replace(CONNECTION.settings.teams, remove_suspended=False))
    return replace(with_settings(earlier, repair_drift=True, teams=TeamChoice()), pilot=None)


def team_in(path: Path) -> GroupTeam:
    """Return the team that a recording tells of."""
    number = int(path.stem)
    if number >= FIRST_WITH_LOST:
        return recording.TEAM
    earlier = replace(recording.TEAM, asked="", lost=0)
    if number >= FIRST_WITH_TIMES:
        return earlier
    assert earlier.removals is not None
    return replace(earlier, removals=replace(earlier.removals, times=(), approved_at=()))


def named(firestore: Firestore) -> dict[str, str]:
    """Return the names of the people of the connection by their ids."""
    return {line.user_id: line.person.name for line in firestore.people.read(CONNECTION, NOW).lines.all}


def read_all(firestore: Firestore) -> dict[str, object]:
    """Read a document of each kind through the ports."""
    return {
        "connection": firestore.connections.get("c1"),
        "begun set-up": dict(firestore.set_ups.begun()),
        "roster shard": firestore.roster.load(CONNECTION),
        "run": firestore.runs.get("c1", "r1"),
        "volume guard": firestore.guard.change("c1", lambda known: known),
        "held plan": firestore.holds.get("c1", recording.HOLD.digest),
        "claim on an account": firestore.claims.claim("c1", "k1", replace(CLAIM, user_id="u7")),
        "list of confirmed adoptions": firestore.adoptions.confirmed("c1"),
        "report of unprovisioned accounts": firestore.unprovisioned.get("c1"),
        "accounts that are ignored": firestore.unprovisioned.ignored("c1"),
        "accounts to be locked": firestore.unprovisioned.locks("c1"),
        "held plan of locks": firestore.holds.get("c1", recording.LOCKS.digest),
        "list of changes in Keeper": list(firestore.keeper_changes.get("c1")),
        "list of teams": dict(firestore.teams.get("c1")),
        "approvals of removals": dict(firestore.teams.approvals("c1")),
        "confirmed adoptions of teams": dict(firestore.teams.adoptions("c1")),
        "record of a sweep": firestore.sweeps.get("c1"),
        "lease": firestore.leases.take("reconcile", "another", NOW, HOUR),
        "notification channel": list(firestore.channels.all()),
        "line of the audit": firestore.reports.events("c1", Filters(), "", 1).items,
        "counter of usage": [dict(day.counts) for day in firestore.reports.usage("c1", NOW.date(), NOW.date())],
        "failure of a user": [failing.user_id for failing in firestore.reports.failures("c1", "", 9).items],
    }


def write_all(firestore: Firestore) -> None:
    """Change something of each document that is ever changed."""
    connection = firestore.connections.change("c1", lambda current: with_settings(current, name="Renamed"))
    assert connection is not None
    moved = {"u2": replace(PLAIN, version=1)}
    firestore.roster.commit(connection, ["u2"], lambda _known: (Edit(entries=moved), None))
    firestore.runs.change("c1", "r1", lambda run: replace(run, notes=("other",)))
    firestore.guard.change("c1", lambda state: replace(state, active=()))
    firestore.holds.change("c1", recording.HOLD.digest, lambda hold: replace(hold, reason="other"))
    firestore.claims.claim("c1", "k1", replace(CLAIM, change_id="x3"))
    firestore.adoptions.confirm("c1", [("u2", "k2")], "boss@example.com", NOW, replace(recording.EVENT, id="x4"))
    firestore.leases.take("reconcile", "me", NOW, 2 * HOUR)
    firestore.channels.put(replace(recording.CHANNEL, address="https://other"))
    firestore.channels.prove("n1", NOW)


CHANGED = {
    ("connections/c1", "name"), ("connections/c1", "revision"), ("connections/c1/runs/r1", "notes"),
    ("connections/c1/guard/state", "reserved"), ("connections/c1/guard/state", "writing"),
    (f"connections/c1/holds/{recording.HOLD.digest}", "reason"), ("leases/reconcile", "until"),
    ("connections/c1/adoptions/0000", "pairs"), ("channels/n1", "address"),
    (f"connections/c1/claims/{hashlib.sha256(b'k1').hexdigest()[:32]}", "change_id"),
}  # fmt: skip


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
class TestEarlierVersions:
    def test_everything_is_read(self, firestore, path):
        store(firestore, load(path)["documents"])
        later = int(path.stem) >= FIRST_WITH_IGNORED
        assert read_all(firestore) == {
            "connection": connection_in(path),
            "begun set-up": {"c9": NOW},
            "roster shard": {"u1": as_recorded(path, FULL), "u2": PLAIN},
            "run": recording.RUN,
            "volume guard": recording.GUARD,
            "held plan": recording.HOLD,
            "claim on an account": CLAIM,
            "list of confirmed adoptions": {"u1": {"k1"}},
            "report of unprovisioned accounts": recording.REPORT,
            "accounts that are ignored": {"k8": recording.IGNORED} if later else {},
            "accounts to be locked": {"k7": recording.LOCK} if later else {},
            "held plan of locks": recording.LOCKS if later else None,
            "list of changes in Keeper": [recording.KEEPER_CHANGE] if later else [],
            "approvals of removals": {"g2": recording.APPROVAL} if later else {},
            "confirmed adoptions of teams": {"g2": recording.ADOPTION} if later else {},
            "list of teams": {"g2": team_in(path)} if later else {},
            "record of a sweep": recording.SWEPT,
            "lease": None,
            "notification channel": [recording.CHANNEL],
            "line of the audit": (replace(as_recorded(path, recording.EVENT), id="x3" if later else "x2"),),
            "counter of usage": [
                {EventName.FAILED.value: 3, EventName.CONFIGURED.value: 2} if later else {EventName.FAILED.value: 2}
            ],
            "failure of a user": ["u1"],
        }

    def test_people_are_told_with_the_names_that_were_kept(self, firestore, path):
        store(firestore, load(path)["documents"])
        names = PEOPLE if int(path.stem) >= FIRST_WITH_PEOPLE else {"u1": "", "u2": ""}
        assert named(firestore) == names

    def test_what_is_written_keeps_the_rest(self, firestore, path):
        documents = load(path)["documents"]
        store(firestore, documents)
        write_all(firestore)
        kept_but_for(firestore, documents, CHANGED)

    def test_every_message_is_read(self, path):
        sent = load(path)["messages"]
        assert {name: decode(sent[name].encode()) for name, (decode, _) in MESSAGES.items()} == {
            name: as_recorded(path, wanted) for name, (_, wanted) in MESSAGES.items()
        }


def as_recorded(path: Path, wanted: Any) -> Any:
    """Return what a recording holds of a document or a message: no cause, no teams, if made before there were any."""
    if int(path.stem) >= WITH_CAUSES:
        return wanted
    match wanted:
        case Event():
            return replace(wanted, cause=None, source=None, latency=0.0, teams=(), joined=(), left=())
        case Look():
            return _told_less(wanted)
        case Batch():
            changes = tuple(replace(change, teams=None) for change in wanted.changes)
            return replace(wanted, changes=changes, looks=tuple(map(_told_less, wanted.looks)))
        case Entry():
            return replace(wanted, teams=(), asked=(), unseen=())
    return wanted


def _told_less(look: Look) -> Look:
    return replace(look, cause=None, groups=(), evidence=replace(look.evidence, left_teams=()))


def kept_but_for(firestore: Firestore, documents: Mapping[str, Any], changed: set[tuple[str, str]]) -> None:
    """See that every field recorded is there still, unless it was changed, and every field of an entry."""
    now = stored(firestore, documents)
    for path, fields in documents.items():
        for name, value in fields.items():
            if name not in WRITTEN_ANEW and (path, name) not in changed:
                assert now[path][name] == value, (path, name)
    before, after = (
        {record[0]: record for record in msgspec.msgpack.decode(each["connections/c1/roster/0000"]["entries"])}
        for each in (documents, now)
    )
    assert after["u1"][: len(before["u1"])] == before["u1"]
    assert after["u2"][2 : len(before["u2"])] == before["u2"][2:]  # without its id and version


def newer(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return documents as a later version of the same schema would store them: with fields that are not known yet."""
    made = {path: {**fields, "later": {"one": 1}} for path, fields in documents.items()}
    shard = made["connections/c1/roster/0000"]
    records = msgspec.msgpack.decode(shard["entries"])
    shard["entries"] = msgspec.msgpack.encode([[*record, ["later", record[0]], 7] for record in records])
    packed = msgspec.msgpack.decode(zlib.decompress(made["connections/c1/people/01.00"]["people"]))
    appended = [(shard, [[*person, {"later": 1}] for person in people]) for shard, people in packed]
    made["connections/c1/people/01.00"]["people"] = zlib.compress(msgspec.msgpack.encode(appended))
    made["connections/c1"]["limit"] = {**made["connections/c1"]["limit"], "later": 1}
    made["connections/c1"]["mapping"] = [{**row, "later": 1} for row in made["connections/c1"]["mapping"]]
    return made


def test_of_memberships_that_an_earlier_version_sent_none_counts_as_seen(firestore):
    documents = dict(NEWEST["documents"])
    shard = "connections/c1/roster/0000"
    records = [record[:-1] for record in msgspec.msgpack.decode(documents[shard]["entries"])]
    store(firestore, {**documents, shard: {**documents[shard], "entries": msgspec.msgpack.encode(records)}})
    since = FULL.last_action_at.replace(microsecond=0)
    unseen = tuple(Unseen(team_id=team_id, since=since) for team_id in FULL.teams)
    assert firestore.roster.load(CONNECTION)["u1"] == replace(FULL, unseen=unseen)


class TestNewerVersions:
    def test_what_is_not_known_is_passed_over_and_kept(self, firestore):
        documents = newer(NEWEST["documents"])
        store(firestore, documents)
        assert read_all(firestore)["roster shard"] == {"u1": FULL, "u2": PLAIN}
        assert named(firestore) == PEOPLE
        write_all(firestore)
        kept_but_for(firestore, documents, CHANGED)

    def test_an_entry_that_is_made_meanwhile_has_nothing_appended(self, firestore):
        documents = newer(NEWEST["documents"])
        store(firestore, documents)
        edit = Edit(entries={"u1": None, "u3": Entry(user_id="u3")})
        firestore.roster.commit(CONNECTION, ["u1", "u3"], lambda _known: (edit, None))
        assert firestore.roster.load(CONNECTION) == {"u2": PLAIN, "u3": Entry(user_id="u3")}
        found = firestore.client.document("connections/c1/roster/0000").get().get("entries")
        assert [record[-2:] for record in msgspec.msgpack.decode(found) if record[0] == "u2"] == [[["later", "u2"], 7]]

    def test_a_higher_schema_is_refused_by_its_name_and_left_alone(self, firestore):
        for kind, (collection, read) in refused_reads(firestore).items():
            documents = {
                path: {**fields, "schema": 9} if path.split("/")[-2] == collection else fields
                for path, fields in NEWEST["documents"].items()
            }
            store(firestore, documents)
            with pytest.raises(ConfigurationRefused, match=rf"A {kind} has schema 9; .*Deploy the newer version"):
                read()
            assert stored(firestore, documents) == documents

    def test_a_status_that_only_a_newer_version_knows_is_refused(self, firestore):
        documents = dict(NEWEST["documents"])
        records = msgspec.msgpack.decode(documents["connections/c1/roster/0000"]["entries"])
        data = msgspec.msgpack.encode([[*record[:5], 9, *record[6:]] for record in records])
        documents["connections/c1/roster/0000"] = {**documents["connections/c1/roster/0000"], "entries": data}
        store(firestore, documents)
        with pytest.raises(ConfigurationRefused, match=r"A roster shard cannot be read .*deploy it"):
            firestore.roster.load(CONNECTION)

    @pytest.mark.parametrize("state", [State.ON, State.PAUSED])
    def test_a_pilot_is_read_by_no_version_that_would_provision_everybody(self, firestore, state):
        """That one refuses a state that it does not know, as this one does."""
        firestore.connections.create(replace(CONNECTION, state=state))
        document = firestore.client.document("connections/c1")
        kept = document.get().to_dict()
        assert kept["state"] not in {each.value for each in State}
        found = firestore.connections.get("c1")
        assert found == replace(CONNECTION, state=state)
        assert [*found.pilot.values()] == ["ada@example.com", "bob@example.com"]
        document.update({"state": "later: on"})
        with pytest.raises(ConfigurationRefused, match="A connection cannot be read"):
            firestore.connections.get("c1")

    @pytest.mark.parametrize("name", MESSAGES)
    def test_a_message_with_a_higher_schema_is_refused(self, name):
        fields = {**msgspec.json.decode(NEWEST["messages"][name]), "schema": 9}
        with pytest.raises(ConfigurationRefused, match=f"A {name} has schema 9; "):
            MESSAGES[name][0](msgspec.json.encode(fields))


def refused_reads(firestore: Firestore) -> dict[str, tuple[str, Callable[[], object]]]:
    """Return the collection of each kind, and a verb that writes what it has read, or reads where none does."""
    digest = recording.HOLD.digest

    def no_change(known: Any) -> Any:
        return known

    return {
        "connection": ("connections", lambda: firestore.connections.change("c1", no_change)),
        "begun set-up": ("set_ups", firestore.set_ups.begun),
        "roster shard": (
            "roster",
            lambda: firestore.roster.commit(CONNECTION, ["u1"], lambda known: (Edit(entries=known), None)),
        ),
        "run": ("runs", lambda: firestore.runs.change("c1", "r1", no_change)),
        "volume guard": ("guard", lambda: firestore.guard.change("c1", no_change)),
        "held plan": (
            "holds",
            lambda: firestore.holds.change("c1", digest, lambda hold: replace(hold, reason="other")),
        ),
        "part of a held plan": ("members", lambda: firestore.holds.get("c1", digest)),
        "claim on an account": ("claims", lambda: firestore.claims.claim("c1", "k1", CLAIM)),
        "list of confirmed adoptions": ("adoptions", lambda: firestore.adoptions.confirmed("c1")),
        "report of unprovisioned accounts": ("unprovisioned", lambda: firestore.unprovisioned.get("c1")),
        "list of changes in Keeper": ("keeper_changes", lambda: firestore.keeper_changes.get("c1")),
        "list of teams": ("teams", lambda: firestore.teams.get("c1")),
        "list of people": ("people", lambda: firestore.people.read(CONNECTION, NOW)),
        "record of a sweep": ("sweep", lambda: firestore.sweeps.get("c1")),
        "lease": ("leases", lambda: firestore.leases.take("reconcile", "me", NOW, HOUR)),
        "notification channel": ("channels", firestore.channels.all),
        "line of the audit": ("events", lambda: firestore.reports.events("c1", Filters(), "", 1)),
        "counter of usage": ("usage", lambda: firestore.reports.usage("c1", NOW.date(), NOW.date())),
        "failure of a user": ("failures", lambda: firestore.reports.failures("c1", "", 9)),
        "note of a pending change": ("pending", lambda: firestore.reports.waiting("c1")),
    }


def test_every_kind_is_recorded_as_it_is_written_today(in_memory):
    """A new field or number must be recorded: what was not recorded binds nobody."""
    assert layout(recording.recorded()["documents"]) == layout(NEWEST["documents"])
    numbers = {kind.name: kind.current for kind in vars(document_kinds).values() if isinstance(kind, Schema)}
    found = {path.split("/")[-2]: fields["schema"] for path, fields in NEWEST["documents"].items()}
    expiring = {
        "request", "part of a preview", "list of runs due later", "record of the last listings",
        "note of a source of changes",
    }  # fmt: skip
    collections = {kind: collection for kind, (collection, _) in refused_reads(in_memory).items()}
    assert {kind: found[collection] for kind, collection in collections.items()} == {
        kind: number for kind, number in numbers.items() if kind not in expiring
    }


def layout(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, set[str]]]:
    """Return the number and the fields of each kind of document."""
    return {path: (fields.get("schema", 1), set(fields)) for path, fields in documents.items()}


def test_recordings_are_numbered_from_one():
    assert [path.stem for path in RECORDINGS] == [f"{number}" for number in range(1, len(RECORDINGS) + 1)]
    assert all(isinstance(path, Path) for path in RECORDINGS)
