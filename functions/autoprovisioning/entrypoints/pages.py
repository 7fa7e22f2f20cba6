"""Render pages with the security headers that all of them carry; nothing is loaded from other origins.

Pages of the console load their style sheet and scripts from `/assets`. A page without assets, like that of
`reauthorize`, contains the style sheet, named in its policy by its hash, and no script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from autoprovisioning.domain import words
from autoprovisioning.domain.words import at_time, counted, on_day
from autoprovisioning.entrypoints import assets
from autoprovisioning.entrypoints.answers import SECURE

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    **SECURE,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
ENDING = "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
POLICY = f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; {ENDING}"


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"asset": assets.address, "carried_icon": assets.icon, "words": words}
    environment.filters |= {
        "time": shown_time,
        "day": shown_day,
        "ago": shown_ago,
        "initials": initials,
        "moment": shown_moment,
        "exact_time": shown_exactly,
        "length_of": shown_length,
        "element": element,
        "folding": folding,
        "number": lambda number: f"{number:,}",
        "counted": counted,
    }
    return environment


@lru_cache(maxsize=1)
def _carried_policy() -> str:
    digest = base64.b64encode(hashlib.sha256(assets.style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; {ENDING}"


def page(template: str, status: int, **values: Any) -> Response:
    """Return a rendered page that loads its assets."""
    defaults: Mapping[str, Any] = {"carried_style": "", "refresh": 0, "scripts": (), "under_way": None}
    text = _templates().get_template(template).render(**{**defaults, **values})
    body = text.encode(errors="replace")  # half of a surrogate pair cannot be encoded
    return Response(body, status=status, mimetype="text/html", headers={**HEADERS, "Content-Security-Policy": POLICY})


def page_alone(template: str, status: int, **values: Any) -> Response:
    """Return a rendered page that loads nothing."""
    shown = page(template, status, **{"carried_style": Markup(assets.style()), **values})  # noqa: S704 - our own file
    shown.headers["Content-Security-Policy"] = _carried_policy()
    return shown


def shown_time(at: datetime | None, otherwise: str = "never") -> Markup | str:
    """Show a point in time, to the minute, in UTC; if a line is too short for it, the hour goes to the next one."""
    if at is None:
        return otherwise
    exact = at.astimezone(UTC).isoformat(timespec="seconds")
    day, hour = at_time(at).split(", ")
    return Markup('<time datetime="{}" title="{}"><span>{},</span> <span>{}</span></time>').format(
        exact, exact, day, hour
    )


def shown_moment(at: datetime) -> Markup:
    """Show the time of something that is happening now, to the second, in UTC."""
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(timespec="seconds"), f"{at:%H:%M:%S}")


def shown_exactly(at: datetime) -> Markup:
    """Show a point in time to the second: in UTC, until a script shows it in the reader's time zone."""
    at = at.astimezone(UTC)
    exact = at.isoformat(timespec="seconds")
    return Markup('<time datetime="{}" data-local title="{}">{:%-d %b %Y, %H:%M:%S} UTC</time>').format(
        exact, exact, at
    )


def shown_day(day: Any) -> Markup:
    """Show a day."""
    return Markup('<time datetime="{}">{}</time>').format(day.isoformat(), day.strftime("%-d %b %Y"))


def shown_ago(at: datetime | None, now: datetime) -> Markup | str:
    """Show how long ago something was, the day after a month; exactly to those who point at it."""
    if at is None:
        return "never"
    minutes = int((now - at).total_seconds() // 60)
    for length, one in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= length:
            text = f"{counted(minutes // length, one)} ago"
            break
    else:
        text = "just now"
    if minutes > 30 * 1440:
        text = on_day(at)
    exact = at.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, text)


def initials(name: str) -> str:
    """Return the letters that stand for a name or, for want of one, an address."""
    words = [word for word in name.partition("@")[0].replace(".", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


def shown_length(span: timedelta | float | None) -> str:
    """Show a length of time with the two units that matter."""
    if span is None:
        return "unknown"
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def folding(text: str) -> Markup:
    """Let an address within a text wrap where a part of it ends, rather than within a word."""
    folded = re.sub(r"(@|(?<=\S)/(?=[^/]))", r"\1<wbr>", str(escape(text)))
    return Markup(re.sub(r"\S*<wbr>\S*", r'<span class="address">\g<0></span>', folded))  # noqa: S704 - escaped


def element(field: str) -> str:
    """Name the page's element of a field, as errors name it: mapping[2].source is f-mapping-2-source."""
    return "f-" + re.sub(r"[^A-Za-z0-9]+", "-", field).strip("-").lower()
