"""The settings of a connection, one page each: steps of the wizard while it is a draft, edited later.

What an edit of mapping, scope or deprovisioning would do is previewed before it is saved; a draft does nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flask import Response
from werkzeug.datastructures import MultiDict

from autoprovisioning.app.administration.configure import chosen_groups, edit
from autoprovisioning.app.administration.edits import edits_since
from autoprovisioning.app.administration.preview import ask_preview
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import LONGEST_DAYS
from autoprovisioning.domain.directory_fields import OFFERED, SOURCES
from autoprovisioning.domain.errors import BadInput, Forbidden, NotFound, Stale, Transient
from autoprovisioning.domain.keeper import MANDATORY
from autoprovisioning.domain.mapping import DEFAULT_ROWS, Row
from autoprovisioning.domain.scim_user import by_group
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages import fields
from autoprovisioning.entrypoints.console.pages.activity import changes
from autoprovisioning.entrypoints.console.pages.frame import (
    Again,
    edition,
    form,
    get,
    go,
    post,
    show,
    show_of,
    sought,
)
from autoprovisioning.entrypoints.console.pages.sample import sample_of
from autoprovisioning.entrypoints.console.pages.summary import group_named
from autoprovisioning.entrypoints.console.pages.units import tree_of
from autoprovisioning.entrypoints.console.routing import Call, existing

TITLES = {
    "authorization": "App authorization",
    "mapping": "Attribute mapping",
    "scope": "Provisioning scope",
    "deprovisioning": "Deprovisioning",
    "limits": "Name and limits",
    "choose-teams": "Choose teams",
}
PAGE_OF = {
    "mapping": "mapping",
    "scope": "scope",
    "deprovisioning": "deprovisioning",
    "token": "authorization",
    "endpoint": "authorization",
    "name": "limits",
    "limit": "limits",
    "teams": "choose-teams",
}
# The wizard's steps, and where what is no step of it leads back to.
AFTER = {"mapping": "scope", "scope": "deprovisioning", "deprovisioning": "finish", "choose-teams": "choose-teams"}
Error = BadInput | Transient | Stale | Forbidden | None
Show = Callable[[Call, Connection, MultiDict[str, str] | None, Error], Response]
Read = Callable[[Settings, MultiDict[str, str]], Settings]


def _shown(call: Call, connection: Connection, page: str, error: Error, **values: Any) -> Response:
    """Show a settings page; what was posted keeps the edition that it was shown with.

    If somebody else has edited the connection since, the page says who and what, and what was posted can be sent again.
    """
    posted, stale = call.request.method == "POST", isinstance(error, Stale)
    return show_of(
        call,
        connection,
        f"{page.replace('-', '_')}.html",
        status_of(error) if error is not None else 200,
        crumbs=[(f"/connections/{connection.id}/{page}", TITLES[page])],
        error=error,
        title=TITLES[page],
        page=page,
        elsewhere=_elsewhere(connection, page, error),
        draft=connection.state is State.DRAFT,
        edition=edition(call) if posted and not stale else connection.edition,
        edits=edits_since(call.parts.reports, connection, edition(call)) if stale else (),
        changes=changes,
        unsaved=posted,
        **values,
    )


def _elsewhere(connection: Connection, page: str, error: Error) -> str:
    """Return the page that has a field, if it is another one: settings are checked as a whole."""
    if not isinstance(error, BadInput):
        return ""
    there = PAGE_OF.get(error.field.partition(".")[0].partition("[")[0], page)
    return f"/connections/{connection.id}/{there}" if there != page else ""


def _editable(call: Call, connection_id: str) -> Connection:
    connection = existing(call, connection_id)
    if connection.state is State.DELETING:
        raise NotFound("The configuration of this connection is being deleted. Set up another one.")
    return connection


def _page(show_page: Show) -> Callable[..., Response]:
    def shown(call: Call, connection_id: str) -> Response:
        return show_page(call, _editable(call, connection_id), None, None)

    return shown


def _again(show_page: Show) -> Again:
    def shown(call: Call, error: Forbidden, connection_id: str) -> Response:
        return show_page(call, _editable(call, connection_id), form(call), error)

    return shown


def _previewed(page: str, show_page: Show, read: Read) -> Callable[..., Response]:
    """Return the handler of a page whose edits are previewed; a draft is saved and goes on to the next step."""

    def taken(call: Call, connection_id: str) -> Response:
        connection = _editable(call, connection_id)
        parts, fields_posted = call.parts, form(call)
        try:
            wanted = read(connection.settings, fields_posted)
            if connection.state is State.DRAFT:
                edit(parts.services, connection_id, edition(call), wanted, call.actor, run=False)
                return go(f"/connections/{connection_id}/{AFTER[page]}")
            preview = ask_preview(parts.services, connection_id, edition(call), wanted, call.actor)
            return go(f"/connections/{connection_id}/previews/{preview.id}")
        except (BadInput, Transient) as error:
            told(error)
            return show_page(call, connection, fields_posted, error)
        except Stale as error:
            told(error)
            return show_page(call, _editable(call, connection_id), fields_posted, error)

    return taken


# Attribute mapping


def _show_mapping(call: Call, connection: Connection, posted: MultiDict[str, str] | None, error: Error) -> Response:
    rows = connection.settings.mapping.rows if posted is None else fields.read_mapping(posted).rows
    return _mapping_of(call, connection, rows, error)


def _mapping_of(call: Call, connection: Connection, rows: Sequence[Row], error: Error = None) -> Response:
    return _shown(
        call,
        connection,
        "mapping",
        error,
        rows=rows,
        sample=sample_of(call, rows),
        sources=OFFERED,
        offered=SOURCES,
        targets={group: [name for name in names if name not in MANDATORY] for group, names in by_group().items()},
        mandatory=MANDATORY,
    )


def _read_mapping(settings: Settings, posted: MultiDict[str, str]) -> Settings:
    return replace(settings, mapping=fields.read_mapping(posted))


def change_mapping(call: Call, connection_id: str) -> Response:
    """Add or remove a row, restore Google's default, show a user's values, or accept the mapping."""
    word, _, position = form(call).get("do", "").partition(":")
    if word not in ("add", "remove", "default", "show"):
        return _previewed("mapping", _show_mapping, _read_mapping)(call, connection_id)
    rows = list(fields.read_mapping(form(call)).rows)
    if word == "add":
        rows.append(Row(target="", source=""))
    elif word == "default":
        rows = list(DEFAULT_ROWS)
    elif position in map(str, range(len(rows))):
        rows.pop(int(position))
    return _mapping_of(call, _editable(call, connection_id), rows)


# Provisioning scope


def _show_scope(call: Call, connection: Connection, posted: MultiDict[str, str] | None, error: Error) -> Response:
    chosen = [group.id for group in connection.settings.scope.groups] if posted is None else posted.getlist("group")
    units = [unit.key for unit in connection.settings.scope.org_units] if posted is None else posted.getlist("unit")
    return _scope_of(call, connection, chosen, units, error=error)


def _scope_of(
    call: Call,
    connection: Connection,
    chosen: Sequence[str],
    chosen_units: Sequence[str],
    *,
    letters: str = "",
    error: Error = None,
) -> Response:
    units, unlisted = _units(call, connection)
    sought_units = sought(call.request.values.get("u"))
    return _shown(
        call,
        connection,
        "scope",
        error,
        groups=[group_named(call.parts.services, connection, group_id) for group_id in dict.fromkeys(chosen)],
        **_groups_found(call, letters),
        units=tree_of(units, set(chosen_units), sought_units),
        unlisted=unlisted,
        scripts=("units.js",),
    )


def _units(call: Call, connection: Connection) -> tuple[list[OrgUnit], str]:
    """Return what can be chosen: the organizational units, with those chosen that are gone.

    If the directory cannot list them now, only the chosen ones are returned, and why it cannot.
    """
    try:
        listed = call.parts.services.directory.org_units()
    except Transient as error:
        told(error)
        return list(connection.settings.scope.org_units), str(error)
    units = {unit.key: unit for unit in (*connection.settings.scope.located(listed).org_units, *listed)}
    return list(units.values()), ""


def _groups_found(call: Call, letters: str) -> dict[str, Any]:
    """Return the groups that begin with the letters, or why they are not known: what was chosen stays in the form."""
    try:
        found = call.parts.services.directory.search_groups(letters) if letters else None
    except (BadInput, Transient) as error:
        told(error)
        return {"letters": letters, "found": None, "unsearched": str(error)}
    return {"letters": letters, "found": found, "unsearched": ""}


def _read_scope(settings: Settings, posted: MultiDict[str, str]) -> Settings:
    groups, units = dict.fromkeys(posted.getlist("group")), dict.fromkeys(posted.getlist("unit"))
    return replace(settings, scope=Scope.named(groups=groups, org_units=units))


def change_scope(call: Call, connection_id: str) -> Response:
    """Search groups and units, add or remove a group, or accept the scope."""
    posted = form(call)
    if not _choosing(posted):
        return _previewed("scope", _show_scope, _read_scope)(call, connection_id)
    connection = _editable(call, connection_id)
    chosen, letters = _chosen_by(posted)
    return _scope_of(call, connection, chosen, posted.getlist("unit"), letters=letters)


def _choosing(posted: MultiDict[str, str]) -> bool:
    """Say whether a button of `_choose_groups.html` was pressed."""
    return posted.get("do", "").partition(":")[0] in ("search", "add", "remove")


def _chosen_by(posted: MultiDict[str, str]) -> tuple[list[str], str]:
    """Return the groups chosen once the button has done its work, and the letters that are searched for."""
    word, _, group_id = posted.get("do", "").partition(":")
    chosen = [known for known in posted.getlist("group") if (word, known) != ("remove", group_id)]
    if word == "add" and group_id:
        chosen.append(group_id)
    return chosen, sought(posted.get("q")) if word == "search" else ""


def found_groups(call: Call, connection_id: str) -> Response:
    """Show the groups that begin with the letters, while they are typed."""
    existing(call, connection_id)
    letters = sought(call.request.args.get("q"))
    return show(call, "_groups.html", **_groups_found(call, letters))


# Deprovisioning


def _show_deprovisioning(
    call: Call, connection: Connection, posted: MultiDict[str, str] | None, error: Error
) -> Response:
    return _shown(
        call,
        connection,
        "deprovisioning",
        error,
        delays=fields.shown_delays(connection.settings.deprovisioning, posted),
        archived=connection.settings.archived_as_suspended if posted is None else posted.get("archived") == "yes",
        choices=fields.DELAYS,
        longest=LONGEST_DAYS,
    )


def _read_deprovisioning(settings: Settings, posted: MultiDict[str, str]) -> Settings:
    archived = posted.get("archived") == "yes"
    return replace(settings, deprovisioning=fields.read_deprovisioning(posted), archived_as_suspended=archived)


# What is saved at once


def _show_authorization(
    call: Call, connection: Connection, posted: MultiDict[str, str] | None, error: Error
) -> Response:
    endpoint = connection.settings.endpoint if posted is None else posted.get("endpoint", "")
    return _shown(call, connection, "authorization", error, endpoint=endpoint)


def change_authorization(call: Call, connection_id: str) -> Response:
    """Try an endpoint and its token, and save both."""
    endpoint, token = form(call).get("endpoint", ""), form(call).get("token", "")
    return _saved(
        call, connection_id, lambda settings: replace(settings, endpoint=endpoint), _show_authorization, token=token
    )


def _show_limits(call: Call, connection: Connection, posted: MultiDict[str, str] | None, error: Error) -> Response:
    """Show the form; what the second of two administrators left alone is as the first has made it."""
    current = {
        "name": connection.settings.name,
        "minimum": str(connection.settings.limit.minimum),
        "percent": f"{connection.settings.limit.percent:g}",
        "drift": "repair" if connection.settings.repair_drift else "report",
        "patch_dialect": connection.settings.patch_dialect.value,
    }
    values = was = current
    if posted is not None:
        values = {name: posted.get(name, "") for name in current}
        was = {name: posted.get(f"was.{name}", current[name]) for name in current}
    if isinstance(error, Stale):
        values = {name: current[name] if typed == was[name] else typed for name, typed in values.items()}
        was = current
    return _shown(call, connection, "limits", error, values=values, was=was)


def change_limits(call: Call, connection_id: str) -> Response:
    """Save name, volume limit, whether drift is repaired, and how a PATCH is spelled."""
    posted = form(call)

    def wanted(settings: Settings) -> Settings:
        return replace(
            settings,
            name=posted.get("name", ""),
            limit=fields.read_limit(posted),
            repair_drift=fields.read_drift(posted),
            patch_dialect=fields.read_dialect(posted),
        )

    return _saved(call, connection_id, wanted, _show_limits)


def _show_teams(
    call: Call,
    connection: Connection,
    posted: MultiDict[str, str] | None,
    error: Error,
    would: Sequence[Group] | None = None,
) -> Response:
    """Show which groups are chosen; `would` are those that the form would choose, by pattern too."""
    choice = connection.settings.teams
    values = {
        "patterns": "\n".join(choice.patterns),
        "exclusions": "\n".join(choice.exclusions),
        "role_prefix": choice.role_prefix,
        "roles": "yes" if choice.roles else "",
        "most": str(choice.most),
        "empty_left": "yes" if choice.empty_left else "",
        "remove_suspended": "yes" if choice.remove_suspended else "",
        "pending_days": str(choice.pending_days),
    }
    chosen, letters = [group.id for group in choice.groups], ""
    if posted is not None:
        values = {name: posted.get(name, "") for name in values}
        chosen, letters = _chosen_by(posted)
    return _shown(
        call,
        connection,
        "choose-teams",
        error,
        values=values,
        would=would,
        groups=[group_named(call.parts.services, connection, group_id) for group_id in dict.fromkeys(chosen)],
        **_groups_found(call, letters),
    )


def _read_teams(settings: Settings, posted: MultiDict[str, str]) -> Settings:
    return replace(settings, teams=fields.read_teams(posted))


def change_teams(call: Call, connection_id: str) -> Response:
    """Search groups, add or remove one, show which a choice has, ask for a preview of it, or save it."""
    posted = form(call)
    if _choosing(posted):
        return _show_teams(call, _editable(call, connection_id), posted, None)
    if posted.get("do") == "preview":
        return _previewed("choose-teams", _show_teams, _read_teams)(call, connection_id)
    if posted.get("do") != "show":
        return _saved(call, connection_id, lambda settings: _read_teams(settings, posted), _show_teams)
    connection = _editable(call, connection_id)
    try:
        would = chosen_groups(call.parts.services, fields.read_teams(posted))
    except (BadInput, Transient) as error:
        told(error)
        return _show_teams(call, connection, posted, error)
    return _show_teams(call, connection, posted, None, would)


def _saved(
    call: Call,
    connection_id: str,
    change: Callable[[Settings], Settings],
    show_page: Show,
    *,
    token: str | None = None,
) -> Response:
    connection = _editable(call, connection_id)
    try:
        if token == "":
            raise BadInput("token", "it is empty", "Paste the access token that Keeper shows once.")
        wanted = change(connection.settings)
        saved = edit(
            call.parts.services, connection_id, edition(call), settings=wanted, actor=call.actor, token=token or ""
        )
    except (BadInput, Transient) as error:
        told(error)
        return show_page(call, connection, form(call), error)
    except Stale as error:
        told(error)
        return show_page(call, _editable(call, connection_id), form(call), error)
    done = bool(token) or not saved.settings.provisions_like(connection.settings)
    return go(f"/connections/{connection_id}", "saved-run" if done and saved.state is State.ON else "saved")


ONE = "/connections/<id:connection_id>"
ROUTES = (
    get(f"{ONE}/mapping", _page(_show_mapping)),
    post(f"{ONE}/mapping", change_mapping, again=_again(_show_mapping)),
    get(f"{ONE}/scope", _page(_show_scope)),
    post(f"{ONE}/scope", change_scope, again=_again(_show_scope)),
    get(f"{ONE}/groups", found_groups),
    get(f"{ONE}/deprovisioning", _page(_show_deprovisioning)),
    post(
        f"{ONE}/deprovisioning",
        _previewed("deprovisioning", _show_deprovisioning, _read_deprovisioning),
        again=_again(_show_deprovisioning),
    ),
    get(f"{ONE}/authorization", _page(_show_authorization)),
    post(f"{ONE}/authorization", change_authorization, again=_again(_show_authorization)),
    get(f"{ONE}/choose-teams", _page(_show_teams)),
    post(f"{ONE}/choose-teams", change_teams, again=_again(_show_teams)),
    get(f"{ONE}/limits", _page(_show_limits)),
    post(f"{ONE}/limits", change_limits, again=_again(_show_limits)),
)
