"""A console with something on each of its pages: what an administrator meets over the months, at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from autoprovisioning.domain.events import Actor
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_reauthorize import staff
from tests.support.settings import changed, with_settings
from tests.support.system import ADMIN, GROUP_ID, Town, person

PEOPLE = 60  # more than a page of the audit shows
LONG_NAME = "Keeper of the Central European Holding, of its daughters and branches and of those who work remotely"
ENDLESS = f"{'maximiliane-theodora-' * 3}@{'very-long-label-of-a-domain-' * 2}.example.com"
HOME = f"/connections/{CONNECTION}"


@dataclass(frozen=True)
class Stage:
    """The town, and the addresses that only it knows."""

    town: Town
    preview: str
    doubts: str  # a preview with adoptions to be confirmed
    inquiry: str
    hold: str

    def path(self, text: str) -> str:
        """Fill in what is known only now."""
        return text.format(preview=self.preview, doubts=self.doubts, inquiry=self.inquiry, hold=self.hold)


def set_stage(town: Town) -> Stage:
    """Provision, then let plans be held, users fail, timers run, and connections stand in every state."""
    from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
    from autoprovisioning.domain.settings import VolumeLimit

    town.reset(PEOPLE)
    staff(town)
    town.directory.patch("u59", {"primaryEmail": ENDLESS})
    town.keeper.settings(taken_addresses=["person58@example.com", "person57@example.com"])
    weeks = Deprovisioning(
        app_off=Delays(suspend_after=7, delete_after=90),
        suspended=Delays(suspend_after=0, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=None),
    )
    town.connect(limit=VolumeLimit(minimum=1, percent=1.0), deprovisioning=weeks)
    town.sync()
    town.directory.patch("u1", {"name": {"familyName": "Wolfeschlegelsteinhausenbergerdorff-Hubertshausen"}})
    town.directory.leave(GROUP_ID, "u10")
    for number in range(20, 26):
        town.directory.patch(f"u{number}", {"suspended": True})
    town.sync()
    other_connections(town)
    [hold] = town.desk().holds.standing(CONNECTION)
    narrower = changed(town.desk().connections.get(CONNECTION).settings, org_units=("/Sales",))
    inquiry = _inquiry(town)
    in_doubt(town)
    unprovisioned(town)
    in_force = town.desk().connections.get(CONNECTION).settings
    return Stage(town, compute_preview(town, narrower), compute_preview(town, in_force), inquiry, hold.digest)


def unprovisioned(town: Town) -> None:
    """Store what a drift run would report: accounts of every kind that nobody provisions."""
    from autoprovisioning.domain.directory_user import Presence
    from autoprovisioning.domain.unprovisioned import By, Offer, Report, Unprovisioned

    desk = town.desk()
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
            since=desk.clock(),
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
    desk.unprovisioned.put(CONNECTION, Report(at=desk.clock(), digest="d", accounts=rows))


def in_doubt(town: Town) -> None:
    """Let new hires find accounts that may be somebody else's, and one an account under an alias."""
    town.keeper.settings(tell_created=False)
    addresses = ["person70@example.com", "person71@example.com", "support@example.com"]
    seeds = [{"id": f"old-{number}", "userName": each, "active": True} for number, each in enumerate(addresses)]
    town.keeper.control("PUT", "accounts", [*town.keeper.accounts(), *seeds])
    for number in (70, 71, 72):
        town.directory.insert(person(number))
        town.directory.join(GROUP_ID, f"u{number}")
    town.directory.call("POST", "users/u72/aliases", {"alias": "support@example.com"})


def other_connections(town: Town) -> None:
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


def compute_preview(town: Town, wanted: Any) -> str:
    """Let a preview of these settings be computed; returns its id."""
    from autoprovisioning.app.administration.preview import ask_preview
    from autoprovisioning.domain.requests import PREVIEW

    desk = town.desk()
    edition = desk.connections.get(CONNECTION).edition
    asked = ask_preview(desk, CONNECTION, edition, wanted, Actor(address=ADMIN, directory_id="u0"))
    wait_for(lambda: _state(town, PREVIEW, asked.id) == "done", "the preview", 40)
    return str(asked.id)


def _inquiry(town: Town) -> str:
    from autoprovisioning.app.administration.inquire import inquire
    from autoprovisioning.app.administration.roles import Role
    from autoprovisioning.domain.requests import INQUIRY, InquiryKind

    actor = Actor(address=ADMIN, directory_id="u0")
    asked = inquire(town.desk(), CONNECTION, "u1", InquiryKind.PROVISION, actor, Role.SUPER)
    wait_for(lambda: _state(town, INQUIRY, asked.id) == "done", "the answer", 40)
    return str(asked.id)


def _state(town: Town, kind: Any, name: str) -> str:
    return str(town.desk().requests.get(kind, CONNECTION, name).state.value)
