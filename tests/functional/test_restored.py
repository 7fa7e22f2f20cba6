"""Many tests begin with a system that was not provisioned, but is as if it had been."""

from __future__ import annotations

from typing import Any

from tests.support.provisioned import Provisioned
from tests.support.system import GROUP_ID, System, person


def comparable(taken: Provisioned) -> dict[str, dict[str, Any]]:
    """Return the documents without the number of the access token."""
    return {name: {**fields, "token_version": None} for name, fields in taken.documents.items()}


def test_what_is_put_back_is_what_the_first_run_left(system: System):
    system.restored()
    kept = system.kept
    assert kept is not None
    system.reset()
    kept.put_back(system)
    again = Provisioned.taken(system)
    assert comparable(again) == comparable(kept)
    assert again.accounts == kept.accounts


def lived_on(system: System) -> list[Any]:
    """Let somebody be renamed, leave and join, and return what the runs and the audit tell of it."""
    system.directory.weather(lose=True)  # so that each is found by a run
    told = [system.sync(), system.sync("drift")]
    system.directory.patch("u1", {"name": {"familyName": "Renamed"}})
    system.directory.leave(GROUP_ID, "u2")
    system.directory.insert(person(40))
    system.directory.join(GROUP_ID, "u40")
    told.append(system.sync())
    for summary in told:  # without what it took: functions that remember nothing look again at what they change
        for name in ("seconds", "scim_requests", "firestore_reads", "firestore_writes"):
            del summary[name]
    events = sorted((event["user_id"], event["name"]) for event in system.events())
    return [told, events, sorted(system.active()), system.state()]


def test_it_lives_on_as_one_that_was_provisioned(system: System):
    system.restored()
    system.reset()
    system.restored()
    restored = lived_on(system)
    system.reset()
    system.provisioned()
    assert lived_on(system) == restored
