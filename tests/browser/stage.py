"""A console with something on each of its pages: what an administrator meets over the months, at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from autoprovisioning.domain.events import Actor
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_reauthorize import staff
from tests.support.settings import changed, with_settings
from tests.support.system import ADMIN, GROUP_ID, System, person

PEOPLE = 60  # more than a page of the audit shows
LONG_NAME = "Keeper of the Central European Holding, of its daughters and branches and of those who work remotely"
ENDLESS = f"{'maximiliane-theodora-' * 3}@{'very-long-label-of-a-domain-' * 2}.example.com"
HOME = f"/connections/{CONNECTION}"


@dataclass(frozen=True)
class Stage:
    """The system, and the addresses that only it knows."""

    system: System
    preview: str
    doubts: str  # a preview with adoptions to be confirmed
    inquiry: str
    hold: str
    run: str

    def path(self, text: str) -> str:
        """Fill in what is known only now."""
        return text.format(preview=self.preview, doubts=self.doubts, inquiry=self.inquiry, hold=self.hold, run=self.run)


def set_stage(system: System) -> Stage:
    """Provision, then let plans be held, users fail, timers run, and connections be in every state."""
    from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
    from autoprovisioning.domain.settings import VolumeLimit

    system.reset(PEOPLE)
    staff(system)
    system.directory.patch("u59", {"primaryEmail": ENDLESS})
    system.keeper.settings(taken_addresses=["person58@example.com", "person57@example.com"])
    weeks = Deprovisioning(
        app_off=Delays(suspend_after=7, delete_after=90),
        suspended=Delays(suspend_after=0, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=None),
    )
    system.connect(limit=VolumeLimit(minimum=1, percent=1.0), deprovisioning=weeks)
    system.sync()
    system.directory.patch("u1", {"name": {"familyName": "Wolfeschlegelsteinhausenbergerdorff-Hubertshausen"}})
    system.directory.leave(GROUP_ID, "u10")
    for number in range(20, 26):
        system.directory.patch(f"u{number}", {"suspended": True})
    system.sync()
    other_connections(system)
    [hold] = system.services().holds.standing(CONNECTION)
    narrower = changed(system.services().connections.get(CONNECTION).settings, org_units=("/Sales",))
    inquiry = _inquiry(system)
    in_doubt(system)
    unprovisioned(system)
    changed_in_keeper(system)
    in_force = system.services().connections.get(CONNECTION).settings
    previews = compute_preview(system, narrower), compute_preview(system, in_force)
    return Stage(system, *previews, inquiry, hold.digest, latest_run(system).id)


def latest_run(system: System) -> Any:
    """Return the run of which somebody failed, and something is held."""
    from autoprovisioning.bootstrap import administration

    runs = administration().reports.runs(CONNECTION, "", 10).items
    return next(run for run in runs if run.counts.get("failed") and run.counts.get("held"))


def unprovisioned(system: System) -> None:
    """Store what a drift run would report: accounts of every kind that nobody provisions."""
    from autoprovisioning.domain.directory_user import Presence
    from autoprovisioning.domain.unprovisioned import By, Offer, Report, Unprovisioned

    services = system.services()
    rows = (
        Unprovisioned(
            scim_id="k1",
            user_name=ENDLESS,
            external_id="u80",
            by=By.EXTERNAL_ID,
            offer=Offer.ALL,
            user_id="u80",
            email=ENDLESS,
            presence=Presence.DELETED,
            since=services.clock(),
        ),
        Unprovisioned(
            scim_id="k2",
            user_name="old@example.com",
            external_id="1",
            by=By.UNKNOWN_ID,
            offer=Offer.CHOSEN,
            user_id="1",
        ),
        Unprovisioned(
            scim_id="k3",
            user_name="a@example.com",
            external_id="",
            by=By.ADDRESS,
            offer=Offer.CHOSEN,
            user_id="u81",
            email="a@example.com",
            presence=Presence.SUSPENDED,
        ),
        Unprovisioned(
            scim_id="k4",
            user_name="second@example.com",
            external_id="u2",
            by=By.EXTERNAL_ID,
            offer=Offer.NONE,
            user_id="u2",
            email="two@example.com",
        ),
        Unprovisioned(scim_id="k5", user_name="nobody@example.com", external_id=""),
    )
    services.unprovisioned.put(CONNECTION, Report(at=services.clock(), digest="d", accounts=rows))


def changed_in_keeper(system: System) -> None:
    """Store what a drift run would report: changes of every kind that somebody else made in Keeper."""
    from autoprovisioning.domain.entry import Action
    from autoprovisioning.domain.keeper_changes import KeeperChange

    services = system.services()
    now = services.clock()
    values = {"title": "Countess", "displayName": LONG_NAME, "externalId": ENDLESS}
    changes = (
        KeeperChange(
            user_id="u2",
            email="two@example.com",
            scim_id="k2",
            at=now,
            run_id="r1",
            found=values,
            before={**values, "title": None},
            repair=Action.UPDATE,
        ),
        KeeperChange(
            user_id="u3",
            email=ENDLESS,
            scim_id="k3",
            at=now,
            run_id="r1",
            found={"active": False},
            before={"active": True},
            repair=Action.UNLOCK,
        ),
        KeeperChange(
            user_id="u80",
            email="left@example.com",
            scim_id="k4",
            at=now,
            run_id="r1",
            found={"active": True},
            before={"active": False},
            repair=Action.SUSPEND,
        ),
        KeeperChange(user_id="u5", email="", scim_id="k5", at=now, run_id="r1", gone=True),
    )
    services.keeper_changes.add(CONNECTION, changes, now)


def in_doubt(system: System) -> None:
    """Let new hires find accounts that may be somebody else's, and one an account under an alias."""
    system.keeper.settings(tell_created=False)
    addresses = ["person70@example.com", "person71@example.com", "support@example.com"]
    seeds = [{"id": f"old-{number}", "userName": each, "active": True} for number, each in enumerate(addresses)]
    system.keeper.control("PUT", "accounts", [*system.keeper.accounts(), *seeds])
    for number in (70, 71, 72):
        system.directory.insert(person(number))
        system.directory.join(GROUP_ID, f"u{number}")
    system.directory.call("POST", "users/u72/aliases", {"alias": "support@example.com"})


def other_connections(system: System) -> None:
    """Connections in the other states: only one can be provisioned by a node, so that the rest are as stored."""
    from autoprovisioning.bootstrap import administration
    from autoprovisioning.domain.connections import State

    parts = administration()
    connections = parts.services.connections
    model = replace(connections.get(CONNECTION), roster_layout="", token_version="")
    for order, (name, state, title) in enumerate(
        [("draft", State.DRAFT, "Keeper for guests"), ("off", State.OFF, "Keeper of the lab"),
         ("long", State.PAUSED, LONG_NAME), ("leaving", State.DELETING, "Keeper of yesterday"),
         ("gone", State.OFF, "Keeper of last year")], 2
    ):  # fmt: skip
        endpoint = f"https://keepersecurity.example/api/rest/scim/v2/98765432100{order}"
        connections.create(
            with_settings(replace(model, id=name, order=order, state=state), name=title, endpoint=endpoint)
        )
    connections.purge("gone")


def compute_preview(system: System, wanted: Any) -> str:
    """Let a preview of these settings be computed; returns its id."""
    from autoprovisioning.app.administration.preview import ask_preview
    from autoprovisioning.domain.requests import PREVIEW

    services = system.services()
    edition = services.connections.get(CONNECTION).edition
    asked = ask_preview(services, CONNECTION, edition, wanted, Actor(address=ADMIN, directory_id="u0"))
    wait_for(lambda: _state(system, PREVIEW, asked.id) == "done", "the preview", 40)
    return str(asked.id)


def _inquiry(system: System) -> str:
    from autoprovisioning.app.administration.inquire import inquire
    from autoprovisioning.app.administration.roles import Role
    from autoprovisioning.domain.requests import INQUIRY, InquiryKind

    actor = Actor(address=ADMIN, directory_id="u0")
    asked = inquire(system.services(), CONNECTION, "u1", InquiryKind.PROVISION, actor, Role.SUPER)
    wait_for(lambda: _state(system, INQUIRY, asked.id) == "done", "the answer", 40)
    return str(asked.id)


def _state(system: System, kind: Any, name: str) -> str:
    return str(system.services().requests.get(kind, CONNECTION, name).state.value)
