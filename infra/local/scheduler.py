"""Stands in for Cloud Scheduler: calls the scheduled functions, and never runs the same job twice at once.

Run `python -m infra.local.scheduler --job SECONDS URL BODY ...`; a job's first call comes after its first interval.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import urllib.error
import urllib.request

DEADLINE = 1800.0  # seconds: the longest attempt deadline of Cloud Scheduler


def run_job(seconds: float, url: str, body: str) -> None:
    """Call one job for ever; n+1 waits for n."""
    headers = {"Content-Type": "application/json", "User-Agent": "Google-Cloud-Scheduler", "X-CloudScheduler": "true"}
    while True:
        time.sleep(seconds)
        request = urllib.request.Request(url, body.encode(), headers, method="POST")  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:  # noqa: S310
                print(url, response.status, response.read(500).decode(errors="replace"), flush=True)
        except urllib.error.HTTPError as error:
            print(url, error.code, error.read(500).decode(errors="replace"), flush=True)
        except OSError as error:
            print(url, type(error).__name__, flush=True)


def main() -> None:
    """Run the jobs until killed."""
    parser = argparse.ArgumentParser(description="Local scheduler")
    parser.add_argument("--job", nargs=3, action="append", metavar=("SECONDS", "URL", "BODY"), required=True)
    jobs = [
        threading.Thread(target=run_job, args=(float(seconds), url, json.dumps(json.loads(body))), daemon=True)
        for seconds, url, body in parser.parse_args().job
    ]
    for job in jobs:
        job.start()
    print("READY scheduler", flush=True)
    for job in jobs:
        job.join()


if __name__ == "__main__":
    main()
