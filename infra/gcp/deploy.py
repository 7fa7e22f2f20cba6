"""`make plan` and `make deploy`: every step in order; what is as wanted is left alone, so both may be repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from infra.gcp import (
    budget,
    build,
    commands,
    labels,
    lock,
    preflight,
    publishing,
    release,
    sink,
    smoke,
    upload,
    watching,
)
from infra.gcp.commands import TRAFFIC
from infra.gcp.delegation import SCOPES
from infra.gcp.description import KEYS
from infra.gcp.gcloud import Answer, Gcloud, GcloudFailed, Passing
from infra.gcp.preflight import Consent
from infra.gcp.steps import FOUND, Command, Step, checklist, differences, filled, shown
from infra.gcp.target import (
    BEFORE,
    BILLING_ACCOUNT,
    CHANNEL,
    DEPLOYED,
    DEPLOYER,
    ENTRANTS,
    IMAGE,
    KEY_VERSION,
    OFF,
    ORGANIZATION,
    PLACE,
    RELEASE,
    WRITER,
    Target,
)

Say = Callable[[str], None]
Ask = Callable[[str], str]
# Google does not tell a stranger whether a project exists, so gcloud reports 403 in both cases.
NO_SUCH_PROJECT = "(or it may not exist)"
NOT_ENABLED = "has not been used in project"  # the same 403, but from the API that was asked


class Done(StrEnum):
    """What became of a step."""

    UNCHANGED = "as wanted"
    MADE = "made"
    CHANGED = "changed"
    LEFT = "left to do by hand"


def plan(target: Target, say: Say) -> None:
    """Print every command that a deployment may issue, as a checklist; nothing is run."""
    say(f"Deploying to project {target.project}, region {target.region}, in the name of {target.admin}.")
    say("Each step looks first: 'make' is run if there is nothing yet, 'change' if something differs.")
    say("This command changes nothing, and asks Google nothing. What only a deployment can know is shown as:")
    say(f"  {target.number:<21} the project's number, from step 0")
    say(f"  {CHANNEL:<21} the name that Google gives the notification channel of an address")
    if target.budget:
        say(f"  {BILLING_ACCOUNT:<21} the project's, which {shown(budget.of_project(target))} tells")
    for key in KEYS:
        say(f"  {f'{key}:{KEY_VERSION}':<21} the newest version of that secret, the first in a new project")
    if not target.access:
        say(f"  {ENTRANTS:<21} whom ACCESS names: a first deployment needs it; later ones without it change nothing")
    target = _with_sink_as_planned(target, say)
    say(f"  {FOUND:<21} what the look found: a name, or each one that is not wanted")
    say(f"  {IMAGE:<21} the digest of the image, once it is built")
    say(f"  {RELEASE:<21} a label: computed from the image and the functions' settings")
    say(f"  {DEPLOYED:<21} a label: the present time")
    say(f"  {DEPLOYER:<21} a label: the account that gcloud uses")
    say(f"  {BEFORE:<21} a label: the release that serves now, which make rollback goes back to; none at first")
    say(f"  {lock.LOCK_ID:<21} random, so that a deployment recognises its own lock")
    say(f"  {lock.LOCK_ETAG:<21} of the lock that was looked at, so that no other one is deleted")
    say("One deployment at a time: once the APIs are enabled it takes a lock, checks it before each step, releases it.")
    held = lock.take(target, holder=DEPLOYER, since=DEPLOYED, id=lock.LOCK_ID, does="deploy")
    for word, command in (("look", lock.look(target)), ("make", held), ("end", lock.give_back(target, lock.LOCK_ETAG))):
        say(f"      {word:<7} {shown(command)}")
    say(f"\n[ ]   0. The project's number\n      look    {shown(commands.project_number(target))}")
    number = 0
    for number, (heading, title, several) in enumerate(checklist(commands.all_steps(target)), 1):
        if heading:
            say(f"\n{heading}")
        if heading == TRAFFIC:
            say("      Before any of this, the new revisions are tested at addresses of their own: the smoke test")
        say(f"[ ] {number:>3}. {title}")
        looks = dict.fromkeys(("look", step.look) for step in several)
        for word, command in (*looks, *_made(several)):
            say(f"      {word:<7} {shown(command)}")
        if several[0].look == build.listed(target):
            for _, command in _made(commands.image(replace(target, built_in=build.ANYWHERE))):
                say(f"      {'else':<7} {shown(command)}")
    _by_hand(target, number, say)


def _with_sink_as_planned(target: Target, say: Say) -> Target:
    """Say what only a deployment can know of the log sink, if there is to be one; return the target with that."""
    if target.sink != ORGANIZATION:
        return target
    if not target.organization:
        say(f"  {PLACE:<21} the project's organization, which {shown(sink.ancestors(target))} tells")
        target = replace(target, organization=PLACE)
    say(f"  {WRITER:<21} the identity of the log sink, which {shown(sink.look(target, target.organization))} tells")
    return target


def _by_hand(target: Target, number: int, say: Say) -> None:
    """Print what no command does, numbered on."""
    say("\nBy hand, once, when all of that is done (docs/install.md says how)")
    say(f"[ ] {number + 1:>3}. In the Admin console, let the service account read the directory")
    say(f"      client  the uniqueId of: {shown(commands.delegated_identity(target))}")
    say(f"      scopes  {','.join(SCOPES)}")
    say(f"[ ] {number + 2:>3}. See that all is well")
    say(f"              make doctor {target.settings}")
    say(f"[ ] {number + 3:>3}. Set up the first connection, preview it, turn it on")
    say(f"              {target.url('console')}")


def _made(steps: list[Step]) -> list[tuple[str, Command]]:
    """Return the commands that change something, each with the word for when it is run."""
    return [
        (word, command)
        for step in steps
        for word, several in (("make", step.make), ("change", step.change))
        for command in several
    ]


def deploy(
    target: Target,
    gcloud: Gcloud,
    say: Say,
    ask: Ask = input,
    *,
    again: bool = False,
    unlock: bool = False,
    now: datetime | None = None,
    consent: Consent | None = None,
    visit: smoke.Visit = smoke.visit,
    untested: bool = False,
) -> Target:
    """Bring the project to what is described; returns the target with what was learned.

    Raises:
        GcloudFailed: a step failed; the ones before are done, and a repeated deployment goes on from there.
        Held: another deployment or a rollback is under way.
        SystemExit: it may not begin (preflight.py::permit), or this release must not serve, was rolled back and is not
            wanted again, or failed its smoke test.
    """
    counts: Counter[Done] = Counter()
    target = learn_number(target, gcloud)
    consent, asked = consent or Consent(), target
    target = preflight.as_it_is(target, gcloud)
    consent = preflight.permit(target, gcloud, say, ask, consent)
    at, by = now or datetime.now(UTC), release.account(gcloud)
    source = commands.source_digest()
    upload.stage(commands.ROOT, source)  # at once: what is edited from now on is another deployment's
    version, commit = upload.version(commands.ROOT), upload.commit(commands.ROOT)
    target = replace(target, source=source, version=version, commit=commit)
    target = replace(target, deployed=labels.stamped(at), deployer=labels.fit(by))
    counts += run([commands.apis(target)], gcloud, say)
    with lock.held(target, gcloud, say, purpose="deploy", by=by, at=at, unlock=unlock) as held:
        gcloud.forget_all()  # another deployment may have ended between the looks before and the lock
        target = preflight.as_it_is(_as_asked(target, asked), gcloud)
        preflight.permit(target, gcloud, lambda _: None, ask, consent)
        if not asked.access:
            say(f"ACCESS is not given: Identity-Aware Proxy goes on letting in {target.access}.")
        target = replace(target, key_versions=newest_keys(target, gcloud))
        target = learn_image(target, gcloud)
        target = publishing.learn(target, gcloud)
        gcloud.forget(sink.policy(target))  # there may be no topic yet
        target = replace(target, before=_may_follow(target, release.served(target, gcloud), ask, again=again))
        counts += run(commands.foundation(target)[1:], gcloud, say, held.see)
        target = publishing.learn(target, gcloud, certain=True)
        counts += run(commands.publishing(target), gcloud, say, held.see)
        target = publishing.learn(target, gcloud, certain=True)
        if target.sink == ORGANIZATION and not target.publishes:
            say("The log sink does not publish yet: everything goes on as without it.")
            if target.public_webhook == OFF and target.webhook:
                say("So the public webhook stays, too, until the sink publishes and this is deployed again.")
        elif target.sink == ORGANIZATION and not target.organization_open:
            say(publishing.unseen(target))
        counts += _build(target, gcloud, say, held.see)
        target = replace(target, key_versions=newest_keys(target, gcloud))
        target = gcloud.patiently(partial(_with_image, target, gcloud))
        counts += run(commands.functions(target), gcloud, say, held.see)
        smoke.see(target, gcloud, say, visit, untested=untested)
        counts += run(commands.traffic(target), gcloud, say, held.see)
        release.see_moved(target, gcloud)
        counts += run(commands.workload(target), gcloud, say, held.see)
        target = learn_billing(learn_channels(target, gcloud), gcloud)
        watching.prepare(commands.ROOT, target)
        counts += run(commands.alerts(target), gcloud, say, held.see)
        counts += run(commands.sinks(target), gcloud, say, held.see)
        counts += run(publishing.settled(target, gcloud), gcloud, say, held.see)
    say(f"\n{', '.join(f'{counts[done]} {done}' for done in Done if counts[done] or done is not Done.LEFT)}.")
    told = preflight.reminder(target, gcloud)
    if told:
        say(f"\n{told}. {preflight.advice(target)}")
    _tell_what_is_left(target, gcloud, say)
    return target


def _as_asked(target: Target, asked: Target) -> Target:
    """Return the target without what was learned of settings that were not given: it may have changed since."""
    return replace(
        target,
        access=asked.access,
        sink=asked.sink,
        organization=asked.organization,
        public_webhook=asked.public_webhook,
        full_runs=asked.full_runs,
    )


def _build(target: Target, gcloud: Gcloud, say: Say, see: Callable[[], None]) -> Counter[Done]:
    """Have the image built in the region, or where the project may not build there, anywhere."""
    try:
        return run(commands.image(target), gcloud, say, see)
    except GcloudFailed as error:
        if build.RESTRICTED not in error.answer.err:
            raise
        say(f"             Cloud Build may not be used in {target.region} by this project: it builds anywhere instead")
        return run(commands.image(replace(target, built_in=build.ANYWHERE)), gcloud, say, see)


def _may_follow(target: Target, serving: list[release.Served], ask: Ask, *, again: bool) -> str:
    """See that this release may serve after what serves now; returns which one it replaces, as a label."""
    this = release.Release(labels={"release": commands.release(target), **labels.schemas()})
    trouble = sorted({text for item in serving for text in this.cannot_read(item.release)})
    if trouble:
        raise SystemExit(
            f"This version cannot read what the one that serves has written: {'; '.join(trouble)}. The functions were "
            "not changed. Deploy a newer version (git pull)."
        )
    if not again and any(this.id in item.left for item in serving):
        question = (
            f"Release {this.id} is one that was rolled back, or that another replaced before its smoke test had "
            "passed. Type its name to let it serve: "
        )
        if _answer(ask, question) != this.id:
            raise SystemExit("That does not match: the functions were not changed. AGAIN=yes deploys it unasked.")
    return release.before(this.id, serving)


def _answer(ask: Ask, question: str) -> str:
    try:
        return ask(question).strip()
    except EOFError:  # nobody is there to answer
        return ""


def learn_number(target: Target, gcloud: Gcloud) -> Target:
    """Return the target with the project's number.

    Raises:
        SystemExit: there is no such project, or not for this account.
    """
    try:
        project = gcloud.look(commands.project_number(target))
    except GcloudFailed as error:
        if NO_SUCH_PROJECT not in error.answer.err or NOT_ENABLED in error.answer.err:
            raise
        project = None
    if project is None:
        raise SystemExit(
            f"PROJECT={target.project} does not exist, or is closed to the account that gcloud uses (gcloud auth "
            "list): give another project, or sign in with another account (gcloud auth login)."
        )
    return replace(target, number=str(project["projectNumber"]))


def learn_image(target: Target, gcloud: Gcloud) -> Target:
    """Return the target with the digest of the image that was built from this source, if one was.

    Raises:
        NoClone: git does not tell what the source is.
    """
    target = replace(target, source=target.source or commands.source_digest())
    there = build.built(target, gcloud.look(build.listed(target)))
    return replace(target, image=str(there["version"])) if there else target


def _with_image(target: Target, gcloud: Gcloud) -> Target:
    """Return the target with the digest of the image that was just built, which a list may not have yet.

    Raises:
        Passing: it has not.
    """
    target = learn_image(target, gcloud)
    if target.image == IMAGE:
        look = build.listed(target)
        gcloud.forget(look)
        raise Passing(look, Answer(status=0, out="", err=f"no image has the tag {target.source}, though it was built"))
    return target


def newest_keys(target: Target, gcloud: Gcloud) -> dict[str, str]:
    """Return the number of each key's newest enabled version."""
    return {key: _newest(gcloud.look(commands.key_versions(target, key)) or []) for key in KEYS}


def _newest(listed: list[dict[str, Any]]) -> str:
    return str(max((int(version["name"].rpartition("/")[2]) for version in listed), default=1))


def learn_channels(target: Target, gcloud: Gcloud) -> Target:
    """Return the target with the names of its addresses' notification channels, as far as there are any."""
    listed = gcloud.look(watching.every_channel(target.project))
    return replace(target, channels=watching.names(target.addresses, listed))


def learn_billing(target: Target, gcloud: Gcloud) -> Target:
    """Return the target with its billing account, where a budget needs it, and whether its budgets may be seen."""
    if not target.budget:
        return target
    target = replace(target, billing_account="")
    try:
        told = gcloud.look(budget.of_project(target)) or {}
        target = replace(target, billing_account=told.get("billingAccountName", ""))
        if target.billing_account:
            gcloud.look(budget.listed(target))
    except GcloudFailed:
        return replace(target, budgets_open=False)
    return target


def run(steps: Iterable[Step], gcloud: Gcloud, say: Say, see: Callable[[], None] = lambda: None) -> Counter[Done]:
    """Do the steps that are due, each command after seeing that it may be run; returns what became of them."""
    counts: Counter[Done] = Counter()
    for heading, title, several in checklist(steps):
        if heading:
            say(f"\n{heading}")
        became = Counter(_do_or_leave(step, gcloud, say, see) for step in several)
        if became[Done.UNCHANGED] == len(several):
            say(f"  as wanted  {title}")
        counts += became
    return counts


def state_of(step: Step, gcloud: Gcloud) -> tuple[Done, Any]:
    """Say what a step would have to do, and what it found."""
    answer = gcloud.look(step.look)
    found = None if answer is None else step.find(answer)
    if found is None:
        return Done.MADE, None
    return (Done.CHANGED if differences(found, step.wanted) else Done.UNCHANGED), found


def _do_or_leave(step: Step, gcloud: Gcloud, say: Say, see: Callable[[], None]) -> Done:
    """Do a step; if it may be left to do by hand, a refusal is reported and does not end the deployment."""
    try:
        return _do(step, gcloud, say, see)
    except GcloudFailed as error:
        if not step.by_hand:
            raise
        say(f"  by hand    {step.title}")
        say(f"             refused: {error.said}")
        say(f"             {step.by_hand}")
        return Done.LEFT


def _do(step: Step, gcloud: Gcloud, say: Say, see: Callable[[], None]) -> Done:
    due, found = state_of(step, gcloud)
    if due is Done.UNCHANGED:
        return due
    say(f"  {'make' if due is Done.MADE else 'change':<9}  {step.title}")
    if due is Done.CHANGED:
        say(f"             differs in: {', '.join(each.field for each in differences(found, step.wanted))}")
    gcloud.patiently(lambda: _run_what_is_due(step, gcloud, say, see))
    return due


def _run_what_is_due(step: Step, gcloud: Gcloud, say: Say, see: Callable[[], None]) -> None:
    """Run the commands that are still needed: after an attempt whose answer was lost, that may be none.

    The lock is checked before each: somebody may have taken it over in the pause before an attempt.
    """
    due, found = state_of(step, gcloud)
    if due is Done.UNCHANGED:
        return
    try:
        for command in step.due(found):
            for named in filled(command, step.names(found) if due is Done.CHANGED else ()):
                see()
                say(f"             {shown(named)}")
                gcloud.act(named, step.stdin(found))
    finally:
        gcloud.forget(step.look)


def _tell_what_is_left(target: Target, gcloud: Gcloud, say: Say) -> None:
    identity = gcloud.look(commands.delegated_identity(target))
    say("\nLeft to do by hand, once: let the service account read the directory.")
    say(
        "Open https://admin.google.com/ac/owl/domainwidedelegation (Security > Access and data control > API controls >"
    )
    say("Domain-wide delegation), press Add new, and paste:")
    say(f"\n  Client ID     {identity['uniqueId'] if identity else '(not made yet)'}")
    say(f"  OAuth scopes  {','.join(SCOPES)}\n")
    say(f"Then: make doctor {target.settings}")
    say(f"Console: {target.url('console')}")
