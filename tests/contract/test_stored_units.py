"""Organizational units in a connection's document: what is written, and what earlier versions wrote."""

from __future__ import annotations

from autoprovisioning.domain.scope import ROOT, OrgUnit, Scope
from tests.contract.state_stores import HOME
from tests.support.settings import with_settings


def test_ids_stand_beside_the_paths(firestore):
    firestore.connections.create(
        with_settings(HOME, scope=Scope(groups=(), org_units=(OrgUnit(id="id:1", path="/Sales", listed=False),)))
    )
    stored = firestore.client.document("connections/c1").get().to_dict()
    assert stored["scope"]["org_units"] == [{"id": "id:1", "path": "/Sales", "listed": False}]


def test_paths_alone_are_read_as_units_whose_ids_are_not_known(firestore):
    firestore.connections.create(HOME)
    document = firestore.client.document("connections/c1")
    stored = document.get().to_dict()
    del stored["schema"]
    document.set(stored | {"scope": {"groups": [], "org_units": ["/Sales", "/R&D/", "/"]}})
    units = firestore.connections.get("c1").settings.scope.org_units
    assert units == (OrgUnit(id="", path="/Sales"), OrgUnit(id="", path="/R&D"), ROOT)
    firestore.connections.change("c1", lambda current: with_settings(current, name="New"))
    assert firestore.connections.get("c1").settings.scope.org_units == units
