"""An administrator, the previews that they ask for, and what a preview must leave alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from autoprovisioning.app.administration.preview import ask_preview, compute_preview
from autoprovisioning.app.administration.requests import find
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import PREVIEW, Line, Preview, RequestState
from autoprovisioning.domain.settings import Settings
from tests.support.scenario import Scenario
from tests.support.settings import changed

ACTOR = Actor(address="admin@example.com", directory_id="u0")
A_MOMENT = timedelta(minutes=1)
OUT = "the app is turned off for them (not in scope)"
NO_STATE = {"lock", "meanwhile", "stutters", "asked"}  # of the store in memory: previews are written, too
NOW, NEVER, IN_A_WEEK = Delays(suspend_after=0), Delays(suspend_after=None), Delays(suspend_after=7, delete_after=30)


def policy(delays: Delays) -> Deprovisioning:
    return Deprovisioning(app_off=delays, suspended=delays, deleted=delays)


@dataclass
class Admin:
    """What an administrator does in a scenario."""

    scenario: Scenario

    def settings(self, **changes: Any) -> Settings:
        return changed(self.scenario.connection.settings, **changes)

    def ask(self, **changes: Any) -> Preview:
        scenario = self.scenario
        settings = self.settings(**changes)
        return ask_preview(scenario.services, "c1", scenario.connection.edition, settings, ACTOR)

    def compute(self, preview: Preview) -> Preview:
        deadline = self.scenario.fakes.clock.now + timedelta(minutes=8)
        compute_preview(self.scenario.services, "c1", preview.id, deadline)
        return find(self.scenario.services, PREVIEW, "c1", preview.id) or preview

    def stored(self, preview: Preview) -> Preview:
        """Return it as it is by now."""
        found = self.scenario.services.requests.get(PREVIEW, preview.connection_id, preview.id)
        assert found is not None
        return found

    def lines(self, preview: Preview) -> list[Line]:
        return list(self.scenario.services.preview_lines.every(preview))

    def preview(self, **changes: Any) -> tuple[Preview, list[Line]]:
        """Ask and compute; returns the preview with its lines."""
        done = self.compute(self.ask(**changes))
        assert (done.state, done.problem) == (RequestState.DONE, "")
        return done, self.lines(done)


def at(scenario: Scenario) -> Admin:
    return Admin(scenario)


def everything(scenario: Scenario) -> Any:
    """Return all that a preview must leave as it is."""
    queue = scenario.fakes.queue
    stored = {name: value for name, value in vars(scenario.fakes.store).items() if name not in NO_STATE}
    for name, value in stored.items():
        if isinstance(value, dict):  # reading makes empty places
            stored[name] = {key: each for key, each in value.items() if each}
    return copy.deepcopy([stored, scenario.keeper.accounts, queue.looks, queue.batches, queue.runs])


def hired(scenario: Scenario) -> None:
    scenario.hire("u4", "dan@example.com")


def roster(scenario: Scenario) -> dict[str, Any]:
    return scenario.services.roster.load(scenario.connection)
