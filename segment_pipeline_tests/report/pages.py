"""A page as a browser would take it apart, for tests."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

Attributes = dict[str, str | None]
UNSEEN = {"script", "style"}


@dataclass
class Page(HTMLParser):
    """Its elements in order, its visible text, and its headings as (level, text)."""

    elements: list[tuple[str, Attributes]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    _open: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in UNSEEN:
            return
        self.texts.append(data)
        if self._open.startswith("h") and self._open[1:].isdigit():
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [str(attributes["href"]) for _, attributes in self.elements if "href" in attributes]

    @property
    def event_handlers(self) -> list[str]:
        return [name for _, attributes in self.elements for name in attributes if name.startswith("on")]

    def attributes(self, tag: str) -> list[Attributes]:
        return [attributes for found, attributes in self.elements if found == tag]

    def of_class(self, name: str) -> list[Attributes]:
        return [found for _, found in self.elements if name in (found.get("class") or "").split()]

    def of_tag_with(self, tag: str, attribute: str) -> list[Attributes]:
        return [attributes for attributes in self.attributes(tag) if attribute in attributes]


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page
