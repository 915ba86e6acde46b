"""A page of ours, opened in V8 with the few parts of a browser that its script uses."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from py_mini_racer import MiniRacer

_VOID = {"meta", "br", "img", "input", "link"}
_BROWSER = """
class Element {
  constructor(name) {
    this.name = name; this.attributes = {}; this.children = []; this.listeners = {};
    this.textContent = ""; this.value = "";
  }
  setAttribute(key, value) { this.attributes[key] = value; }
  appendChild(child) { this.children.push(child); return child; }
  removeChild(child) { this.children.splice(this.children.indexOf(child), 1); }
  get firstChild() { return this.children[0] || null; }
  addEventListener(kind, run) { (this.listeners[kind] = this.listeners[kind] || []).push(run); }
  getBoundingClientRect() { return { left: 0, width: 1200 }; }
}
const elements = {};
const document = {
  getElementById: id => elements[id],
  createElement: name => new Element(name),
  createElementNS: (space, name) => new Element(name),
};
function fire(id, kind, event) {
  event.preventDefault = () => {};
  for (const run of elements[id].listeners[kind] || []) run(event);
}
"""


class _Parts(HTMLParser):
    """Ids, the text of scripts, and unclosed elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.texts: dict[str, str] = {}
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        identifier = dict(attrs).get("id") or ""
        if identifier:
            self.texts[identifier] = ""
        if tag not in _VOID:
            self.open.append((tag, identifier))
        if tag == "script" and dict(attrs).get("type") is None:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not self.open:
            return
        tag, identifier = self.open[-1]
        if identifier:
            self.texts[identifier] += data
        elif tag == "script":
            self.scripts[-1] += data


class OpenPage:
    """Page whose script has run."""

    def __init__(self, html: str) -> None:
        parts = _Parts()
        parts.feed(html)
        parts.close()
        assert not parts.open
        (script,) = parts.scripts
        self._engine = MiniRacer()
        self._engine.eval(_BROWSER)
        for identifier, text in parts.texts.items():
            self._engine.eval(
                f"elements[{json.dumps(identifier)}] = new Element('');"
                f"elements[{json.dumps(identifier)}].textContent = {json.dumps(text)}; 0"
            )
        self._engine.eval(script + "\n;0")

    def text(self, identifier: str) -> str:
        """Return the text of an element."""
        return str(self._engine.eval(f"elements[{json.dumps(identifier)}].textContent"))

    def number_of(self, kind: str) -> int:
        """Return the number of drawn elements of a class."""
        children = "elements.view.children.filter"
        code = f"{children}(child => child.attributes.class === {json.dumps(kind)}).length"
        value = self._engine.eval(code)
        assert isinstance(value, int)
        return value

    def written(self) -> list[str]:
        """Return the texts of the drawing."""
        code = "elements.view.children.map(child => child.textContent)"
        return list(json.loads(str(self._engine.eval(f"JSON.stringify({code})"))))

    def point(self, x: float, y: float) -> None:
        """Move the pointer over the drawing, which is 1,200 wide."""
        self._fire("view", "pointermove", clientX=x, clientY=y)

    def wheel(self, x: float, amount: float) -> None:
        """Turn the wheel at a place."""
        self._fire("view", "wheel", clientX=x, deltaY=amount)

    def click(self, identifier: str) -> None:
        """Click a button."""
        self._fire(identifier, "click")

    def choose(self, identifier: str, value: str) -> None:
        """Choose an entry of a list."""
        self._engine.eval(f"elements[{json.dumps(identifier)}].value = {json.dumps(value)}; 0")
        self._fire(identifier, "change")

    def _fire(self, identifier: str, kind: str, **event: float) -> None:
        arguments = ", ".join(json.dumps(value) for value in (identifier, kind, event))
        self._engine.eval(f"fire({arguments}); 0")
