"""What a login needs to know of an HTML page: its forms, links and words; pure."""

from dataclasses import dataclass
from html.parser import HTMLParser

_UNSEEN = frozenset({"script", "style", "title"})


@dataclass(frozen=True, kw_only=True)
class Field:
    """An input of a form; kind is its type: text, password, hidden, …"""

    name: str
    kind: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form; action is as written in the page, often relative or empty."""

    method: str  # GET or POST
    action: str
    fields: tuple[Field, ...]

    def first(self, *kinds: str) -> Field | None:
        """Return the first input of one of these kinds."""
        return next((field for field in self.fields if field.kind in kinds), None)

    def values(self) -> dict[str, str]:
        """Return what a browser would send for the inputs that nobody fills in."""
        return {field.name: field.value for field in self.fields if field.kind == "hidden"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: title, visible text in one line, forms, and the targets of its links."""

    title: str
    text: str
    forms: tuple[Form, ...]
    links: tuple[str, ...]


def read_page(html: str) -> Page:
    """Read a page, however broken its HTML is."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return Page(
        title=" ".join("".join(reader.title).split()),
        text=" ".join(" ".join(reader.text).split()),
        forms=tuple(
            Form(method=method, action=action, fields=tuple(fields)) for method, action, fields in reader.forms
        ),
        links=tuple(reader.links),
    )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.forms: list[tuple[str, str, list[Field]]] = []
        self._in_form = False
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "form":
            self.forms.append((given.get("method", "get").strip().upper(), given.get("action", "").strip(), []))
            self._in_form = True
        elif tag == "input" and self._in_form and given.get("name"):
            kind = given.get("type", "text").strip().lower()
            self.forms[-1][2].append(Field(name=given["name"], kind=kind, value=given.get("value", "")))
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"].strip())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in _UNSEEN:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        elif self._unseen and self._unseen[-1] == tag:
            self._unseen.pop()

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.text.append(data)
        elif self._unseen[-1] == "title":
            self.title.append(data)
