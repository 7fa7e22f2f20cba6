"""The commands of the Makefile for Google Cloud: python -m infra.gcp COMMAND, each a key of VERBS.

Settings are read from the environment (docs/install.md, step 2), so that no shell can run what is in them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

from infra.gcp import deploy, destroy, detach, diff, doctor, logs, rollback, tofu, upload
from infra.gcp.commands import ROOT
from infra.gcp.gcloud import Gcloud, GcloudFailed, Unready
from infra.gcp.lock import Held
from infra.gcp.preflight import Consent
from infra.gcp.target import ALONE, OFF, ORGANIZATION, Refused, Target

Given = Mapping[str, str]


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def _told(given: Given, name: str) -> bool:
    """Say whether the setting allows what would otherwise be asked about or refused."""
    value = given.get(name, "")
    if value not in ("", "yes"):
        raise SystemExit(f"{name}=... must be yes, or left out.")
    return value == "yes"


def _plan(target: Target, _: Given) -> int:
    deploy.plan(target, say)
    return 0


def _diff(target: Target, _: Given) -> int:
    return diff.diff(target, Gcloud(say=say, unused_is_missing=True), say)


def _deploy(target: Target, given: Given) -> int:
    again, unlock, dirty, untested = (_told(given, name) for name in ("AGAIN", "UNLOCK", "DIRTY", "UNTESTED"))
    consent = Consent(adopt=_told(given, "ADOPT"), confirmed=_told(given, "CONFIRM"))
    changed = upload.changed(ROOT)
    if changed and not dirty:
        raise SystemExit(
            f"Not committed: {', '.join(changed[:10])}{', ...' if changed[10:] else ''}. No commit would say what is "
            "deployed: commit or stash it, or deploy it anyway with DIRTY=yes."
        )
    for name in upload.left_out(ROOT):
        say(f"Not uploaded, since git does not track it: {name}")
    deploy.deploy(target, Gcloud(say=say), say, again=again, unlock=unlock, consent=consent, untested=untested)
    return 0


def _rollback(target: Target, given: Given) -> int:
    unlock, untested = _told(given, "UNLOCK"), _told(given, "UNTESTED")
    cloud = Gcloud(say=say, unused_is_missing=True)
    rollback.rollback(target, cloud, say, given.get("RELEASE", "").strip(), unlock=unlock, untested=untested)
    return 0


def _detach(target: Target, given: Given) -> int:
    confirmed, unlock = _told(given, "CONFIRM"), _told(given, "UNLOCK")
    cloud = Gcloud(say=say, unused_is_missing=True)
    detach.detach(target, cloud, say, input, confirmed=confirmed, unlock=unlock)
    return 0


def _destroy(target: Target, given: Given) -> int:
    audit = given.get("AUDIT") or "keep"
    if audit not in destroy.AUDIT:
        raise SystemExit(f"AUDIT=... must be one of {', '.join(destroy.AUDIT)}")
    backups = given.get("BACKUPS") or "keep"
    if backups not in destroy.AUDIT or (backups, audit) == ("delete", "keep"):
        raise SystemExit("BACKUPS=... must be delete, together with AUDIT=delete, or left out.")
    wanted = destroy.Wanted(audit=audit == "delete", backups=backups == "delete", adopt=_told(given, "ADOPT"))
    cloud = Gcloud(say=say, unused_is_missing=True)
    destroy.destroy(target, cloud, say, input, wanted, unlock=_told(given, "UNLOCK"))
    return 0


def _logs(target: Target, given: Given) -> int:
    severity, since = given.get("SEVERITY") or "INFO", given.get("SINCE") or "1h"
    return logs.show(logs.command(target, given.get("FUNCTION", ""), severity, since))


def _doctor(target: Target, _: Given) -> int:
    return doctor.examine(target, Gcloud(pauses=()), say)


def _tofu(target: Target, given: Given) -> int:
    adopt = _told(given, "ADOPT")
    if not target.access:
        raise SystemExit(
            "ACCESS is missing: give group:ADDRESS, user:ADDRESS or domain:DOMAIN, one of them. The configuration says "
            "whom Identity-Aware Proxy lets through to the console; Google is not asked whom it lets in now."
        )
    if target.sink == ORGANIZATION and not target.organization:
        raise SystemExit("ORGANIZATION is missing: give the number of the organization whose log sink publishes.")
    if target.public_webhook == OFF and target.sink != ORGANIZATION:
        raise SystemExit(ALONE)
    for path in tofu.write(ROOT, target, adopt=adopt):
        say(f"Written: {path.relative_to(ROOT)}")
    say("Nothing was run. docs/opentofu.md says what else OpenTofu needs, and what to do first.")
    if adopt:
        say("Only Google knows the ids of these: import them by hand, or have them made again.")
        for address in tofu.unknown(target):
            say(f"  {address}")
        say(
            "All traffic goes to the newest revision: if TF_VAR_image is the image of a release that waits for its "
            "smoke test or was rolled back, that one goes live. docs/opentofu.md says how to find the serving image."
        )
    return 0


VERBS = {
    "plan": _plan,
    "diff": _diff,
    "deploy": _deploy,
    "rollback": _rollback,
    "detach": _detach,
    "destroy": _destroy,
    "logs": _logs,
    "doctor": _doctor,
    "tofu": _tofu,
}


def main(argv: list[str], given: Given) -> int:
    """Run one command; returns the exit status.

    Raises:
        SystemExit: a setting is invalid; nothing was run.
    """
    parser = argparse.ArgumentParser(prog="python -m infra.gcp", description=__doc__)
    parser.add_argument("verb", choices=sorted(VERBS))
    verb = parser.parse_args(argv).verb
    try:
        target = Target.given(given)
    except Refused as refused:
        raise SystemExit(str(refused)) from None
    try:
        return VERBS[verb](target, given)
    except GcloudFailed as error:
        print(f"\n{error}\n\n{error.mend}", file=sys.stderr)
    except (Unready, Held, upload.NoClone) as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        # head or less has read enough: what Python would still flush when it exits is discarded, without a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if verb == "plan" else 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from there.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
