"""Mutants: the production code with one safeguard less, each run until the simulation finds it.

python -m tests.simulation.mutants [NAME ...]. A mutant is a patch of the source, applied to a copy of it: what is
replaced must stand in its file exactly once, so that a mutant whose code has changed is told, and never passed over.
A history that breaks a law with nothing taken out finds no mutant, but a fault; the search goes on behind it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.simulation.history import EVEN, Leaning

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("functions/autoprovisioning")
MOST = 2000  # histories

CRASHES = ("crash before", "crash after", "stall", "message twice", "message late")
BUSY = Leaning(verbs=("rename", "provision", "run"), kinds=CRASHES, rate=0.03, skewed=False, steps=18, minutes=60)
BATCHES = replace(BUSY, verbs=("rename", "provision"), people=5)
AT_ONCE = Leaning(
    verbs=("rename", "provision"), kinds=("message twice",), rate=0.3, people=1, whom=1, together=True, steps=40,
    minutes=60, connections=1, skewed=False,
)  # fmt: skip
UNTOLD = replace(AT_ONCE, kinds=("notification lost", "notification late"), verbs=("rename", "provision", "run"))
STALLED = Leaning(
    verbs=("suspend", "restore", "provision", "run"), kinds=("stall", "crash before", "notification lost"), rate=0.3,
    skewed=False, steps=60, minutes=60, people=1, whom=1, policy=0, connections=1,
)  # fmt: skip
TAKEN = Leaning(
    verbs=("suspend", "restore", "provision", "run"), kinds=("stall", "message twice"), rate=0.1, policy=0, steps=40,
    minutes=60, people=3, whom=3, limit=1000, connections=1, skewed=False, together=True,
)  # fmt: skip
TAKEN_LATE = Leaning(
    verbs=("suspend", "restore", "run"), kinds=("stall", "notification lost"), rate=0.1, policy=0, steps=24,
    minutes=60, people=5, limit=1000, connections=1, skewed=False, together=True,
)  # fmt: skip
TAKEN_BACK = Leaning(
    verbs=("suspend", "approve", "withdraw", "provision", "run"), kinds=("message late", "message twice"), rate=0.2,
    policy=0, steps=40, minutes=90, people=5, limit=1, connections=1, skewed=False, together=True,
)  # fmt: skip
LEAVING = Leaning(verbs=("suspend", "leave", "restore", "join"), rate=0.01, policy=0, steps=16, people=5)
LIMITED = Leaning(verbs=("suspend", "leave"), rate=0.01, policy=0, steps=16, people=5, limit=2, connections=1)
SWITCHED = Leaning(
    verbs=("off", "on", "rename", "suspend", "provision", "run"), kinds=("stall", "notification lost"), rate=0.08,
    steps=24, minutes=60, people=2, whom=2, connections=1, skewed=False,
)  # fmt: skip
SWITCHED_AT_ONCE = Leaning(
    verbs=("off", "on", "rename", "run") * 2, kinds=("notification lost",), rate=0.5, steps=40, minutes=60, people=5,
    limit=1000, connections=1, skewed=False, together=True, firestore=False,
)  # fmt: skip
STORED = Leaning(
    verbs=("rename", "suspend", "restore", "provision", "run"),
    kinds=("ambiguous", "unavailable", "crash before", "crash after", "message twice"), rate=0.05, steps=20,
    minutes=60, firestore=True,
)  # fmt: skip
FOR_DAYS = Leaning(
    verbs=("suspend", "archive", "off", "on", "leave"), rate=0.004, steps=9, people=2, whom=2, limit=1000,
    connections=1, skewed=False, policy=3, days=12,
)  # fmt: skip
HALVED = replace(LIMITED, limit=1000, people=4)
HELD = replace(LIMITED, verbs=("suspend", "leave", "restore", "join", "reject", "run"), steps=24)
GIVING = Leaning(verbs=("hire",), rate=0.004, policy=0, steps=16, people=2, given=1, connections=1)
WIPING = Leaning(verbs=("readdress", "swap"), rate=0.004, steps=16, people=5, limit=2, connections=1)
REJECTED = replace(LIMITED, verbs=("suspend", "reject", "restore", "provision"), rate=0.004, whom=5, steps=48)
DATED = replace(
    SWITCHED, verbs=("suspend", "reject", "provision", "run") * 2, kinds=("stall",), rate=0.15, together=True, limit=1,
    people=3, whom=3, steps=40, policy=0,
)  # fmt: skip
HELD_UP = replace(DATED, rate=0.25, together=False)
BEGUN_AGAIN = replace(HELD_UP, verbs=("suspend", "restore", "reject", "provision", "run") * 2)
RETURNING = Leaning(
    verbs=("suspend", "reject", "lock", "restore", "run"), kinds=("notification lost",), rate=0.5, policy=0, steps=40,
    minutes=120, people=3, whom=3, limit=1, connections=1, skewed=False,
)  # fmt: skip
DELETED = Leaning(
    verbs=("delete_connection", "run") * 2, kinds=("stall",), rate=0.3, policy=0, steps=12, minutes=40, people=1,
    whom=1, connections=1, skewed=False, together=True, firestore=False,
)  # fmt: skip
REPLACED = Leaning(
    verbs=("delete_by_hand", "invite", "swap", "provision"), kinds=("message twice", "notification late"), rate=0.05,
    steps=24, connections=1, minutes=15, skewed=False, people=2, whom=2, together=True, policy=0,
)  # fmt: skip
MIXED_UP = Leaning(
    verbs=("mix_up", "mix_up"), kinds=("message twice", "notification late"), rate=0.02, people=2, policy=0, steps=6,
    minutes=40, connections=1, skewed=False, firestore=False,
)  # fmt: skip
PILOT = Leaning(
    verbs=("pilot", "hire", "rename", "suspend", "run", "provision"), rate=0.01, policy=0, steps=24, people=4,
    limit=1000, connections=1,
)  # fmt: skip
UNSEEN = Leaning(
    verbs=("suspend", "pilot"), rate=0.015, policy=2, steps=10, people=4, whom=3, limit=1000, connections=1,
    firestore=False, skewed=False,
)  # fmt: skip
DELAYED = Leaning(verbs=("suspend", "leave", "off", "on"), rate=0.004, policy=3, steps=18, connections=1)

REPORTED = Leaning(
    verbs=("leave", "join", "move"), kinds=("says no", "not found"), rate=0.2, policy=0, steps=24, minutes=120,
    limit=1000, skewed=False, sink=True,
)  # fmt: skip
UNREAD = Leaning(
    verbs=("suspend", "restore") * 2, kinds=("failed", "unavailable"), rate=0.06, policy=0, steps=40, minutes=120,
    people=8, limit=1000, connections=1, skewed=False,
)  # fmt: skip
VANISHED = Leaning(
    verbs=("vanish", "approve", "run") * 2, rate=0.0, policy=0, steps=16, minutes=120, people=8, limit=2, connections=1,
    skewed=False, parts=True,
)  # fmt: skip
UNMAPPED = Leaning(
    verbs=("edit_mapping", "suspend", "restore") * 2, kinds=("crash before", "crash after"), rate=0.06, policy=0,
    steps=60, minutes=90, people=8, limit=1000, connections=1, skewed=False, together=True, firestore=False,
    parts=False,
)  # fmt: skip
ONLY_REPORTED = Leaning(
    verbs=("edit_drift", "suspend", "unlock"), rate=0.0, policy=0, steps=16, minutes=240, people=4, connections=1,
    limit=1000, skewed=False,
)  # fmt: skip
LOCKED = Leaning(
    verbs=("stranger", "choose_locks", "approve", "namesake", "run"), rate=0.0, policy=0, steps=24,
    minutes=240, people=4, connections=1, limit=1000, skewed=False,
)  # fmt: skip
TEAMS = Leaning(
    verbs=("suspend", "restore"), rate=0.0, policy=0, steps=6, minutes=240, people=5, connections=1, limit=1000,
    skewed=False, teams=True, team_steps=24, least=1,
)  # fmt: skip
REUSED = replace(TEAMS, team_verbs=("rename_group", "delete_group", "create_group", "foreign_team", "choose_teams"))
LEAVING_TEAMS = replace(TEAMS, team_verbs=("leave_group", "join_group", "empty_team_group"))
APPROVED = replace(LEAVING_TEAMS, team_verbs=("leave_group", "empty_team_group", "approve_team_removals"))
AGAIN = replace(LEAVING_TEAMS, team_verbs=("empty_team_group", "approve_team_removals", "fill_team_group"))
UNREAD_TEAMS = replace(TEAMS, team_verbs=("break_team_group", "join_group", "fill_team_group"))
DOUBTED = replace(
    LEAVING_TEAMS,
    team_verbs=("leave_group", "join_group"),
    kinds=("lost, done", "crash after"),
    rate=0.1,
    team_steps=40,
)
GONE_WITH_TEAMS = replace(
    TEAMS, verbs=("delete_by_hand", "rename", "run"), team_verbs=("join_group", "fill_team_group"), steps=24, least=20
)
NO_SEATS = replace(
    TEAMS, verbs=("hire", "provision", "run"), team_verbs=("join_group", "fill_team_group"), kinds=("seats",), rate=0.5,
    people=2, steps=24, least=20,
)  # fmt: skip
LATE_TEAMS = replace(
    TEAMS, team_verbs=("create_group", "choose_teams", "choose_again"), kinds=("lost, done",), rate=0.3, least=20
)


@dataclass(frozen=True)
class Mutant:
    """One patch: `old` becomes `new` in a file of the package."""

    name: str
    file: str
    old: str
    new: str
    leaning: Leaning = EVEN


def _lies(*kinds: str, verbs: Sequence[str] = (), rate: float = 0.08) -> Leaning:
    return Leaning(verbs=tuple(verbs), kinds=kinds, rate=rate, policy=0, steps=14, minutes=120)


MUTANTS = (
    Mutant(
        "a pilot is for everybody",
        "domain/connections.py",
        "return self.pilot is None or user_id in self.pilot",
        "return self.pilot is None or bool(user_id)",
        PILOT,
    ),
    Mutant(
        "timers run outside a pilot",
        "domain/decision.py",
        "    triggers: dict[Trigger, datetime | None] = {}\n",
        "    rules = replace(rules, operates_on=bool, left_out=lambda _user_id: ())\n"
        "    triggers: dict[Trigger, datetime | None] = {}\n",
        replace(FOR_DAYS, verbs=("suspend", "pilot", "on", "leave")),
    ),
    Mutant(
        "timers run in a pilot until a run sees it",
        "domain/observation.py",
        "left_out=connection.left_out",
        "left_out=lambda _user_id: ()",
        UNSEEN,
    ),
    Mutant(
        "what was planned goes on when others are chosen for a pilot",
        "app/administration/configure.py",
        "return replace(turned, pilot=chosen, edition=current.edition + 1, confirmed=None)",
        "return replace(turned, pilot=chosen, confirmed=None)",
        replace(PILOT, kinds=("message late", "message twice"), rate=0.2, together=True, minutes=60),
    ),
    Mutant(
        "batches do not compare the version",
        "domain/changes.py",
        "return entry.version == self.version and entry.mark is None",
        "return entry.mark is None",
        BATCHES,
    ),
    Mutant(
        "looks do not compare the entry before they mark it",
        "app/provisioning/converge.py",
        "marked.mark([wanted], until)",
        "marked.mark([replace(wanted, stands=lambda _: True)], until)",
        BUSY,
    ),
    Mutant(
        "those taken together do not compare the entry before they mark it",
        "app/runs/take_access.py",
        "    return [Intent.of(each.change, each.entry) for",
        "    from dataclasses import replace\n"
        "    return [replace(Intent.of(each.change, each.entry), stands=lambda _: True) for",
        TAKEN,
    ),
    Mutant(
        "those taken together do not heed that an approval was withdrawn",
        "app/runs/take_access.py",
        "for each in found if each.member in go]",
        "for each in found]",
        TAKEN_BACK,
    ),
    Mutant(
        "those taken together have all the time in the world",
        "app/runs/apply_batch.py",
        "deadline = min(self._deadline, self._services.clock() + timings.user_deadline)",
        "deadline = self._deadline",
        TAKEN_LATE,
    ),
    Mutant(
        "changes are recorded without their mark",
        "app/provisioning/marked_changes.py",
        "for user_id, entry in entries.items() if holds(by_user[user_id].change.id, entry)}",
        "for user_id, entry in entries.items()}",
        STALLED,
    ),
    Mutant(
        "a live mark keeps nobody away",
        "app/provisioning/converge.py",
        "        if entry is not None and mark is not None:\n            self._tell(",
        "        if entry is not None and mark is not None and not now:\n            self._tell(",
        BUSY,
    ),
    Mutant(
        "marks run out at once",
        "app/provisioning/converge.py",
        "until = self._services.clock() + self._services.timings.user_mark",
        "until = self._services.clock()",
        BUSY,
    ),
    Mutant(
        "batches do not look again",
        "app/runs/apply_batch.py",
        "self.left.look_again(marked.record(outcomes, self._services.meter.take()))",
        "marked.record(outcomes, self._services.meter.take())",
        UNTOLD,
    ),
    Mutant(
        "another look goes with the mark",
        "domain/changes.py",
        "change, moved = outcome.change, replace(entry, mark=None, version=entry.version + 1)",
        "change, moved = outcome.change, replace(entry, mark=None, again=False, version=entry.version + 1)",
        AT_ONCE,
    ),
    Mutant(
        "a look that failed is acknowledged",
        "app/provisioning/converge.py",
        "    if postponed is not None:\n        raise postponed\n",
        "",
        UNREAD,
    ),
    Mutant(
        "whom no part of a listing has is taken out of held plans",
        "app/runs/reconcile.py",
        "        in_parts=survey.in_parts,\n",
        "",
        VANISHED,
    ),
    Mutant(
        "looks do not look again",
        "app/provisioning/converge.py",
        "            return True  # whatever is left to do (a rename after a suspension, or to create it again) is "
        "seen then",
        "            return False",
        AT_ONCE,
    ),
    Mutant(
        "hasMember alone counts as leaving",
        "app/provisioning/placement.py",
        "unproven=not left and self._was_in_scope(connection),",
        "unproven=False,",
        _lies("says no", verbs=("rename", "provision")),
    ),
    Mutant(
        "the sweep takes incomplete listings for evidence",
        "app/runs/sweep.py",
        "if not self.complete or not self.connection.settings.scope.groups:",
        "if not self.connection.settings.scope.groups:",
        _lies("says no", "breaks off", rate=0.2),
    ),
    Mutant(
        "notes are not compared",
        "app/runs/dispatch.py",
        "                if entries.get(user_id) == read:\n",
        "                if read == read:\n",
        Leaning(
            verbs=("suspend", "restore", "leave", "join", "provision", "run"), rate=0.03, policy=3, steps=24, minutes=60
        ),
    ),
    Mutant(
        "looks read the listing instead of the user",
        "app/provisioning/read_user.py",
        "        user = read_user(services.directory, look, fresh_until, now)\n",
        "        listed = {one.id: one for page in services.directory.users(frozenset()) for one in page}\n"
        "        user = listed.get(look.user_id) or read_user(services.directory, look, now, now)\n",
        LEAVING,
    ),
    Mutant(
        "one 404 proves a deletion",
        "app/provisioning/read_user.py",
        "if look.evidence.missing and user is None and directory.probe():",
        "if user is None and directory.probe():",
        _lies("not found", verbs=("rename", "provision")),
    ),
    Mutant(
        "a listing that broke off counts as complete",
        "app/runs/list_users.py",
        "            self.survey.complete = False\n",
        "",
        _lies("not found", "breaks off", rate=0.2),
    ),
    Mutant(
        "whom no part of a listing has is missing",
        "app/runs/read_directory.py",
        "return self.complete and not self.in_parts",
        "return self.complete",
        replace(_lies("not found", verbs=("rename", "provision"), rate=0.8), parts=True, people=5),
    ),
    Mutant(
        "the guard counts after the call",
        "app/provisioning/converge.py",
        "        if not unlocks and not brake(decision, entry, now):\n"
        "            return self._hold(entry, decision)\n        return self._act(entry, decision, observation)",
        "        again = self._act(entry, decision, observation)\n        return brake(decision, entry, now) and again",
        LIMITED,
    ),
    Mutant(
        "the guard lets one more through",
        "domain/guard.py",
        "if fresh and len(current) + len(fresh) > min(allowed, ROOM):",
        "if fresh and len(current) + len(fresh) > min(allowed, ROOM) + 1:",
        LIMITED,
    ),
    Mutant(
        "the guard forgets after an hour",
        "domain/guard.py",
        "WINDOW = timedelta(hours=24)",
        "WINDOW = timedelta(hours=1)",
        LIMITED,
    ),
    Mutant(
        "batches of a closed run are applied",
        "app/runs/apply_batch.py",
        "if connection is None or run is None or run.state is not RunState.PLANNED:",
        "if connection is None or run is None:",
        Leaning(kinds=("message late", "message twice"), rate=0.3, steps=20, verbs=("rename",), people=5),
    ),
    Mutant(
        "looks do not see that the connection was turned off",
        "app/provisioning/converge.py",
        "if not changes or not as_it_was(self._services, self._connection):",
        "if not changes:",
        SWITCHED,
    ),
    Mutant(
        "batches do not see that the connection was turned off",
        "app/runs/apply_batch.py",
        "        if self._open() is None:  # turned off",
        "        if not changes:  # turned off",
        SWITCHED_AT_ONCE,
    ),
    Mutant(
        "anybody's account is adopted",
        "domain/adoption.py",
        'return account.external_id in ("", user_id) and held_by.get(account.scim_id, user_id) == user_id',
        "return True",
        Leaning(verbs=("reuse", "delete", "hire", "readdress"), rate=0.004, steps=24),
    ),
    Mutant(
        "days are hours",
        "domain/deprovisioning.py",
        "(started + timedelta(days=days), since, trigger)",
        "(started + timedelta(hours=days), since, trigger)",
        DELAYED,
    ),
    Mutant(
        "timers outlive the user's return",
        "domain/decision.py",
        "        timers=_timers(known, seen, rules, now),\n",
        "        timers={**known.timers, **_timers(known, seen, rules, now)},\n",
        Leaning(verbs=("leave", "join"), rate=0.004, policy=2, steps=20, connections=1, people=2),
    ),
    Mutant(
        "a reactivation that came to nothing is taken for done",
        "domain/recovery.py",
        "        case Action.UNSUSPEND | Action.UNLOCK:\n            return account.active\n",
        "        case Action.UNSUSPEND | Action.UNLOCK:\n            return True\n",
        Leaning(verbs=("suspend", "restore"), kinds=("lost, not done", "crash before"), rate=0.1, policy=0, steps=18),
    ),
    Mutant(
        "an unknown outcome keeps no mark",
        "domain/changes.py",
        "    if isinstance(outcome.error, Unresolved) and entry.mark is not None:\n",
        "    if isinstance(outcome.error, Unresolved) and entry.mark is None:\n",
        Leaning(verbs=("suspend", "restore"), kinds=("lost, done",), rate=0.1, policy=0, steps=18),
    ),
    Mutant(
        "a removal is not found out once no row maps it",
        "domain/recovery.py",
        "    held = {**absent, **account.attributes}\n",
        "    held = account.attributes\n",
        UNMAPPED,
    ),
    Mutant(
        "nothing waits any more, and is shown as waiting",
        "domain/decision.py",
        "    return replace(noted, pending=False, failure=None, drift=drift)",
        "    return replace(noted, failure=None, drift=drift)",
        Leaning(verbs=("kill_token", "suspend", "restore", "reauthorize"), rate=0.004, policy=0, steps=18),
    ),
    Mutant(
        "the directory's own time is not heeded",
        "domain/deprovisioning.py",
        "since, known = min(told or now, now), timers.get(trigger)",
        "since, known = now, timers.get(trigger)",
        Leaning(verbs=("suspend",), kinds=("notification lost", "message lost"), rate=0.3, policy=3, steps=12),
    ),
    Mutant(
        "a plan that is held brings timers back",
        "app/runs/dispatch.py",
        "if entry is not None and entry.mark is None and entry.version == version:",
        "if entry is not None and entry.mark is None:",
        replace(LIMITED, verbs=("leave", "join", "delete")),
    ),
    Mutant(
        "what was suspended before is not counted again",
        "domain/guard.py",
        'last.isoformat() if last else "")',
        '"")',
        replace(LIMITED, verbs=("suspend", "restore"), steps=30, people=3),
    ),
    Mutant(
        "a held plan stays when nobody of it is due any more",
        "domain/holds.py",
        "verdict.standing in STANDS and judged and due is not None and not rests and not _stands(member, entry, due)",
        "not member",
        replace(LIMITED, verbs=("suspend", "restore", "leave", "join")),
    ),
    Mutant(
        "changes write no audit",
        "app/provisioning/marked_changes.py",
        "                events=events,",
        "                events=(),",
        LEAVING,
    ),
    Mutant(
        "Firestore does not compare the time of the last update",
        "adapters/firestore/database.py",
        "            batch.update(snapshot.reference, fields, option=option)",
        "            batch.update(snapshot.reference, fields)",
        STORED,
    ),
    Mutant(
        "events are not written with the entry",
        "adapters/firestore/roster.py",
        "        documents += add_events(batch, home, change.events)\n",
        "        apart = self._database.client.batch()\n"
        "        if change.events:\n"
        "            self._database.commit(apart, add_events(apart, home, change.events))\n",
        STORED,
    ),
    Mutant(
        "a run counts its events twice",
        "app/provisioning/marked_changes.py",
        "            counts = count(events, settled)",
        "            counts = count([*events, *events], settled)",
        LEAVING,
    ),
    Mutant(
        "timers run while the connection is off",
        "domain/deprovisioning.py",
        "return Clock(stood=self.stood + (now - self.off_since), last=(self.off_since, now))",
        "return replace(self, off_since=None)",
        FOR_DAYS,
    ),
    Mutant(
        "timers run while the user is archived",
        "domain/decision.py",
        "standing: Collection[Trigger] = tuple(Trigger) if idles(seen, rules) else ()",
        "standing: Collection[Trigger] = ()",
        FOR_DAYS,
    ),
    Mutant(
        "half of the people may lose access",
        "domain/settings.py",
        "return max(1, ceil(active * self.share) - 1)",
        "return max(1, active)",
        HALVED,
    ),
    Mutant(
        "nothing limits what is given",
        "domain/guard.py",
        "return max(GIVEN_AT_LEAST, int(base * GIVEN_SHARE))",
        "return ROOM",
        GIVING,
    ),
    Mutant(
        "nothing limits what is wiped",
        "domain/guard.py",
        "return entry is not None and bool(_wiped(entry, attributes))",
        "return False",
        WIPING,
    ),
    Mutant(
        "what somebody locked is unlocked without an approval",
        "app/provisioning/volume_guard.py",
        "        and member.kind is not Kind.UNLOCKING\n",
        "",
        Leaning(verbs=("lock", "suspend", "restore"), rate=0.004, policy=0, steps=16, connections=1),
    ),
    Mutant(
        "what waits in a held plan goes one by one",
        "app/provisioning/volume_guard.py",
        "return verdict is not None and verdict.standing is not Standing.APPROVED",
        "return verdict is not None and verdict.standing is Standing.REJECTED",
        HELD,
    ),
    Mutant(
        "looks do not heed a rejection",
        "app/provisioning/volume_guard.py",
        "return verdict is not None and verdict.standing is not Standing.APPROVED",
        "return verdict is not None and verdict.standing is Standing.WAITING",
        REJECTED,
    ),
    Mutant(
        "runs do not heed a rejection",
        "app/runs/hold_plan.py",
        "keeps = {Standing.REJECTED, Standing.WITHDRAWN} | ",
        "keeps = {Standing.WITHDRAWN} | ",
        REJECTED,
    ),
    Mutant(
        "a deletion does not heed that a suspension was rejected",
        "domain/holds.py",
        "if known is None and member.action == Action.DELETE.value:",
        "if known is None and member.action == Action.UNLOCK.value:",
        replace(REJECTED, verbs=("suspend", "reject"), policy=1, days=3),
    ),
    Mutant(
        "a held plan dates what has just begun as its run does",
        "app/runs/brake_plan.py",
        "return replace(wanted, member=member_of(Action(wanted.member.action), entry, trigger, {}))",
        "return wanted",
        BEGUN_AGAIN,
    ),
    Mutant(
        "a run that is held up ends what was decided since it read",
        "app/runs/hold_plan.py",
        "stands = whole and (began is None or hold.raised_at <= began)",
        "stands = whole",
        HELD_UP,
    ),
    Mutant(
        "a suspension that began again, unseen, counts from the first time",
        "domain/deprovisioning.py",
        "> CLOCKS_APART and clock.stood_by(known, since)",
        "> CLOCKS_APART and False",
        REJECTED,
    ),
    Mutant(
        "a return is not noted where access waits for an approval",
        "domain/plan.py",
        "                if found is not None:\n                    found = replace(found, timers=",
        "                if found is not None and decision.action.deprovisions:\n"
        "                    found = replace(found, timers=",
        RETURNING,
    ),
    Mutant(
        "another account counts as written like the one before",
        "domain/changes.py",
        "    entry = _with_account(entry, outcome.scim_id)\n",
        "    entry = replace(entry, scim_id=outcome.scim_id)\n",
        REPLACED,
    ),
    Mutant(
        "a waiting plan does not end where it differs",
        "app/runs/hold_plan.py",
        "services.holds.change(connection.id, hold.digest, lambda current: _released(current, now))",
        "pass",
        HELD,
    ),
    Mutant(
        "a claim is taken from whoever has the account",
        "app/provisioning/claiming.py",
        "    if holder is not None and (holder.mark is not None or holder.scim_id == scim_id):\n        return False\n",
        "",
        MIXED_UP,
    ),
    Mutant(
        "an edit tells nothing",
        "app/administration/configure.py",
        "changed = services.connections.change(connection_id, change_if_other, tell)",
        "changed = services.connections.change(connection_id, change_if_other)",
        Leaning(verbs=("edit_policy", "edit_limit"), rate=0.004),
    ),
    Mutant(
        "a decision about a held plan tells nothing",
        "app/administration/held_plans.py",
        "decided = services.holds.change(connection_id, digest, decide, tell)",
        "decided = services.holds.change(connection_id, digest, decide)",
        HELD,
    ),
    Mutant(
        "a report of a departure proves it",
        "app/notifications/follow_changes.py",
        "            swept = self._sweep(user_id, change)\n",
        "            from autoprovisioning.domain.runs import Evidence\n\n"
        "            evidence = Evidence(left=tuple(each.id for each in self._serving))\n"
        "            self._follower.queue.look_again([Look(user_id=user_id, evidence=evidence)])\n"
        "            swept = Followed.LOOK\n",
        REPORTED,
    ),
    Mutant(
        "a report of a deletion proves it",
        "app/notifications/follow_changes.py",
        "Look(user_id=user_id, event=event, asked_at=now, cause=cause, groups=groups)",
        "Look(user_id=user_id, event=event, asked_at=now, cause=cause, groups=groups, evidence="
        '__import__("autoprovisioning.domain.runs", fromlist=["Evidence"]).Evidence(missing=event == "delete"))',
        REPORTED,
    ),
    Mutant(
        "leases are not given back",
        "app/runs/lease.py",
        "services.leases.release(name, holder)",
        "pass",
    ),
    Mutant(
        name="a deletion waits for no batches",
        file="app/administration/finish_deletions.py",
        old="for run in services.runs.open(connection.id)]",
        new="for run in services.runs.open(connection.id) if run.state is RunState.OBSERVING]",
        leaning=DELETED,
    ),
    Mutant(
        name="accounts that nobody provisions are locked without an approval",
        file="app/runs/lock_accounts.py",
        old='        by = verdict.by if verdict is not None and verdict.authorises(None, now) else ""\n',
        new='        by = "anybody" if verdict is not None else ""\n',
        leaning=LOCKED,
    ),
    Mutant(
        name="an account is locked without asking whose it is",
        file="app/runs/lock_accounts.py",
        old="        return Owner() if was.returns else owner_of(",
        new="        return Owner() if was.key else owner_of(",
        leaning=LOCKED,
    ),
    Mutant(
        name="the outcome of a lock that was lost is never found out",
        file="domain/locks.py",
        old="    return lock.until is not None and account.active is lock.returns\n",
        new="    return False\n",
        leaning=replace(LOCKED, kinds=("lost, done",), rate=0.5),
    ),
    Mutant(
        name="where drift is only reported, access that somebody gave stays",
        file="domain/keeper_listing.py",
        old="    return replace(found, fingerprint=entry.fingerprint, drift=drift)\n",
        new="    return replace(entry, drift=drift)\n",
        leaning=ONLY_REPORTED,
    ),
    Mutant(
        name="teams are matched by name",
        file="domain/team_plan.py",
        old="    planner = _Planner(choice, teams, known, now, confirmed)\n",
        new="    ids = {team_name(group): group.id for group in groups}\n"
        "    teams = [replace(team, external_id=ids.get(team.name, team.external_id)) for team in teams]\n"
        "    planner = _Planner(choice, teams, known, now, confirmed)\n",
        leaning=REUSED,
    ),
    Mutant(
        name="a team that is left over is renamed for another group",
        file="domain/team_plan.py",
        old="            if len(self.plan.creates) < CREATIONS_A_RUN:\n",
        new="            rest = [teams[0] for each, teams in self._of.items() if each not in self.plan.known]\n"
        "            if rest:\n"
        "                self.plan.renames.append(self._note(group, TeamState.WAITING, rest[0]))\n"
        "            elif len(self.plan.creates) < CREATIONS_A_RUN:\n",
        leaning=REUSED,
    ),
    Mutant(
        name="a team that somebody deleted is made again",
        file="domain/team_plan.py",
        old="        if had is not None and had.team_id and not self._disowned(had.team_id, wanted):\n",
        new="        if had is None and self._choice is None:\n",
        leaning=replace(TEAMS, team_verbs=("delete_team",)),
    ),
    Mutant(
        name="no more is remembered of a team that was asked for",
        file="domain/teams.py",
        old="        return failed and (self.name == name or in_doubt) and rests\n",
        new="        return failed and in_doubt and not name\n",
        leaning=LATE_TEAMS,
    ),
    Mutant(
        name="groups that cannot be read are empty",
        file="app/runs/team_members.py",
        old='        log.warning("The members of a group could not be read: %s", type(error).__name__)\n'
        "        return None\n",
        new="        return frozenset() if error else None\n",
        leaning=UNREAD_TEAMS,
    ),
    Mutant(
        name="nothing limits how many leave a team",
        file="domain/memberships.py",
        old="    if len(gone) > 1 and (",
        new="    if not gone and (",
        leaning=LEAVING_TEAMS,
    ),
    Mutant(
        name="an approval of removals is about whoever leaves",
        file="domain/memberships.py",
        old="        return now - self.at < WINDOW and self.digest == digest_of(leaves)\n",
        new="        return now - self.at < WINDOW and bool(self.digest)\n",
        leaning=APPROVED,
    ),
    Mutant(
        name="an approval of removals is never spent",
        file="domain/memberships.py",
        old="for user_id, at in self.approvals.items() if user_id not in users})\n",
        new="for user_id, at in self.approvals.items() if user_id or users})\n",
        leaning=AGAIN,
    ),
    Mutant(
        name="a membership in doubt is forgotten",
        file="domain/account_teams.py",
        old="        asked = tuple(sorted({*entry.asked, *self.joins, *self.leaves}))\n",
        new="        asked = entry.asked\n",
        leaning=DOUBTED,
    ),
    Mutant(
        name="who is suspended joins teams",
        file="domain/plan.py",
        old="        joins = entitled and not shut_out\n",
        new="        joins = entry is not None or not shut_out\n",
        leaning=replace(TEAMS, team_verbs=("suspend", "join_group", "fill_team_group")),
    ),
    Mutant(
        name="who is suspended stays in teams, whatever was chosen",
        file="domain/memberships.py",
        old="    return entry.status is Status.SUSPENDED and not entitled\n",
        new="    return entry.gone and not entitled\n",
        leaning=replace(TEAMS, team_verbs=("suspend", "remove_suspended")),
    ),
    Mutant(
        name="what is sent about teams is not recorded before",
        file="app/runs/follow_teams.py",
        old="        known = services.teams.change(connection.id, work.beside, work.told())\n",
        new="        pass\n",
        leaning=replace(LATE_TEAMS, kinds=("crash before", "crash after"), rate=0.05),
    ),
    Mutant(
        name="a removal that was sent is taken for none",
        file="domain/account_teams.py",
        old="        teams = tuple(team_id for team_id in entry.teams if team_id not in asked)",
        new="        teams = entry.teams",
        leaning=DOUBTED,
    ),
    Mutant(
        name="a membership is certain and in doubt",
        file="domain/account_teams.py",
        old="        teams = tuple(team_id for team_id in entry.teams if team_id not in asked)",
        new="        teams = tuple(team_id for team_id in entry.teams if team_id not in self.leaves)",
        leaning=GONE_WITH_TEAMS,
    ),
    Mutant(
        name="who got no account may be in a team",
        file="domain/changes.py",
        old="    if not (entry.scim_id or outcome.made):\n",
        new="    if not (entry.scim_id or outcome.made or entry.asked):\n",
        leaning=NO_SEATS,
    ),
    Mutant(
        name="a membership in doubt is asked for again, whatever the directory says",
        file="domain/memberships.py",
        old="        return tuple(each for each in asked if (not joins if each in inside else self._stays(each)))\n",
        new="        return () if inside or asked else ()\n",
        leaning=replace(DOUBTED, team_verbs=("suspend", "join_group", "delete_group")),
    ),
)


def patched(mutant: Mutant, folder: Path) -> Path:
    """Copy the source, apply the patch, and return the copy's source root."""
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / PACKAGE / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: what it replaces stands {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new))
    return folder / "functions"


def search(name: str, first: int = 1, most: int = MOST) -> None:
    """Run histories in this process, whose source may be patched, until one breaks a law."""
    from tests.simulation.history import generate
    from tests.simulation.world import World

    mutant = next(each for each in MUTANTS if each.name == name)
    for seed in range(first, most + 1):
        ending = World(generate(seed, mutant.leaning)).run()
        if ending.law:
            print(f"{seed}\t{ending.law}")
            return
    print("0\tnot found")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of a mutant: the history that found it, 0 for none, and the law which that breaks.

    `faults` are histories before that which break a law with nothing taken out, so that they prove nothing.
    """

    mutant: Mutant
    seed: int
    law: str
    faults: Sequence[tuple[int, str]] = ()


def tried(mutant: Mutant, most: int = MOST, whole: Path = ROOT / "functions") -> Trial:
    """Search for a mutant, and run each history that breaks a law again with the `whole` source, which must keep it."""
    faults: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        source = patched(mutant, Path(folder))
        while True:
            seed, law = _broken(mutant, source, faults[-1][0] + 1 if faults else 1, most)
            fault, without = _broken(mutant, whole, seed, seed) if seed else (0, "")
            if not fault:
                return Trial(mutant=mutant, seed=seed, law=law, faults=faults)
            faults.append((fault, without))


def _broken(mutant: Mutant, source: Path, first: int, most: int) -> tuple[int, str]:
    """Return the first history that breaks a law with a source, 0 for none, and the law."""
    span = ["--first", str(first), "--most", str(most)]
    command = [sys.executable, "-m", "tests.simulation.mutants", "--search", mutant.name, *span]
    environment = {**os.environ, "PYTHONPATH": f"{source}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=source, check=False)
    if done.returncode:
        raise SystemExit(f"{mutant.name}: {done.stderr}")
    seed, law = done.stdout.strip().split("\t")
    return int(seed), law


def report(trials: Iterable[Trial], most: int) -> int:
    """Print what became of each mutant; returns how many were not found, or met a fault that is none of theirs."""
    ran = found = bad = 0
    for trial in trials:
        ran, found, bad = ran + 1, found + bool(trial.seed), bad + (not trial.seed or bool(trial.faults))
        for seed, law in trial.faults:
            told = "THE PRODUCT OR THE LAW IS AT FAULT: with nothing taken out, this history breaks"
            print(f"{seed:>6}  {trial.mutant.name}: {told}: {law}", flush=True)
        print(f"{trial.seed or 'never':>6}  {trial.mutant.name}: {trial.law}", flush=True)
    print(f"{found} of {ran} mutants found, each within {most} histories")
    return bad


def main() -> int:
    """Run the mutants named, or all, and print the histories that each needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--search")
    parser.add_argument("--first", type=int, default=1, help="with --search: the first history")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--most", type=int, default=MOST, help="histories for each")
    chosen = parser.parse_args()
    if chosen.search:
        search(chosen.search, chosen.first, chosen.most)
        return 0
    wanted = [mutant for mutant in MUTANTS if not chosen.names or mutant.name in chosen.names]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        return 1 if report(pool.map(partial(tried, most=chosen.most), wanted), chosen.most) else 0


if __name__ == "__main__":
    sys.exit(main())
