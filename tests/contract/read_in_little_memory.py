"""Read an endpoint whatever it answers, and print by how many MiB this process grew; run by test_scim_bodies.py."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import ProvisioningError
from tests.contract.scim_servers import client, creates, soon


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    endpoint, token = sys.argv[1], Path(sys.argv[2]).read_text()
    accounts = client(endpoint, token, timeout=10)
    accounts.get("1000")  # what a client takes anyway
    before = peak()
    errors: list[Exception | None] = [
        found.error
        for found in accounts.find([Lookup(key=f"k{n}", external_id=f"d{n}", user_names=()) for n in range(40)])
    ]
    errors += [written.error for written in accounts.write(creates(40), soon(60))]
    try:
        list(accounts.list())
    except ProvisioningError as error:
        errors.append(error)
    assert all(isinstance(error, ProvisioningError) for error in errors), errors
    print(peak() - before, len(errors))


if __name__ == "__main__":
    main()
