"""Settings of the project; DJANGO_NODE_FOLDER holds the database and, in the file `token`, the access token."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FOLDER = Path(os.environ["DJANGO_NODE_FOLDER"])
TOKEN = (FOLDER / "token").read_text()
SECRET_KEY = secrets.token_urlsafe(32)
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_scim", "tests.contract.django_node"]
AUTH_USER_MODEL = "django_node.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = ["tests.contract.django_node.door.bearer"]
ROOT_URLCONF = "tests.contract.django_node.door"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "accounts.sqlite3",
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",  # many threads write: who reads first and writes then would be refused
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
    }
}
MIGRATION_MODULES = dict.fromkeys(["auth", "contenttypes"])  # the tables are made of the models
SCIM_SERVICE_PROVIDER = {
    "SCHEME": "http",
    "NETLOC": "localhost",
    "AUTHENTICATION_SCHEMES": [
        {"type": "oauthbearertoken", "name": "Bearer token", "description": "One access token for the whole node"}
    ],
}
