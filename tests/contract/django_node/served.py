"""The project as a WSGI application, for gunicorn; its tables are made when it starts."""

from __future__ import annotations

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.contract.django_node.settings")
app = get_wsgi_application()
call_command("migrate", run_syncdb=True, verbosity=0)
