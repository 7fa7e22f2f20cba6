"""The number of a schema, which every stored document and every message carries.

During a deployment or a rollback, code of two versions runs at the same time, and each meets what the other wrote. It
reads nothing with an unknown number, and says which version to deploy: the message is redelivered, the document stays
as it is. With a known number it keeps the fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from autoprovisioning.decoding import built
from autoprovisioning.domain.errors import ConfigurationRefused

T = TypeVar("T")

FIELD = "schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The schema of one kind of document or message: the number that is written, and the oldest one that is read."""

    name: str
    current: int = 1
    oldest: int = 1

    def stamped(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields with the number that they are written in."""
        return {**fields, FIELD: self.current}

    def check(self, fields: Mapping[str, Any]) -> int:
        """Return the number that fields were written in; without any it is 1.

        Raises:
            ConfigurationRefused: another version wrote it, and this one cannot read it.
        """
        number = fields.get(FIELD, 1)
        if not isinstance(number, int) or number > self.current:
            mend = "Deploy the newer version that wrote it."
            raise ConfigurationRefused(f"A {self.name} has schema {number}; this version reads {self.current}. {mend}")
        if number < self.oldest:
            mend = "Deploy a version that still reads it, and let a full run end."
            raise ConfigurationRefused(f"A {self.name} has schema {number}; this version reads {self.oldest}. {mend}")
        return number

    def read(self, fields: Mapping[str, Any], as_type: type[T]) -> T:
        """Return what the fields say, once their number is checked; a missing one gets its default.

        Raises:
            ConfigurationRefused: they cannot be read.
        """
        self.check(fields)
        try:
            return msgspec.convert(fields, built(as_type), builtin_types=(datetime, timedelta, bytes))
        except msgspec.ValidationError as error:
            raise self.unreadable(error) from None

    def unreadable(self, error: Exception) -> ConfigurationRefused:
        """Return the refusal of a document whose number is known and whose content is not."""
        mend = "If another version wrote it, deploy it."
        return ConfigurationRefused(f"A {self.name} cannot be read ({error}). {mend}")
