"""What an administrator types: the same node under other spellings, texts with control characters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.configure import edit
from autoprovisioning.config import Misconfigured, load
from autoprovisioning.domain.connections import node_of
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.texts import LINES, has_controls
from tests.support.settings import changed, with_settings

NODE = "https://keepersecurity.eu/api/rest/scim/v2/123"
SAME = [
    NODE,
    f" {NODE}/ ",
    "https://keepersecurity.eu:443/api/rest/scim/v2/123",
    "https://keepersecurity.eu:0443/api/rest/scim/v2/123",
    "https://keepersecurity.eu:/api/rest/scim/v2/123",
    "HTTPS://KeeperSecurity.EU/api/rest/scim/v2/123",
    "https://keepersecurity.eu./api/rest/scim/v2/123",
    "https://keepersecurity.eu./api/rest/scim/v2/123///",
    "https://keepersecurity.eu//api/rest//scim/v2/./123",
    "https://keepersecurity.eu/api/rest/scim/v2/x/../123",
    "https://keepersecurity.eu/api/rest/scim/v2/%31%32%33",
]
OTHERS = [
    "https://keepersecurity.com/api/rest/scim/v2/123",
    "https://keepersecurity.eu:8443/api/rest/scim/v2/123",
    "https://keepersecurity.eu/api/rest/scim/v2/1234",
    "https://keepersecurity.eu/api/rest/scim/v2",
    "http://keepersecurity.eu/api/rest/scim/v2/123",
]


@pytest.mark.parametrize("spelt", SAME)
def test_a_node_is_the_same_however_its_url_is_spelt(spelt):
    assert node_of(spelt) == node_of(NODE)


@pytest.mark.parametrize("other", OTHERS)
def test_another_node_is_another(other):
    assert node_of(other) != node_of(NODE)


def test_names_of_hosts_are_compared_as_the_network_has_them():
    assert node_of("https://bücher.example/scim") == node_of("https://xn--bcher-kva.example/scim")


@pytest.mark.parametrize(
    "nonsense", ["", "https://[", "https://h:port/x", "https://h:99999/x", f"https://{'a' * 70}.x/"]
)
def test_what_is_no_url_is_compared_as_it_is(nonsense):
    assert node_of(f" {nonsense} ") == node_of(nonsense.upper())


@pytest.mark.parametrize("spelt", SAME)
def test_another_connection_to_a_node_is_refused_however_it_is_spelt(scenario, spelt):
    services = scenario.services
    services.connections.change("c1", lambda connection: with_settings(connection, endpoint=NODE))
    other = with_settings(
        replace(scenario.connection, id="c2"), endpoint="https://keepersecurity.eu/api/rest/scim/v2/9"
    )
    services.connections.create(other)
    with pytest.raises(BadInput, match="already provisions this node"):
        edit(
            services,
            "c2",
            other.edition,
            replace(other.settings, endpoint=spelt),
            Actor(address="admin@example.com"),
            "t",
        )


CONTROLS = ["Kee\x00per", "\x07", "a\nb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "a\rb"]


@pytest.mark.parametrize("text", CONTROLS)
@pytest.mark.parametrize("field", ["name", "scope.groups", "scope.org_units"])
def test_control_characters_are_stored_nowhere(scenario, field, text):
    changes = {
        "name": {"name": text},
        "scope.groups": {"scope_groups": (text,)},
        "scope.org_units": {"org_units": (f"/{text}",)},
    }
    wanted = changed(scenario.connection.settings, **changes[field])
    with pytest.raises(BadInput) as caught:
        edit(scenario.services, "c1", scenario.connection.edition, wanted, Actor(address="admin@example.com"))
    assert caught.value.field == field
    assert text not in str(caught.value)


def test_a_name_may_be_in_any_language():
    assert not any(map(has_controls, ("Keeper – Vertrieb", "ソニー", "مرحبا", "👩‍💻", "a\u00a0b")))
    assert not has_controls("Street 1\r\n\tBerlin", LINES)


@pytest.mark.parametrize(("constant", "good"), [('"a\\u0000"', False), ('"\\u001b[0m"', False), ('"1\\nBerlin"', True)])
def test_a_constant_of_the_mapping_has_no_control_characters(constant, good):
    mapping = AttributeMapping((*DEFAULT_ROWS, Row(target="title", source=constant)))
    if good:
        mapping.check()
        return
    with pytest.raises(BadInput, match="control characters"):
        mapping.check()


def hosts(text: str) -> tuple[str, ...]:
    environment = {"GOOGLE_CLOUD_PROJECT": "demo", "SCIM_EXTRA_HOSTS": text}
    return load(environment, reads_directory=False).extra_scim_hosts


@pytest.mark.parametrize(
    "entry",
    "https://h.example h.example:8443 *.h.example h.example/scim user@h [::1] h..example .h h?x h#x a\\b".split(),
)
def test_a_host_that_no_endpoint_can_have_is_reported_with_the_mend(entry):
    with pytest.raises(Misconfigured) as caught:
        hosts(f"scim.example.com, {entry}")
    assert f"SCIM_EXTRA_HOSTS holds {entry!r}" in str(caught.value)
    assert "without scheme, port, path or *" in str(caught.value)


def test_every_host_that_cannot_match_is_reported():
    with pytest.raises(Misconfigured) as caught:
        hosts("https://a b:1 *.c d")
    assert str(caught.value).count("SCIM_EXTRA_HOSTS") == 3


def test_hosts_that_can_match_are_taken():
    given = "Scim.Example.COM, 10.0.0.1 ::1,my_host\tbücher.example h."
    assert hosts(given) == ("Scim.Example.COM", "10.0.0.1", "::1", "my_host", "bücher.example", "h.")
    assert hosts(" , ") == ()


def test_the_forms_have_a_key_of_their_own():
    environment = {"GOOGLE_CLOUD_PROJECT": "demo", "FORM_KEY": "very-secret", "CHANNEL_KEY": "very-secret"}
    with pytest.raises(Misconfigured, match="FORM_KEY is the same as CHANNEL_KEY") as caught:
        load(environment, reads_directory=False)
    assert "very-secret" not in str(caught.value)
    chosen = load(environment | {"FORM_KEY": "another"}, reads_directory=False)
    assert (chosen.form_key, chosen.channel_key) == (b"another", b"very-secret")
