"""The user model: Django's, with the SCIM id, userName and externalId that django-scim2's mixin adds."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django_scim.models import AbstractSCIMUserMixin


class User(AbstractSCIMUserMixin, AbstractUser):
    """One account."""

    @property
    def scim_groups(self) -> Any:
        return self.groups
