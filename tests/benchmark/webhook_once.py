"""Start the webhook as functions-framework does, hand it one genuine notification, end once it is published."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from functions_framework import create_app

SOURCE = Path(__file__).resolve().parents[2] / "functions" / "main.py"


def main() -> None:
    os.chdir(SOURCE.parent)
    client = create_app("directory_webhook", str(SOURCE)).test_client()
    from datetime import UTC, datetime, timedelta

    from autoprovisioning.app.notifications.channel_token import channel_token

    key = os.environ["CHANNEL_KEY"].encode()
    headers = {
        "X-Goog-Channel-ID": "bench",
        "X-Goog-Channel-Token": channel_token(key, "bench", datetime.now(UTC) + timedelta(hours=1)),
        "X-Goog-Resource-State": "update",
        "X-Goog-Message-Number": "2",
    }
    response = client.post("/", data=json.dumps({"id": "1", "primaryEmail": "a@x.org"}), headers=headers)
    sys.exit(0 if response.status_code == 204 else f"HTTP {response.status_code}: {response.text}")


if __name__ == "__main__":
    main()
