"""The official Firestore and Pub/Sub emulators, from the SDK's jars: gcloud's wrapper leaves Java running."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOTS = (  # where packages and the installer put the SDK
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/snap/google-cloud-sdk/current",
)
# An emulator lives for minutes: the optimizing compiler would take as much CPU as all the requests it speeds up.
JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
COMPONENTS = ("cloud-firestore-emulator", "pubsub-emulator")
DEBIAN = "google-cloud-cli-firestore-emulator google-cloud-cli-pubsub-emulator"


class EmulatorMissing(Exception):
    """Java, the SDK or a component is missing; the text says what to run."""


def sdk_root(override: str = "") -> Path:
    """Find the SDK: where GOOGLE_CLOUD_SDK_ROOT says, otherwise in the usual places, or beside gcloud."""
    gcloud = shutil.which("gcloud")
    beside = [str(Path(gcloud).resolve().parents[1])] if gcloud else []
    candidates = [override] if override else [*ROOTS, str(Path.home() / "google-cloud-sdk"), *beside]
    for candidate in candidates:
        if (Path(candidate) / "platform").is_dir():
            return Path(candidate)
    where = f" in {override} (GOOGLE_CLOUD_SDK_ROOT)" if override else ""
    raise EmulatorMissing(
        f"The Google Cloud SDK was not found{where}. Run: sudo apt-get install google-cloud-cli {DEBIAN} "
        "(from Google's package repository), or set GOOGLE_CLOUD_SDK_ROOT to its folder."
    )


def java() -> str:
    """Find Java."""
    found = shutil.which("java")
    if found is None:
        raise EmulatorMissing("The emulators need Java 11 or newer. Run: sudo apt-get install default-jre-headless")
    return found


def firestore_command(port: int, root: Path) -> list[str]:
    """Return the command that serves Firestore on a loopback port."""
    jar = _jar(root, "cloud-firestore-emulator", "cloud-firestore-emulator*.jar")
    main_class = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    return [
        java(),
        *JAVA_OPTIONS,
        "-Duser.language=en",
        "-Xmx2g",
        "-cp",
        str(jar),
        main_class,
        "--host=127.0.0.1",
        f"--port={port}",
    ]


def pubsub_command(port: int, root: Path) -> list[str]:
    """Return the command that serves Pub/Sub on a loopback port."""
    jar = _jar(root, "pubsub-emulator", "lib/cloud-pubsub-emulator-*-all.jar")
    return [java(), *JAVA_OPTIONS, "-Xmx512m", "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"]


def _jar(root: Path, component: str, pattern: str) -> Path:
    found = sorted((root / "platform" / component).glob(pattern))
    if not found:
        _install(root)
        found = sorted((root / "platform" / component).glob(pattern))
    if not found:
        raise EmulatorMissing(f"The SDK component {component} is missing. Run: sudo apt-get install {DEBIAN}")
    return found[-1]


def _install(root: Path) -> None:
    """Install the components where this SDK allows it; one installed by a package manager does not."""
    gcloud = root / "bin" / "gcloud"
    if gcloud.exists():
        subprocess.run(
            [str(gcloud), "components", "install", *COMPONENTS, "--quiet"],
            check=False,
            capture_output=True,
            timeout=600,
        )
