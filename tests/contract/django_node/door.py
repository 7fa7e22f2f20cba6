"""Who gets in, and to what: the access token, and django-scim2's paths under /scim/v2/."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from types import SimpleNamespace

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

urlpatterns = [path("scim/v2/", include("django_scim.urls"))]


def bearer(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Say who asks; django-scim2 itself refuses anonymous callers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        known = secrets.compare_digest(request.headers.get("Authorization", ""), f"Bearer {settings.TOKEN}")
        request.user = SimpleNamespace(is_authenticated=True) if known else AnonymousUser()
        return get_response(request)

    return middleware
