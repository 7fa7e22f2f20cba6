"""`make run`: the whole system on this machine, through a working day; ONCE=1 ends after the comparison.

Exit status 0, or 1 if a step failed or the two sides differ at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.local import connect
from infra.local.cloud import STATE
from infra.local.compare import compare
from infra.local.directory.fixture import SCOPE_GROUP, make
from infra.local.emulators import EmulatorMissing
from infra.local.processes import ProcessFailed, Supervisor
from infra.local.simulation import SWEEP_SECONDS, WentWrong, World, check, http, wait_for
from infra.local.sync import synchronize
from infra.local.teams_in_a_day import Teams

USERS = 200


@dataclass(kw_only=True)
class Line:
    """One line of the table."""

    step: str
    event: str
    seconds: float
    remark: str = ""
    failed: bool = False


@dataclass(kw_only=True)
class Day:
    """A working day: people come, change and go; each step is timed from the directory's change to Keeper."""

    world: World
    lines: list[Line] = field(default_factory=list)
    excused: set[str] = field(default_factory=set)
    people: list[dict[str, Any]] = field(default_factory=list)

    def step(self, name: str, event: str, act: Callable[[], str]) -> None:
        """Carry a step out; `act` returns a remark, and raises if what should happen does not."""
        started = time.monotonic()
        try:
            line = Line(step=name, event=event, seconds=0.0, remark=act())
        except (TimeoutError, WentWrong, LookupError, urllib.error.URLError) as error:
            line = Line(step=name, event=event, seconds=0.0, remark=f"{type(error).__name__}: {error}", failed=True)
        line.seconds = time.monotonic() - started
        self.lines.append(line)
        mark = "FAILED" if line.failed else f"{line.seconds:6.2f} s"
        print(f"  {line.step:<34} {line.event:<36} {mark:>9}  {line.remark}", flush=True)

    def play(self) -> None:
        """Play the day."""
        self.step("first run, 200 users", "Create User By Auto Provisioning", self.first_run)
        self.people = [user for user in self.world.directory.control("GET", "state")["users"] if self._plain(user)]
        self.step("hire", "Create User By Auto Provisioning", self.hire)
        self.step("rename", "Update Auto Provisioned User", self.rename)
        self.step("e-mail change", "Update Auto Provisioned User", self.change_email)
        self.step("suspend", "Suspend Auto Provisioned User", self.suspend)
        self.step("return", "Unsuspend Auto Provisioned User", self.come_back)
        self.step("leave the scope group", "Suspend Auto Provisioned User", self.leave_scope)
        self.step("join the scope group again", "Unsuspend Auto Provisioned User", self.join_scope)
        self.step("leave it, the entry lost", "Suspend Auto Provisioned User", self.leave_unheard)
        self.step("delete", "Suspend Auto Provisioned User", self.delete)
        self.step("new hire with a leaver's address", "Failures", self.reuse_address)
        self.step("notifications lost", "Update Auto Provisioned User", self.lose_notifications)
        self.step("empty listing", "(held)", self.empty_listing)
        self.step("the held plan approved", "(each user read again: none due)", self.approve)
        self.step("many suspended by mistake after it", "(held)", self.second_mistake)
        self.step("token revoked", "(paused)", self.revoke)
        self.step("reauthorized, caught up", "Update Auto Provisioned User", self.reauthorize)
        teams = Teams(world=self.world, people=self.people[7:], synchronize=self._synchronize)
        for name, event, act in teams.steps():
            self.step(name, event, act)

    def _plain(self, user: dict[str, Any]) -> bool:
        account = self.world.keeper.of(user["id"])
        return bool(account and account["active"] and not user["isAdmin"] and not user["isDelegatedAdmin"])

    def _account(self, user_id: str, what: str, test: Callable[[dict[str, Any]], bool], seconds: float = 30) -> Any:
        def found() -> dict[str, Any] | None:
            account = self.world.keeper.of(user_id)
            return account if account is not None and test(account) else None

        return wait_for(found, what, seconds)

    def _synchronize(self) -> dict[str, Any]:
        return synchronize(self.world.cloud.url("reconcile"), "full", tell=lambda _line: None)

    def first_run(self) -> str:
        """Provision everybody in scope."""
        summary = self._synchronize()
        check(bool(summary["created"]) and not summary["failed"], str(summary))
        return f"{summary['created']} created, {sum(summary['scim_requests'].values())} SCIM requests"

    def hire(self) -> str:
        """A new colleague, put into the scope group right away; the notification comes a moment later."""
        directory = self.world.directory
        directory.weather(hold=True)
        user = directory.insert(_person("Ines", "Newcomer", "ines.newcomer@example.com"))
        directory.join(SCOPE_GROUP, user["id"])
        directory.weather(hold=False, release=True)
        self._account(user["id"], "the new account", lambda account: account["active"])
        return "by notification"

    def rename(self) -> str:
        """A family name changes."""
        user = self.people[0]
        self.world.directory.patch(user["id"], {"name": {"familyName": "Ångström-Renamed"}})
        self._account(user["id"], "the rename", lambda account: account["name"]["familyName"] == "Ångström-Renamed")
        return "by notification"

    def change_email(self) -> str:
        """The primary address changes: the same account, never a second one."""
        user = self.people[1]
        before = self.world.keeper.of(user["id"])
        self.world.directory.patch(user["id"], {"primaryEmail": "moved.address@example.com"})
        after = self._account(
            user["id"], "the new address", lambda account: account["userName"] == "moved.address@example.com"
        )
        check(before is not None and before["id"] == after["id"], "a second account was made")
        return "by notification, same account"

    def suspend(self) -> str:
        """A user is suspended."""
        user = self.people[2]
        self.world.directory.patch(user["id"], {"suspended": True})
        self._account(user["id"], "the suspension", lambda account: not account["active"])
        return "by notification"

    def come_back(self) -> str:
        """The suspended user returns."""
        user = self.people[2]
        self.world.directory.patch(user["id"], {"suspended": False})
        self._account(user["id"], "the return", lambda account: account["active"])
        return "by notification"

    def leave_scope(self) -> str:
        """A user leaves the scope group, for which Google sends no notification; its audit log reports it."""
        self._leave(self.people[3])
        return "reported by the audit log"

    def join_scope(self) -> str:
        """They join it again."""
        user = self.people[3]
        self.world.directory.join(SCOPE_GROUP, user["id"])
        self._account(user["id"], "the return", lambda account: account["active"])
        return "reported by the audit log"

    def leave_unheard(self) -> str:
        """They leave, and nobody hears of it."""
        self.world.directory.entries(lose_every=1)
        self._leave(self.people[3])
        self.world.directory.entries(lose_every=0)
        return f"seen by the scope sweep (every {SWEEP_SECONDS} s here, 5 min deployed)"

    def _leave(self, user: dict[str, Any]) -> None:
        for group in self.world.directory.call("GET", f"groups?userKey={user['id']}")["groups"]:
            self.world.directory.leave(group["id"], user["id"])
        self._account(user["id"], "the suspension", lambda account: not account["active"], SWEEP_SECONDS * 3)

    def _lose(self, every: bool) -> None:
        """Lose what reports changes: every notification, and every entry of the audit log."""
        self.world.directory.weather(lose=every)
        self.world.directory.entries(lose_every=int(every))

    def delete(self) -> str:
        """A user is deleted; by default Keeper's account is suspended, never deleted."""
        user = self.people[4]
        self.world.directory.delete(user["id"])
        self._account(user["id"], "the suspension", lambda account: not account["active"])
        return "by notification"

    def reuse_address(self) -> str:
        """A newcomer gets the leaver's address: their account must not become the newcomer's."""
        leaver, directory = self.people[4], self.world.directory
        directory.weather(hold=True)
        user = directory.insert(_person("Nora", "Newer", leaver["primaryEmail"]))
        directory.join(SCOPE_GROUP, user["id"])
        directory.weather(hold=False, release=True)
        failure = wait_for(lambda: _failure_of(user["id"]), "the refusal")
        account = self.world.keeper.of(leaver["id"])
        check(account is not None and not account["active"], "the leaver's account was touched")
        check(self.world.keeper.of(user["id"]) is None, "the newcomer got an account")
        self.excused.add(user["id"])
        return f"refused: {failure['reason'].partition('. ')[0]}"

    def lose_notifications(self) -> str:
        """Every report of a change is lost; the next full run repairs it."""
        user = self.people[5]
        self._lose(True)
        self.world.directory.patch(user["id"], {"name": {"givenName": "Reconciled"}})
        self._lose(False)
        self.world.reconcile()
        self._account(user["id"], "the repair", lambda account: account["name"]["givenName"] == "Reconciled")
        return "by the full run"

    def empty_listing(self) -> str:
        """The directory answers 200 with nobody in it: nothing is changed, a plan is held."""
        before = _active(self.world)
        fault = self._empty_listings()
        summary = self._synchronize()
        self.world.directory.control("DELETE", f"faults/{fault}")
        holds = _waiting(self.world)
        check(summary["held"] > 0 and bool(holds), f"nothing was held: {summary}")
        self._nobody_locked_out(before)
        counts = ", ".join(f"{count} {action}" for action, count in holds[0]["counts"].items())
        return f"held: {counts}; nobody locked out"

    def _nobody_locked_out(self, before: set[str]) -> None:
        gone = before - _active(self.world)
        check(not gone, f"accounts were suspended: {', '.join(sorted(gone)[:5])}")

    def _empty_listings(self) -> str:
        """Show an empty directory until the fault is removed: not only to the next run, who else lists is not known."""
        return self.world.directory.fault(match={"method": "users.list"}, empty=True, times=None)

    def approve(self) -> str:
        """An administrator approves it while the listing is still empty: each user is read again, and is there."""
        before = _active(self.world)
        hold = _waiting(self.world)[0]
        fault = self._empty_listings()
        self.world.console("POST", f"connections/{connect.CONNECTION}/holds/{hold['digest']}", {"decision": "approve"})
        directory = self.world.directory
        wait_for(lambda: directory.matched(fault) >= 2 and not _run_open(), "the run of the approved plan", 60)
        directory.control("DELETE", f"faults/{fault}")
        self._nobody_locked_out(before)
        summary = self._synchronize()
        check(not summary["held"], f"still held: {summary}")
        return "approved through the console; nobody locked out"

    def second_mistake(self) -> str:
        """The same day many users are suspended in the directory: the approval is spent, so they are held.

        None whom the steps before changed: a late look at one of them would see the suspension, and be within the
        limit.
        """
        before, many = _active(self.world), [user for user in self.people[6:] if self._plain(user)]
        self._lose(True)
        for user in many:
            self.world.directory.patch(user["id"], {"suspended": True})
        summary = self._synchronize()
        check(summary["held"] == len(many), f"not all of them were held: {summary}")
        self._nobody_locked_out(before)
        for user in many:
            self.world.directory.patch(user["id"], {"suspended": False})
        self._lose(False)
        summary = self._synchronize()
        check(not summary["held"] and not _waiting(self.world), f"the plan did not end automatically: {summary}")
        return f"held: {len(many)}; ended automatically once it was fixed"

    def revoke(self) -> str:
        """Keeper's token is replaced behind our back; the next change gets a 401."""
        user = self.people[6]
        self.world.keeper.rotate()
        self.world.directory.patch(user["id"], {"name": {"familyName": "Patience"}})
        wait_for(lambda: _connections(self.world)[0]["state"] == "paused", "the pause")
        return "connection paused, the change waits"

    def reauthorize(self) -> str:
        """A super administrator enters the new token."""
        user = self.people[6]
        body = {"connection": connect.CONNECTION, "token": self.world.keeper.token}
        answer = http("POST", f"{self.world.reauthorize_url}/", body)
        self._account(user["id"], "the change that waited", lambda account: account["name"]["familyName"] == "Patience")
        return f"{answer['waiting']} waiting"


def _person(given: str, family: str, email: str) -> dict[str, Any]:
    return {"primaryEmail": email, "name": {"givenName": given, "familyName": family}, "orgUnitPath": "/Sales"}


def _active(world: World) -> set[str]:
    return {account["id"] for account in world.keeper.accounts() if account["active"]}


def _waiting(world: World) -> list[dict[str, Any]]:
    holds = world.console("GET", f"connections/{connect.CONNECTION}/holds")["items"]
    return [hold for hold in holds if hold["state"] == "waiting"]


def _connections(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.console("GET", "connections")["items"]
    return found


def _run_open() -> bool:
    from autoprovisioning.bootstrap import process_services

    return bool(process_services().runs.open(connect.CONNECTION))


def _failure_of(user_id: str) -> dict[str, Any] | None:
    from google.cloud import firestore

    client = firestore.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"])
    home = client.collection("connections").document(connect.CONNECTION)
    found: dict[str, Any] | None = home.collection("failures").document(user_id).get().to_dict()
    return found


def live_through(world: World) -> bool:
    """Connect, play the day, compare; True when everything went as it should."""
    os.environ.update(world.cloud.environment)
    print(connect.connect(world.keeper.endpoint, world.keeper.token, (SCOPE_GROUP,), creates=USERS))
    world.watch_directory()
    world.follow_audit_log()
    day = Day(world=world)
    print(f"\n  {'step':<34} {'in Google’s admin log':<36} {'took':>9}")
    day.play()
    return finish(world, day)


def finish(world: World, day: Day) -> bool:
    """Compare both sides and sum up."""
    keeper = world.keeper
    differences = compare(world.directory.url, keeper.endpoint, keeper.token, SCOPE_GROUP, day.excused)
    for difference in differences:
        print(f"  DIFFERENT  {difference.who}: {difference.what}")
    failed = [line.step for line in day.lines if line.failed]
    print(f"\nBoth sides compared: {len(differences)} differences. Steps failed: {', '.join(failed) or 'none'}.")
    return not differences and not failed


def main() -> None:
    """Run the day, and stay up unless told otherwise."""
    parser = argparse.ArgumentParser(description="The whole system, on this machine")
    parser.add_argument("--once", action="store_true")
    asked = parser.parse_args()
    good = False
    try:
        with contextlib.suppress(KeyboardInterrupt), Supervisor(STATE / "logs") as supervisor:
            fixture = make(USERS)
            world = World(supervisor=supervisor, folder=STATE / "run")
            print(f"Starting emulators, simulators and functions (logs in {STATE / 'logs'}) ...", flush=True)
            world.start(fixture, fixture["users"][0]["primaryEmail"])
            try:
                good = live_through(world)
                if not asked.once:
                    stay_up(world)
            finally:
                world.cloud.forget()
    except (ProcessFailed, EmulatorMissing) as error:
        sys.exit(str(error))
    sys.exit(0 if good else 1)


def stay_up(world: World) -> None:
    """Say where the pages are, and stay until Ctrl-C."""
    print(f"\nConsole, signed in as {world.administrator}: {world.console_url}/")
    print(f"Sign in as another: {world.console_url}/_iap/as/<address>   Reauthorize: {world.reauthorize_url}/")
    print("Ctrl-C stops everything.", flush=True)
    world.supervisor.watch()


if __name__ == "__main__":
    main()
