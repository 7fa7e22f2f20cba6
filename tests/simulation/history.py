"""Histories: who there is, what happens when, and how often calls are struck; made from a seed, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from tests.simulation.node_teams import NodeTeams
from tests.simulation.weather import KINDS, WITNESSES

USERS = tuple(f"u{number}" for number in range(1, 9))
NAMES = ("Ada", "Bob", "Cyd", "Dan", "Eve", "Fay")
ADDRESSES = tuple(f"{name.lower()}@example.com" for name in (*NAMES, "Gus", "Hal", "Ivy"))
ACTIVE_MINUTES = 200
FULL_RUNS = {1: 60, 3: 1440}  # minutes, by the seed's last digit: half of those with a log sink
LONG_DAYS = 12  # of one history in eight: some steps, and days between them
POLICIES = (
    Deprovisioning(),
    Deprovisioning(
        app_off=Delays(suspend_after=0, delete_after=1),
        suspended=Delays(suspend_after=0, delete_after=2),
        deleted=Delays(suspend_after=0, delete_after=1),
    ),
    Deprovisioning(
        app_off=Delays(suspend_after=1, delete_after=None),
        suspended=Delays(suspend_after=1, delete_after=2),
        deleted=Delays(suspend_after=0, delete_after=None),
    ),
    Deprovisioning(
        app_off=Delays(suspend_after=2, delete_after=3),
        suspended=Delays(suspend_after=0, delete_after=None),
        deleted=Delays(suspend_after=1, delete_after=None),
    ),
)
MAPPINGS = (
    AttributeMapping(),
    AttributeMapping((*DEFAULT_ROWS, Row(target="title", source='"Contractor"'))),
    AttributeMapping((*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title"))),  # nobody has one
    AttributeMapping(tuple(row for row in DEFAULT_ROWS if row.target != "name.familyName")),
    AttributeMapping((*DEFAULT_ROWS[1:], Row(target="displayName", source="name.givenName"))),
)
SCOPES = ("groups", "groups", "groups", "units", "both")

# What is left out for now, each with the fault of the product that it shows; a line goes when its fault is mended.
LEFT_OUT: Mapping[str, str] = {}

# In long histories these weigh more: what timers run by.
OF_TIMERS = frozenset(
    "suspend restore archive leave join off on pilot edit_archived edit_policy delete undelete".split()
)

# What administrators often do about what has happened, on the same connection, within the hour.
SEQUELS: Mapping[str, tuple[str, ...]] = {
    "empty_group": ("approve", "reject", "decide_some", "fill_group"),
    "approve": ("withdraw", "run"),
    "reject": ("reverse", "withdraw"),
    "decide_some": ("reverse", "withdraw"),
    "hire": ("confirm",),
    "empty_team_group": ("approve_team_removals", "approve_team_removals", "fill_team_group"),
    "leave_group": ("approve_team_removals", "join_group"),
    "delete_team": ("choose_teams", "choose_again"),
    "foreign_team": ("rename_group", "adopt_team", "adopt_team"),
    "lose_roster": ("take_over",),
    "relabel": ("take_over",),
    "stranger": ("take_over",),
}

# verb -> weight, and the kind of event that it belongs to ("" is always there)
VERBS: Mapping[str, tuple[int, str]] = {
    "hire": (10, ""),
    "rename": (8, ""),
    "readdress": (5, ""),
    "reuse": (3, ""),
    "swap": (3, ""),
    "alias": (2, ""),
    "drop_alias": (2, ""),
    "suspend": (9, ""),
    "restore": (7, ""),
    "archive": (4, ""),
    "delete": (5, ""),
    "undelete": (3, ""),
    "leave": (7, ""),
    "join": (6, ""),
    "move": (4, ""),
    "also": (4, ""),
    "empty_group": (9, ""),
    "fill_group": (3, ""),
    "transfer": (3, ""),
    "rename_unit": (2, ""),
    "break_group": (2, ""),
    "lock": (3, ""),
    "unlock": (3, ""),
    "rename_by_hand": (3, ""),
    "delete_by_hand": (2, ""),
    "stranger": (2, ""),
    "invite": (2, ""),
    "relabel": (2, ""),
    "edit_policy": (2, ""),
    "edit_limit": (2, ""),
    "edit_scope": (3, ""),
    "edit_mapping": (2, ""),
    "edit_archived": (2, ""),
    "rename_connection": (1, ""),
    "edit_endpoint": (1, ""),
    "approve": (4, ""),
    "reject": (4, ""),
    "decide_some": (4, ""),
    "reverse": (3, ""),
    "withdraw": (4, ""),
    "confirm": (4, ""),
    "take_over": (3, ""),
    "lose_roster": (1, ""),
    "off": (2, ""),
    "on": (4, ""),
    "pilot": (2, ""),
    "kill_token": (2, ""),
    "reauthorize": (4, ""),
    "provision": (4, ""),
    "preview": (2, ""),
    "run": (3, ""),
    "delete_connection": (1, ""),
    "mix_up": (0, ""),  # only where a leaning has it, and so is this one:
    "vanish": (0, ""),
    "choose_locks": (0, ""),  # in one history of six, besides (`_locks`), and so is what follows:
    "undo_lock": (0, ""),
    "namesake": (0, ""),
    "edit_drift": (0, ""),  # in another history of six, besides (`_reporting`)
}
# Of histories with teams, besides.
TEAM_VERBS: Mapping[str, int] = {
    "create_group": 4,
    "rename_group": 8,
    "swap_groups": 2,
    "delete_group": 2,
    "join_group": 12,
    "leave_group": 14,
    "leave_groups": 4,
    "nest_group": 6,
    "empty_team_group": 6,
    "fill_team_group": 3,
    "break_team_group": 4,
    "break_groups": 2,
    "delete_team": 2,
    "rename_team_by_hand": 3,
    "foreign_team": 4,
    "adopt_team": 3,
    "approve_team": 2,
    "put_into_team": 5,
    "take_out_of_team": 4,
    "choose_teams": 6,
    "choose_again": 3,
    "remove_suspended": 4,
    "approve_team_removals": 4,
    "run": 3,
    "suspend": 4,
    "restore": 4,
    "leave": 3,
    "join": 3,
}
WITH_TEAMS = 1 / 3  # of the histories
LOCKING = REPORTING = 6  # of so many seeds one has locks of accounts that nobody provisions, one drift only reported


@dataclass(frozen=True, slots=True)
class Step:
    """Something that somebody does, so many minutes after the beginning."""

    at: float
    verb: str
    whom: str  # a user
    other: int  # whatever else the verb needs: an address, a connection, a policy

    def __str__(self) -> str:
        return f"{self.at:8.1f} min  {self.verb} {self.whom} ({self.other})"


@dataclass(frozen=True, slots=True)
class OfTeams:
    """What stands at the beginning where groups become teams; the first fields are those of `NodeTeams`."""

    unique: bool
    strict: bool
    lag: int  # minutes
    least: int  # people whom any team may lose in a day
    chosen: bool  # the groups are chosen from the beginning
    older: bool  # some batches are applied by workers of a release that knows of no teams

    def of_node(self) -> NodeTeams:
        """Return the teams of a node, none."""
        return NodeTeams(unique=self.unique, strict=self.strict, lag=timedelta(minutes=self.lag))


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands at the beginning."""

    connections: int
    people: int
    policy: int
    limit: int
    rate: float
    kinds: frozenset[str]
    skewed: bool
    locks: bool
    normalises: bool
    shared: bool
    rough_start: bool  # the first run meets faults
    firestore: bool = False  # state is kept by the real adapters, over Firestore in memory
    scopes: str = "groups"  # of which the scopes are made at first: one of `SCOPES`
    days: int = 0  # of a long history, whose schedule is whole around its steps alone
    given: int = 50  # creations and reactivations a day, after the first run
    sink: bool = False  # the organization publishes Workspace's audit log, too
    parts: bool = False  # the directory counts as large: it is listed in parts
    hurried: bool = False  # ... for which runs have little time until the weather is fair
    full_runs: int = 15  # minutes from one full run to the next while entries of the audit log arrive
    teams: OfTeams | None = None  # groups become teams


@dataclass(frozen=True, slots=True)
class History:
    """All that a run of the simulation is made from."""

    seed: int
    setting: Setting
    steps: tuple[Step, ...]
    left_out: frozenset[str] = frozenset()  # kinds of event, of `LEFT_OUT`

    def told(self) -> str:
        """Tell it, step by step."""
        setting = self.setting
        head = (
            f"{setting.connections} connections, {setting.people} people, policy {setting.policy}, "
            f"limits {setting.limit} and {setting.given}, faults {setting.rate:.3f}, "
            f"clocks {'apart' if setting.skewed else 'alike'}"
            f"{', state over Firestore' if setting.firestore else ''}, scopes of {setting.scopes}"
            f"{f', {setting.days} days' if setting.days else ''}{', with a log sink' if setting.sink else ''}"
            f"{', listed in parts' if setting.parts else ''}{' in a hurry' if setting.hurried else ''}"
            f"{f', a full run in {setting.full_runs} minutes' if setting.full_runs > 15 else ''}"
            f"{f', {setting.teams}' if setting.teams is not None else ''}"
        )
        return "\n".join([head, *map(str, self.steps)])


@dataclass(frozen=True, slots=True)
class Leaning:
    """What a generator leans towards, for finding one kind of fault sooner; verbs weigh more, rates are chosen."""

    verbs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    rate: float | None = None
    limit: int | None = None
    people: int | None = None
    minutes: int = ACTIVE_MINUTES
    steps: int | None = None
    connections: int | None = None
    skewed: bool | None = None
    policy: int | None = None
    rough: bool | None = None
    whom: int | None = None  # how many people things happen to
    together: bool = False  # all within some seconds of the schedule
    firestore: bool | None = None
    days: int | None = 0  # None: as chance has it
    given: int | None = None
    sink: bool | None = False  # None: as chance has it
    parts: bool | None = None
    full_runs: int | None = None
    teams: bool | None = False  # None: as chance has it
    team_verbs: tuple[str, ...] = ()
    team_steps: int | None = None
    least: int | None = None  # people whom any team may lose in a day


EVEN = Leaning(days=None, sink=None, teams=None)


def generate(seed: int, leaning: Leaning = EVEN, also: Collection[str] = ()) -> History:
    """Make the history of a seed; `also` are kinds of event that are not to be left out for once."""
    left_out = frozenset(LEFT_OUT) - frozenset(also)
    chance = Random(seed)
    kinds = sorted(KINDS - WITNESSES[chance.randrange(2)])
    days = LONG_DAYS * (chance.random() < 1 / 8) if leaning.days is None else leaning.days
    setting = Setting(
        connections=leaning.connections or chance.choice((1, 1, 1, 2, 2, 3)),
        people=leaning.people or chance.randint(2, 5),
        policy=chance.randrange(bool(days), len(POLICIES)) if leaning.policy is None else leaning.policy,
        limit=leaning.limit or chance.choice((1000, 1000, 3, 2, 5)),
        rate=chance.choice((0.0, 0.004, 0.015, 0.05)) if leaning.rate is None else leaning.rate,
        kinds=frozenset(leaning.kinds) or frozenset(chance.sample(kinds, chance.randint(4, len(kinds)))),
        skewed=chance.random() < 0.3 if leaning.skewed is None else leaning.skewed,
        locks=chance.random() < 0.7,
        normalises=chance.random() < 0.2,
        shared=chance.random() < 0.5,
        rough_start=chance.random() < 0.3 if leaning.rough is None else leaning.rough,
        firestore=seed % 3 == 0 if leaning.firestore is None else leaning.firestore,
        scopes=chance.choice(SCOPES),
        days=days,
        given=leaning.given or (2 if seed % 4 == 1 else 50),
        sink=seed % 5 in (1, 3) if leaning.sink is None else leaning.sink,
        parts=seed % 5 < 2 if leaning.parts is None else leaning.parts,
        hurried=seed % 10 in (1, 5) and leaning.parts is None,
        full_runs=leaning.full_runs or (FULL_RUNS.get(seed % 10, 15) if leaning.sink is None else 15),
    )
    verbs = {verb: weight for verb, (weight, kind) in VERBS.items() if kind not in left_out}
    for verb in OF_TIMERS & verbs.keys() if days else ():
        verbs[verb] *= 4
    for verb in leaning.verbs:
        verbs[verb] = max(1, verbs.get(verb, VERBS[verb][0])) * 8
    count = leaning.steps or chance.randint(3, 16)
    chosen = chance.choices(tuple(verbs), tuple(verbs.values()), k=count)
    minutes = days * 1440 or leaning.minutes
    times = sorted(_time(chance, minutes, together=leaning.together) for _ in range(count))
    steps = [
        Step(at, verb, chance.choice(USERS[: leaning.whom or setting.people + 3]), chance.randrange(1000))
        for at, verb in zip(times, chosen, strict=True)
    ]
    if leaning is EVEN:
        steps += [sequel for step in steps for sequel in _sequels(chance, step) if sequel.verb in verbs]
        steps += _locks(chance, setting, minutes) if seed % LOCKING == 2 else ()
        steps += _reporting(chance, setting, minutes) if seed % REPORTING == 5 else ()
    history = History(seed, setting, tuple(sorted(steps, key=lambda step: step.at)), left_out)
    return _with_teams(history, leaning, minutes)


def _with_teams(history: History, leaning: Leaning, minutes: int) -> History:
    """Return a history with groups that become teams, if it is to have some: else it is as if there were none."""
    chance = Random(f"teams {history.seed}")
    drawn = chance.random() < WITH_TEAMS
    if not (drawn if leaning.teams is None else leaning.teams):
        return history
    teams = OfTeams(
        unique=chance.random() < 0.5,
        strict=chance.random() < 0.5,
        lag=chance.choice((0, 0, 0, 10, 30)),
        least=leaning.least or chance.choice((1, 2, 20)),
        chosen=chance.random() < 0.8,
        older=chance.random() < 0.2,
    )
    verbs = {verb: weight * (8 if verb in leaning.team_verbs else 1) for verb, weight in TEAM_VERBS.items()}
    count = leaning.team_steps or chance.randint(4, 14)
    users = USERS[: leaning.whom or history.setting.people + 3]
    steps = []
    for verb in chance.choices(tuple(verbs), tuple(verbs.values()), k=count):
        at = _time(chance, minutes, together=leaning.together)
        steps.append(Step(at, verb, chance.choice(users), chance.randrange(1000)))
    if leaning is EVEN:
        steps += [sequel for step in steps for sequel in _sequels(chance, step)]
    together = tuple(sorted((*history.steps, *steps), key=lambda step: step.at))
    return replace(history, setting=replace(history.setting, teams=teams), steps=together)


def _sequels(chance: Random, step: Step) -> Iterator[Step]:
    """Yield what follows upon a step: half of the time something does, and that has sequels, too."""
    if step.verb in SEQUELS and chance.random() < 0.5:
        at = round(step.at + 20 + 40 * chance.random(), 1)
        sequel = Step(at, chance.choice(SEQUELS[step.verb]), step.whom, step.other % 6 + 6 * chance.randrange(100))
        yield sequel
        yield from _sequels(chance, sequel)


def _locks(chance: Random, setting: Setting, minutes: int) -> Iterator[Step]:
    """Yield how strangers' accounts are chosen to be locked, what becomes of them meanwhile, and what is decided."""
    for _ in range(chance.randint(1, 3)):
        at, other, connection = minutes * chance.random() / 2, chance.randrange(1000), chance.randrange(6)
        whom = chance.choice(USERS[: setting.people + 3])
        meanwhile = chance.choice(
            ("invite", "alias", "namesake", "namesake", "relabel", "take_over", "off", "run", "restore")
        )
        decided = chance.choice(("approve", "approve", "decide_some", "reject"))
        verbs = ("stranger", "choose_locks", decided, meanwhile, chance.choice(("run", "withdraw", "reverse")))
        for verb in (*verbs, *chance.choice(((), ("undo_lock",), ("undo_lock", "choose_locks", "approve")))):
            at += 1 + 40 * chance.random()
            yield Step(round(at, 1), verb, whom, connection + 6 * (other // 6))


def _reporting(chance: Random, setting: Setting, minutes: int) -> Iterator[Step]:
    """Yield how a connection comes to only report what is changed in Keeper, what is changed there, and so on."""
    users, connection = USERS[: setting.people + 3], chance.randrange(6)
    by_hand = ("unlock", "unlock", "rename_by_hand", "delete_by_hand", "relabel", "lock", "suspend", "leave", "delete")
    for verb in ("edit_drift", *chance.choices(by_hand, k=chance.randint(3, 8)), *chance.choice(((), ("edit_drift",)))):
        at = 0.2 * minutes * chance.random() if verb == "edit_drift" else minutes * chance.random()
        yield Step(round(at, 1), verb, chance.choice(users), connection + 6 * chance.randrange(100))


def _time(chance: Random, minutes: int, *, together: bool) -> float:
    """Choose a moment: often one at which something of ours is under way."""
    if together or chance.random() < 0.5:
        return round(5 * chance.randrange(minutes // 5) + 0.2 * chance.random(), 3)
    return round(minutes * chance.random(), 1)
