"""What is checked before anything changes: which region a deployment is in, what is not ours, what else is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from infra.gcp import access, commands, firestore, lock, marks, services, sink
from infra.gcp.description import DATABASE, DEPLOYMENT, KEYS, TOKEN_SECRETS, WEBHOOK
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.marks import Whose
from infra.gcp.steps import AS_JSON, Command, Step, gcloud
from infra.gcp.target import ALONE, ENTRY, OFF, ORGANIZATION, Target

Say = Callable[[str], None]
Ask = Callable[[str], str]
APIS = {  # group of commands -> the API without which nothing of it can exist
    "artifacts": "artifactregistry",
    "billing": "billingbudgets",
    "firestore": "firestore",
    "functions": "cloudfunctions",
    "iam": "iam",
    "logging": "logging",
    "pubsub": "pubsub",
    "run": "run",
    "scheduler": "cloudscheduler",
    "secrets": "secretmanager",
    "storage": "storage",
}
AS_PEOPLE_SAY = {
    "function": "functions",
    "service": "services",
    "topic": "topics",
    "secret": "secrets",
    "account": "service accounts",
}
DATABASE_THERE = f"Firestore database {DATABASE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the person who deploys agrees to beforehand."""

    adopt: bool = False  # ADOPT=yes
    confirmed: bool = False  # CONFIRM=yes, of a project with other things in it
    answered: bool = False  # that was asked and answered before


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Something under a name of ours that has no mark of ours."""

    what: str
    whose: Whose


class Seen:
    """A project before anything is done to it. What belongs to an API that is not enabled is not there."""

    def __init__(self, target: Target, cloud: Gcloud) -> None:
        self._target = target
        self._cloud = cloud
        listed = cloud.look(commands.apis(target).look) or ()
        self._enabled = {item["config"]["name"].removesuffix(".googleapis.com") for item in listed}

    def look(self, command: Command) -> Any:
        """Return what a command answers, None if there is nothing."""
        return self._cloud.look(command) if APIS[command[1]] in self._enabled else None

    @property
    def recorded(self) -> str:
        """Return the region that a deployment recorded; empty for none."""
        return marks.region_of(self.look(record(self._target)))

    @property
    def unrecorded(self) -> bool:
        """Whether there is a deployment that recorded no region, as earlier versions did not."""
        account = self.look(record(self._target))
        return account is not None and not marks.region_of(account) and not self._foreign(account)

    def _foreign(self, account: Any) -> bool:
        return marks.by_display_name(access.RECORD)(account) is Whose.ANOTHERS

    @property
    def regions(self) -> list[str]:
        """Return where a deployment is: what it recorded, and where functions run as accounts of ours."""
        running = {place for place, name, account in self._functions() if account == self._own(name)}
        return sorted({*filter(None, [self.recorded]), *running})

    def _functions(self) -> list[tuple[str, str, str]]:
        listed = self.look(every(self._target, "function")) or ()
        places = [(item["name"].split("/"), item.get("serviceConfig") or {}) for item in listed]
        return [(parts[3], parts[5], config.get("serviceAccountEmail", "")) for parts, config in places]

    def _own(self, function: str) -> str:
        names = {item.name for item in DEPLOYMENT.functions}
        return self._target.account(function) if function in names else "nobody"

    def judged(self) -> dict[str, Whose]:
        """Return whose each thing is that is there under a name of ours."""
        steps = [step for step in commands.all_steps(self._target) if step.owned is not None]
        found = [(step, self._found(step)) for step in steps]
        whose = {step.owned.what: step.owned.whose(there) for step, there in found if step.owned and there is not None}
        if self.look(commands.database_look(self._target)) is not None:
            whose[DATABASE_THERE] = self.whose_database()
        return whose

    def _found(self, step: Step) -> Any:
        answer = self.look(step.look)
        return None if answer is None else step.find(answer)

    def whose_database(self) -> Whose:
        """Judge by what is in it: a database has neither labels nor a description.

        One of a deployment that recorded its region was judged when that began, or made by it.
        """
        fields = self.look(firestore.every_exemption(self._target.project, DATABASE)) or ()
        return Whose.OURS if self.recorded or any(map(firestore.is_exemption_of_ours, fields)) else Whose.UNMARKED

    def let_in(self) -> set[str]:
        """Return whom Identity-Aware Proxy lets through to any function."""
        found: set[str] = set()
        for function in DEPLOYMENT.functions:
            if function.iap and self.look(services.look(self._target, function.name)) is not None:
                policy = self._cloud.look(access.entrance(function.name, self._target)) or {}
                bound = [item for item in policy.get("bindings", ()) if item["role"] == access.IAP_ACCESSOR]
                found.update(member for item in bound for member in item.get("members", ()))
        return found

    def elses(self) -> dict[str, int]:
        """Count what is there besides, under other names than ours: of each kind how many."""
        target, ours = self._target, _our_names()
        counts = {}
        for kind, plural in AS_PEOPLE_SAY.items():
            names = [_short(target, item) for item in self.look(every(target, kind)) or ()]
            mine = ours[kind]
            counts[plural] = sum(not mine(name) for name in names if name)
        return {plural: count for plural, count in counts.items() if count}


def record(target: Target) -> Command:
    """Return the command that tells where the region is recorded."""
    look = gcloud("iam", "service-accounts", "describe", target.account("directory"), project=target.project)
    return (*look, AS_JSON)


def every(target: Target, kind: str) -> Command:
    """Return the command that lists all of a kind, in every region."""
    group = {
        "function": ("functions",),
        "service": ("run", "services"),
        "topic": ("pubsub", "topics"),
        "secret": ("secrets",),
    }
    return (*gcloud(*group.get(kind, ("iam", "service-accounts")), "list", project=target.project), AS_JSON)


def commands_of(target: Target) -> list[Command]:
    """Return every command that is looked at here and by no step."""
    each = (services.former(target, item.name) for item in DEPLOYMENT.functions)
    return [record(target), *(every(target, kind) for kind in AS_PEOPLE_SAY), *each]


def _our_names() -> dict[str, Callable[[str], bool]]:
    return {
        "function": {item.name for item in DEPLOYMENT.functions}.__contains__,
        "service": {item.name for item in DEPLOYMENT.functions}.__contains__,
        "topic": set(DEPLOYMENT.topics).__contains__,
        "secret": lambda name: name in (*KEYS, lock.NAME) or name.startswith(TOKEN_SECRETS),
        "account": {item.id for item in DEPLOYMENT.accounts}.__contains__,
    }


def _short(target: Target, item: Any) -> str:
    """Return a thing's own name; empty for what Google makes: accounts in every project, services of functions."""
    if "metadata" in item:
        return "" if services.is_labelled_former(item) else str(item["metadata"]["name"])
    if "email" not in item:
        return str(item["name"].rpartition("/")[2])
    name, _, domain = str(item["email"]).partition("@")
    return name if domain == f"{target.project}.iam.gserviceaccount.com" else ""


def same_region(target: Target, cloud: Gcloud) -> None:
    """See that a deployment that is there is in the region that was given.

    Raises:
        SystemExit: it is in another one; nothing was changed.
    """
    seen = Seen(target, cloud)
    places = [seen.recorded] if seen.recorded else seen.regions
    others = [region for region in places if region != target.region]
    if others and target.region not in places:
        raise SystemExit(
            f"REGION={target.region} is not where this deployment is: it is in {' and '.join(others)}. Nothing was "
            f"changed: give REGION={others[0]}. To move it, make destroy there first (Firestore stays)."
        )


def misplaced(target: Target, cloud: Gcloud) -> str:
    """Say how the database that is there is not the one that was asked for, and what to give; empty if it is."""
    database = Seen(target, cloud).look(commands.database_look(target))
    if database is None:
        return ""
    there, wanted = database.get("locationId"), target.location or target.region
    if database.get("type") != "FIRESTORE_NATIVE":
        return (
            f"{DATABASE_THERE} has another mode ({database.get('type')}), which this system cannot use: give "
            "another PROJECT."
        )
    if there == wanted:
        return ""
    asked = (
        f"LOCATION={target.location}" if target.location else f"LOCATION, which is REGION={target.region} unless given,"
    )
    return (
        f"{asked} is not where Firestore is: it is in {there}, and a database cannot be moved. Give LOCATION={there} "
        "to use it there, or another PROJECT."
    )


def as_it_is(target: Target, cloud: Gcloud) -> Target:
    """Return the target with what was deployed last, where the settings do not say.

    Of ACCESS that is whom the proxy lets in now, neither more nor fewer; of SINK, what was recorded.

    Raises:
        SystemExit: the organization that is to have the log sink cannot be told, or the webhook may not be left out;
            nothing was changed.
    """
    target = _with_sink(target, cloud)
    if target.access:
        return target
    there = Seen(target, cloud).let_in()
    return replace(target, access=there.pop()) if len(there) == 1 and all(map(ENTRY, there)) else target


def _with_sink(target: Target, cloud: Gcloud) -> Target:
    topic = Seen(target, cloud).look(sink.topic(target))
    setting, places = sink.recorded(topic)
    public_webhook = target.public_webhook or sink.webhook_recorded(topic)
    full_runs = target.full_runs or sink.full_runs_recorded(topic)
    target = replace(
        target, sink=target.sink or setting, sinks_in=places, public_webhook=public_webhook, full_runs=full_runs
    )
    if target.public_webhook == OFF and target.sink != ORGANIZATION:
        raise SystemExit(f"{ALONE} Nothing was changed.")
    if target.sink != ORGANIZATION or target.organization:
        return target
    # A project that is moved takes its log sink along: the audit log is still of the organization that it was.
    wanted = places[0] if places and setting == ORGANIZATION else _organization_of(target, cloud)
    return replace(target, organization=wanted)


def _organization_of(target: Target, cloud: Gcloud) -> str:
    mend = "give ORGANIZATION, that of your Workspace customer (gcloud organizations list). Nothing was changed."
    try:
        above = cloud.look(sink.ancestors(target)) or ()
    except GcloudFailed as error:
        raise SystemExit(f"Nobody says which organization {target.project} is in ({error.said}): {mend}") from None
    found = [str(each["id"]) for each in above if each["type"] == ORGANIZATION]
    if len(found) != 1:
        raise SystemExit(f"{target.project} is in {'several organizations' if found else 'no organization'}: {mend}")
    return found[0]


def unnamed(target: Target, cloud: Gcloud) -> str:
    """Say that ACCESS is missing, and what to give; empty if it is not."""
    if target.access:
        return ""
    there, domain = Seen(target, cloud).let_in(), target.admin.rpartition("@")[2]
    now = f" Now it lets in {', '.join(sorted(there))}." if there else ""
    return (
        f"ACCESS is missing: give group:ADDRESS, user:ADDRESS or domain:DOMAIN, one of them: whom Identity-Aware Proxy "
        f"lets through to the console. domain:{domain} is everybody in it.{now}"
    )


def _strangers(judged: dict[str, Whose]) -> list[Stranger]:
    return [Stranger(what=what, whose=whose) for what, whose in judged.items() if whose is not Whose.OURS]


def refusals(target: Target, cloud: Gcloud) -> str:
    """Say why a deployment would be refused, and how to fix that; empty if it would not be."""
    judged = Seen(target, cloud).judged()
    unknown = _strangers(judged)
    strange = _refusal(target, unknown, _deployed_before(judged)) if unknown else ""
    return "\n".join(filter(None, (unnamed(target, cloud), misplaced(target, cloud), strange)))


def _unremovable(target: Target, cloud: Gcloud) -> str:
    """Say that the webhook, which is not wanted, is still managed by Cloud Functions; empty if it is not."""
    if target.public_webhook != OFF or WEBHOOK not in managed(target, cloud):
        return ""
    return f"PUBLIC_WEBHOOK=off removes {WEBHOOK}, which Cloud Functions still manages: make detach {target.settings}"


def permit(target: Target, cloud: Gcloud, say: Say, ask: Ask, consent: Consent) -> Consent:
    """See that a deployment may begin: in its region, replacing only what is ours, and in the intended project.

    Returns what was agreed to, so that nobody is asked twice.

    Raises:
        SystemExit: it may not; nothing was changed.
    """
    same_region(target, cloud)
    trouble = " ".join(filter(None, (unnamed(target, cloud), misplaced(target, cloud), _unremovable(target, cloud))))
    if trouble:
        raise SystemExit(f"{trouble} Nothing was changed.")
    seen = Seen(target, cloud)
    judged = seen.judged()
    unknown = _strangers(judged)
    before = _deployed_before(judged)
    adoptable = [each for each in unknown if _adoptable(each, before)]
    if unknown and not (consent.adopt and len(adoptable) == len(unknown)):
        raise SystemExit(_refusal(target, unknown, before))
    if adoptable:
        say("\nTaken over as an earlier version's, since ADOPT=yes was given:")
        for each in adoptable:
            say(f"  adopt      {each.what}")
    if not (consent.confirmed or consent.answered or before):
        _confirm(target, seen.elses(), ask)
    return replace(consent, answered=True)


def _deployed_before(judged: dict[str, Whose]) -> bool:
    """Say whether a deployment of ours began here: it makes its accounts first, and they go last."""
    ids = {f"service account {item.id}" for item in DEPLOYMENT.accounts}
    return any(what in ids and whose is not Whose.ANOTHERS for what, whose in judged.items())


def _adoptable(stranger: Stranger, before: bool) -> bool:
    """Say whether it may be of an earlier version, or a database, which an owner may have made for us."""
    return stranger.whose is Whose.UNMARKED and (before or stranger.what == DATABASE_THERE)


def _refusal(target: Target, unknown: Iterable[Stranger], before: bool) -> str:
    lines = [f"{target.project} has things under names of this deployment, but without its mark:"]
    mends = set()
    for each in unknown:
        adoptable = _adoptable(each, before)
        mends.add(adoptable)
        lines.append(f"  {each.what}{'' if adoptable else f' ({Whose.ANOTHERS})'}")
    lines.append("Nothing was changed.")
    if True in mends:
        lines.append("ADOPT=yes takes over what an earlier version of this deployment made.")
    if False in mends:
        lines.append(f"What is {Whose.ANOTHERS} is never taken over: give another PROJECT, or remove it.")
    return "\n".join(lines)


def _confirm(target: Target, others: dict[str, int], ask: Ask) -> None:
    if not others:
        return
    counted = ", ".join(f"{count} {plural}" for plural, count in others.items())
    question = (
        f"This is the first deployment into {target.project}, which has other things in it: {counted}. It should be a "
        f"project of its own (docs/install.md). Type {target.project!r} to go on (CONFIRM=yes skips this): "
    )
    typed(question, target.project, ask)


def managed(target: Target, cloud: Gcloud) -> dict[str, Whose]:
    """Return which functions of our names, in this region, Cloud Functions manages, and whose they are.

    A list leaves out a region that cannot be reached, with a warning only: so what has the label is asked for by its
    name, too. The label alone tells nothing, since nothing says that detaching a function removes it.
    """
    seen, home = Seen(target, cloud), f"projects/{target.project}/locations/{target.region}/functions/"
    listed = {item["name"] for item in seen.look(every(target, "function")) or ()}
    found = {}
    for name in (function.name for function in DEPLOYMENT.functions):
        service = seen.look(services.look(target, name))
        if f"{home}{name}" in listed or services.is_labelled_former(service):
            there, account = seen.look(services.former(target, name)), target.account(name)
            if there is not None:
                whose = marks.of_function(account)(there)
                ours = whose is Whose.OURS and service is not None
                found[name] = marks.of_service(account)(service) if ours else whose
    return found


def reminder(target: Target, cloud: Gcloud) -> str:
    """Say which functions of ours Cloud Functions manages still; empty if it manages none."""
    ours = [name for name, whose in managed(target, cloud).items() if whose is Whose.OURS]
    return f"Cloud Functions still manages {', '.join(ours)}" if ours else ""


def advice(target: Target) -> str:
    """Return what to know, and to do, about functions that Cloud Functions still manages."""
    return (
        "Whatever deploys them there, such as an earlier version's make deploy, replaces what this version deployed: a "
        "way back, and a risk. Once you need no way back, take them out of Cloud Functions for good: "
        f"make detach {target.settings}"
    )


def typed(question: str, wanted: str, ask: Ask) -> None:
    """Have something typed.

    Raises:
        SystemExit: something else was typed, or nobody is there to type; nothing was changed.
    """
    try:
        answer = ask(question).strip()
    except EOFError:
        answer = ""
    if answer != wanted:
        raise SystemExit("That does not match. Nothing was changed.")
