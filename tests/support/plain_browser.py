"""A browser without JavaScript: it follows links and redirects, keeps cookies, and sends the forms that a page has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tests.support.wire import Answer

Pairs = list[tuple[str, str]]
FORM = "application/x-www-form-urlencoded"
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


@dataclass
class Button:
    """A button that sends its form."""

    text: str
    name: str
    value: str


@dataclass
class Form:
    """A form as it is shown: where it goes, what is in it, its buttons."""

    label: str
    method: str
    action: str
    fields: Pairs = field(default_factory=list)
    offered: dict[str, list[str]] = field(default_factory=dict)  # boxes and choices that are not ticked or chosen
    buttons: list[Button] = field(default_factory=list)


class _Reader(HTMLParser):
    """Reads what a browser would make of the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._form: Form | None = None
        self._named: dict[str, Form] = {}  # by id, for controls outside of their forms
        self._select: tuple[str, Pairs] | None = None
        self._button: Button | None = None
        self._text: tuple[Form, str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "form":
            self._form = Form(found.get("aria-label", ""), found.get("method", "get"), found.get("action", ""))
            self.forms.append(self._form)
            self._named[found.get("id", "")] = self._form
            return
        owner = self._named.get(found["form"]) if "form" in found else self._form
        if owner is not None:
            self._control(owner, tag, found)

    def _control(self, form: Form, tag: str, found: dict[str, str]) -> None:
        name, value = found.get("name", ""), found.get("value", "")
        if tag == "input" and found.get("type") in ("checkbox", "radio"):
            (
                form.fields.append((name, value))
                if "checked" in found
                else form.offered.setdefault(name, []).append(value)
            )
        elif tag == "input":
            form.fields.append((name, value))
        elif tag == "select":
            self._select = (name, [])
        elif tag == "option" and self._select is not None:
            self._select[1].append((value, "selected" if "selected" in found else ""))
        elif tag == "textarea":
            self._text = (form, name, "")
        elif tag == "button":
            self._button = Button("", name, value)
            form.buttons.append(self._button)

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button.text += data
        if self._text is not None:
            form, name, text = self._text
            self._text = (form, name, text + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None
        elif tag == "textarea" and self._text is not None:
            form, name, text = self._text
            form.fields.append((name, text.removeprefix("\n")))  # HTML 13.1.2.5
            self._text = None
        elif tag == "select" and self._select is not None and self._form is not None:
            name, options = self._select
            chosen = next((value for value, mark in options if mark), options[0][0] if options else "")
            self._form.fields.append((name, chosen))
            self._form.offered[name] = [value for value, _ in options]
            self._select = None


@dataclass
class Page:
    """What is shown."""

    answer: Answer
    address: str
    browser: Browser
    forms: list[Form]
    tags: list[tuple[str, dict[str, str]]]

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def text(self) -> str:
        return self.answer.text

    def form(self, label: str) -> Form:
        """Return the form with this accessible name."""
        return next(form for form in self.forms if form.label == label)

    def buttons(self) -> list[str]:
        """Return the texts of all buttons of forms that change something."""
        return [button.text.strip() for form in self.forms if form.method == "post" for button in form.buttons]

    def links(self) -> list[str]:
        """Return where the links go."""
        return [found["href"] for tag, found in self.tags if tag == "a" and "href" in found]

    def send(self, label: str, button: str = "", /, **filled: str | list[str]) -> Page:
        """Fill in a form and press the button with this text, or with this value or the word before its colon."""
        form = self.form(label)
        names = {name.replace("__", "."): value for name, value in filled.items()}
        pairs = [(name, value) for name, value in form.fields if name not in names]
        for name, value in names.items():
            pairs += [(name, each) for each in ([value] if isinstance(value, str) else value)]
        pressed = next(
            each
            for each in form.buttons
            if not button or button in (each.value, each.value.partition(":")[0], each.text.strip())
        )
        if pressed.name:
            pairs.append((pressed.name, pressed.value))
        return self.browser.send(form.method, urljoin(self.address, form.action), pairs)


Ask = Callable[[str, str, bytes | None, dict[str, str]], Answer]  # method, path, body, headers


@dataclass
class Browser:
    """Goes from page to page; `origin` is what it sends as Origin with a form."""

    ask: Ask
    origin: str = ""
    cookies: dict[tuple[str, str], str] = field(default_factory=dict)  # by name and path (RFC 6265)

    def open(self, path: str) -> Page:
        """Show a page."""
        return self.send("get", path, [])

    def send(self, method: str, path: str, pairs: Pairs) -> Page:
        """Send a form and follow where it leads."""
        if method == "get":
            target = path + (("&" if "?" in path else "?") + urlencode(pairs) if pairs else "")
            answer = self.ask("GET", target, None, self._kept(target))
        else:
            headers = {"Content-Type": FORM} | ({"Origin": self.origin} if self.origin else {})
            answer = self.ask("POST", path, urlencode(pairs).encode(), headers | self._kept(path))
            target = path
        self._keep(answer)
        if answer.status == 303:
            there = urlsplit(urljoin(target, answer.headers["Location"]))
            return self.open(there.path + (f"?{there.query}" if there.query else ""))
        reader = _Reader()
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            reader.feed(answer.text)
        return Page(answer, target, self, reader.forms, reader.tags)

    def _keep(self, answer: Answer) -> None:
        for name, value in answer.headers.items():
            if name.lower() == "set-cookie":
                [morsel] = SimpleCookie(value).values()
                key = morsel.key, morsel["path"]
                if morsel["max-age"] == "0":
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = morsel.value

    def _kept(self, target: str) -> dict[str, str]:
        """Return the header with the cookies for this address: those of its path and of the paths above it."""
        path = target.partition("?")[0]
        sent = [
            f"{name}={value}"
            for (name, at), value in self.cookies.items()
            if path == at or path.startswith(at.rstrip("/") + "/")
        ]
        return {"Cookie": "; ".join(sent)} if sent else {}
