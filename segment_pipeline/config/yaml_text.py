"""YAML text as plain values that remember their lines, so that an error can name the line it is about.

What belongs here: everything that is wrong with a file as YAML (syntax, a key given twice, a value that YAML itself
cannot read). What does not: which keys there are and what they mean; that is `config`.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
OLD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|(?=[0-9.]*_)[0-9_.]+)")
"""A number of YAML 1.1 that is another one, or text, in YAML 1.2 and for most people: 010 is 8, 1:30 is 90."""
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of writing: what a person reads is then not what stands there."""
MERGE_TAG = "tag:yaml.org,2002:merge"  # the key `<<`, which SafeLoader resolves by itself


@dataclass(frozen=True)
class Problem:
    """One thing to fix: which line, which key, what stands there, what may stand there."""

    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.line}: {self.key + ': ' if self.key else ''}found {self.found}; allowed: {self.allowed}"


class YamlProblemsError(Exception):
    """The text cannot be read as one YAML document of plain values. `problems` are never empty."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class LocatedYaml:
    """The values of a YAML document, and where each stands. An empty document has the value None."""

    value: Any
    root: yaml.Node | None

    def line_of(self, path: Sequence[str | int]) -> int:
        """The line of the key or list item at `path`; of its nearest parent when there is no such key. From 1."""
        line, node = 1, self.root
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            mark, node = found
            line = mark.line + 1
        return line

    def label_of(self, path: Sequence[str | int]) -> str:
        """`path` as a person writes it: `features[2].valid.min`, `segments.3.name`. Always a single line."""
        label, node = "", self.root
        for step in path:
            in_list = isinstance(node, yaml.SequenceNode) or (node is None and isinstance(step, int))
            label += f"[{step}]" if in_list else f"{'.' if label else ''}{_plain(step)}"
            found = _child(node, step)
            node = found[1] if found else None
        return label


def load_located(text: str) -> LocatedYaml:
    """Read one YAML document as yaml.SafeLoader would. Raises YamlProblemsError with all problems found.

    Stricter than SafeLoader: a key may stand only once in a mapping (SafeLoader keeps the last one, silently), tags
    such as `!!python/object` are refused, and so is a structure that contains itself.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return LocatedYaml(None, None)
        problems = list(_node_problems(root, loader.resolve))
        problems += _turned_lines(text)
        if problems:
            raise YamlProblemsError(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))
        return LocatedYaml(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblemsError([_syntax_problem(mark.line + 1 if mark else 1, what)]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlProblemsError([_syntax_problem(line, f"the character U+{int(error.character):04X}")]) from error
    except RecursionError as error:
        raise YamlProblemsError([_syntax_problem(1, "brackets nested hundreds of levels deep")]) from error


def show(value: object) -> str:
    """A value as the user's file would write it, on one short line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, dict):
        return "a mapping" if value else "{}"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple | dict) for item in value)
        return f"a list of {len(value)}" if nested or len(value) > 10 else f"[{', '.join(map(show, value))}]"
    text = str(value) if isinstance(value, date | int | float) else repr(str(value))
    text = text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"
    return text if text.isprintable() else ascii(text)


def with_value(text: str, path: KeyPath, value: str) -> str:
    """The text with `value`, written as YAML, under these keys; all else, comments too, stays as it was.

    A key that is not there becomes the first of its mapping, and at the top level the last, or takes the place of its
    own commented line, `#key: {}`. For a text that `load_located` reads; whoever writes the result reads it again.
    """
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, step in enumerate(path):
        found = _child(node, step)
        if found is None:
            return _with_entry(text, node, path[depth:], value)
        node = found[1]
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _with_entry(text: str, node: yaml.Node, path: KeyPath, value: str) -> str:
    for step in reversed(path[1:]):
        value = f"{{{step}: {value}}}"
    entry, start = f"{path[0]}: {value}", node.start_mark
    if not isinstance(node, yaml.MappingNode):  # a key with nothing behind it
        return f"{text[: start.index]} {{{entry}}}{text[node.end_mark.index :]}"
    if node.flow_style:
        return f"{text[: start.index + 1]}{entry}{', ' if node.value else ''}{text[start.index + 1 :]}"
    if start.column == 0:
        newline = "" if text.endswith("\n") else "\n"
        shown = re.compile(rf"^#{re.escape(str(path[0]))}: \{{\}}", re.MULTILINE)
        return shown.sub(lambda _: entry, text, count=1) if shown.search(text) else f"{text}{newline}{entry}\n"
    return f"{text[: start.index]}{entry}\n{' ' * start.column}{text[start.index :]}"


def _syntax_problem(line: int, what: str) -> Problem:
    return Problem(
        line,
        "",
        f"text that is not YAML ({_plain(what)})",
        "`key: value` lines indented with spaces, every bracket closed, and quotes around text that holds : or #",
    )


def _node_problems(root: yaml.Node, resolve: Callable[..., Any]) -> Iterable[Problem]:
    """What SafeLoader would accept in silence, or fail on without a line. Each node is looked at once."""
    seen: set[int] = set()
    open_nodes: set[int] = set()

    def visit(node: yaml.Node, label: str) -> Iterable[Problem]:
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            yield Problem(line, label, "a value that contains itself", "an alias to a value that is complete before it")
        if id(node) in seen:
            return
        seen.add(id(node))
        open_nodes.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield from _scalar_problems(node, label, resolve)
        elif node.tag != resolve(type(node), None, True):
            yield Problem(line, label, f"the tag {_plain(node.tag)}", "plain YAML values; remove the tag")
        elif isinstance(node, yaml.MappingNode):
            yield from _key_problems(node, label)
            for key, value in node.value:
                yield from visit(key, label)
                name = _plain(key.value) if isinstance(key, yaml.ScalarNode) else "?"
                yield from visit(value, f"{label}.{name}" if label else name)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield from visit(item, f"{label}[{index}]")
        open_nodes.discard(id(node))

    return visit(root, "")


def _scalar_problems(node: yaml.ScalarNode, label: str, resolve: Callable[..., Any]) -> Iterable[Problem]:
    line = node.start_mark.line + 1
    if node.tag == MERGE_TAG:
        return
    if node.tag != resolve(yaml.ScalarNode, node.value, (node.style is None, node.style is not None)):
        yield Problem(line, label, f"the tag {_plain(node.tag)}", "plain YAML values; remove the tag")
        return
    if node.tag.endswith((":int", ":float")) and OLD_NUMBER.fullmatch(node.value):
        found = f"{_plain(node.value)}, which YAML takes for {yaml.safe_load(node.value)}"
        yield Problem(line, label, found, "digits alone, without a leading 0, or text in quotes")
        return
    if (hidden := _hidden(node.value)) is not None:
        yield Problem(line, label, f"the character U+{ord(hidden):04X}, which is not seen", "text without it")
    try:
        yaml.SafeLoader("").construct_object(node)
    except (ValueError, OverflowError):  # 2017-13-45 looks like a date and is none; a number of 5,000 digits
        kind = node.tag.rpartition(":")[2]
        allowed = f"a {'date that exists' if kind == 'timestamp' else 'number that exists'}, or text in quotes"
        yield Problem(line, label, f"{_plain(node.value)}, which YAML takes for a {kind}", allowed)


def _hidden(value: str) -> str | None:
    """The first character of a value that nobody sees: one that turns the writing, or controls a device."""
    return next((one for one in value if one in TURNING or (one < " " and one not in "\t\n\r") or one == "\x7f"), None)


def _turned_lines(text: str) -> Iterable[Problem]:
    """Also in a comment: it may look like a key, and hide one."""
    for number, line in enumerate(text.split("\n"), 1):
        turning = next((one for one in line if one in TURNING), None)
        if turning is not None:
            found = f"the character U+{ord(turning):04X}, which turns the direction of writing"
            yield Problem(number, "", found, "text without it; type the line anew")


def _key_problems(node: yaml.MappingNode, label: str) -> Iterable[Problem]:
    first_lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield Problem(line, label, "a list or mapping as a key", "plain text as a key")
            continue
        name = f"{label}.{_plain(key.value)}" if label else _plain(key.value)
        identity = (key.tag, key.value)
        if identity in first_lines:
            yield Problem(
                line,
                name,
                f"the key a second time (first in line {first_lines[identity]})",
                "each key once; remove one",
            )
        first_lines.setdefault(identity, line)


def _child(node: yaml.Node | None, step: str | int) -> tuple[Any, yaml.Node] | None:
    """The mark of the key (or list item) `step` below `node`, and its value; None when there is none."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        item = node.value[step]
        return item.start_mark, item
    if isinstance(node, yaml.MappingNode):
        # Backwards: construction puts what `<<: *anchor` merges first, and the mapping's own keys win.
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key.start_mark, value
    return None


def _plain(value: object) -> str:
    """A short single line, whatever the text holds."""
    text = str(value)
    text = text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
    return text if text.isprintable() else ascii(text)
