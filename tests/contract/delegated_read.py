"""Read one user through keyless delegation, as a function would; google-auth's two fixed addresses are given.

Run with the addresses of signJwt's host, the token endpoint and the Directory, how many reads follow upon each other,
and how many threads make them beside each other; prints one line a read.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from google.auth import iam, impersonated_credentials

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, delegated
from autoprovisioning.domain.errors import ProvisioningError


def main(google: str, directory: str, times: str, threads: str = "1") -> None:
    iam._IAM_SIGNJWT_ENDPOINT = google + "/v1/projects/-/serviceAccounts/{}:signJwt"
    impersonated_credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT = google + "/token"
    sessions = delegated("admin@example.com", "provisioner@p.iam.gserviceaccount.com")
    transport = DirectoryTransport(directory, sessions, lambda *_: None, timeout=timedelta(seconds=5), first_pause=0.01)
    come = Barrier(int(threads))

    def read(_: int) -> None:
        come.wait()
        for _ in range(int(times)):
            try:
                user = GoogleDirectory(transport).by_address("reader@example.com")
                print(f"read {user.id if user else None}\n", end="", flush=True)
            except ProvisioningError as error:
                print(f"{type(error).__name__}: {error}\n", end="", flush=True)

    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(read, range(int(threads))))


if __name__ == "__main__":
    main(*sys.argv[1:])
