"""The number of a schema: what is read, what is refused, and in which words."""

from __future__ import annotations

import msgspec
import pytest

from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.schemas import Schema

THING = Schema(name="thing", current=3, oldest=2)


class Thing(msgspec.Struct):
    size: int
    colour: str = "grey"


@pytest.mark.parametrize("number", [2, 3])
def test_what_is_between_the_oldest_and_the_current_number_is_read(number):
    assert THING.check({"schema": number}) == number
    assert THING.read({"schema": number, "size": 1, "later": 2}, Thing) == Thing(size=1)


def test_what_has_no_number_is_of_schema_1():
    assert Schema(name="thing").check({}) == 1
    assert Schema(name="thing").stamped({"size": 1}) == {"size": 1, "schema": 1}


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"schema": 4}, "A thing has schema 4; this version reads 3. Deploy the newer version that wrote it."),
        ({"schema": "4"}, "A thing has schema 4; this version reads 3. Deploy the newer version that wrote it."),
        (
            {},
            "A thing has schema 1; this version reads 2. Deploy a version that still reads it, and let a full run end.",
        ),
        (
            {"schema": 3, "size": "large"},
            "A thing cannot be read (Expected `int`, got `str` - at `$.size`). If another version wrote it, deploy it.",
        ),
    ],
)
def test_a_refusal_names_the_document_and_the_version_to_deploy(fields, mend):
    with pytest.raises(ConfigurationRefused) as refused:
        THING.read(fields, Thing)
    assert str(refused.value) == mend
