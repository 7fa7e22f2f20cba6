"""scim2-server as a WSGI application, for gunicorn: an endpoint that we did not write."""

from __future__ import annotations

import os
from pathlib import Path

from scim2_server.memory import InMemoryStorage
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.utils import load_default_provider

app = BearerTokenApplication(
    InMemoryStorage(), load_default_provider(), bearer_tokens=[Path(os.environ["SCIM2_TOKEN_FILE"]).read_text()]
)
