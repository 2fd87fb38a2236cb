"""What docs/ says that the code knows: `make docs` writes it, and a test compares.

Two pages are made as a whole; of the page on early warnings, which people write, the table of rules is.

Run as `python -m tools.reference DIR`.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from segment_pipeline.config.config import setting_docs
from segment_pipeline.config.errors_by_line import SettingDoc
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.warning_rules import WARNING_RULES, WarningRule, WarningSettings
from segment_pipeline.config.yaml_text import show
from segment_pipeline.database.tables import Table, View
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, VIEWS

DICTIONARY_HEAD = """\
# Data dictionary

<!-- Made by `make docs` from the tables that the stages declare; do not edit. -->

What stands in the published file, `segments.duckdb`: {tables} tables and {views} views. The same text is in the file
itself, as comments and in the table `data_dictionary`. `month` is the first day of the closed month; probabilities and
shares are 0..1. How to ask: [the cookbook](cookbook.md).

The macro `score` is there as well: `SELECT * FROM score(my_table)` gives the rows of any table with `customer_id` and
the features, in original units, what `monthly_assignments` would, and in the column `refused` the reason where the
pipeline would have rejected the row.
"""

CONFIGURATION_HEAD = """\
# Configuration

<!-- Made by `make docs` from segment_pipeline/config; do not edit. -->

Every key of `segmentation.yaml`. `data/segmentation.yaml` shows them in their place, with the defaults commented out;
`segment-pipeline check` reads a file and says what is wrong with it, by line. In a key, `[]` stands for an item of a
list and `<id>` for a segment id.

Keys in **bold** must be given (below an optional part, such as `campaigns`, only if that part is there); another
without a default may be left out. Text stands in quotes where YAML would read a number, a date or true/false. The keys
of a campaign file stand in [campaigns](how-to/campaigns.md).
"""

ORDER_FEATURES_HEAD = """\
## Features of order lines

What `features[].name` may be with a source of `orders`. `as_of` is the day after the month, the window the
`source.window_months` before it.
"""

DOCS = Path(__file__).parents[1] / "docs"

RULES_BEGIN = "<!-- Made by `make docs` from segment_pipeline/config/warning_rules.py; do not edit this table. -->\n"
RULES_END = "<!-- End of the table. -->\n"

QUOTING = " (in quotes where YAML reads a number, a date or true/false)"
"""What `setting_docs` adds to every text; the page says it once."""


def data_dictionary() -> str:
    """docs/data-dictionary.md."""
    relations: Sequence[Table | View] = sorted([*PUBLISHED_TABLES, *VIEWS], key=lambda relation: relation.name)
    contents = _table(
        ("table or view", "one row is"),
        [
            (f"[`{relation.name}`](#{_anchor(relation)}){_kind(relation)}", _first_sentence(relation.description))
            for relation in relations
        ],
    )
    head = DICTIONARY_HEAD.format(tables=len(PUBLISHED_TABLES), views=len(VIEWS))
    return "\n".join([head, contents, *(_relation(relation) for relation in relations)])


def configuration() -> str:
    """docs/configuration.md."""
    parts: dict[str, list[SettingDoc]] = {}
    for doc in setting_docs():
        section, dot, _ = doc.key.partition(".")
        parts.setdefault(section.removesuffix("[]") if dot else "", []).append(doc)
    sections = [_settings(f"`{name}`" if name else "The file as a whole", docs) for name, docs in parts.items()]
    return "\n".join([CONFIGURATION_HEAD, *sections, _order_features()])


def _order_features() -> str:
    rows = [
        (
            f"`{feature.name}`",
            feature.in_full + ("; computed only where it is named, for it is costly" if feature.costly else ""),
            feature.unit,
            f"{feature.resolution:g}",
        )
        for feature in ORDER_FEATURES.values()
    ]
    return f"{ORDER_FEATURES_HEAD}\n{_table(('name', 'what it is', 'unit', 'resolution'), rows)}"


def early_warnings() -> str:
    """docs/how-to/warnings.md as it stands, with the table of rules made new."""
    head, _, rest = (DOCS / "how-to" / "warnings.md").read_text(encoding="utf-8").partition(RULES_BEGIN)
    _, _, tail = rest.partition(RULES_END)
    return f"{head}{RULES_BEGIN}\n{warning_rules(WARNING_RULES)}\n{RULES_END}{tail}"


def warning_rules(rules: Iterable[WarningRule], settings: type[WarningSettings] = WarningSettings) -> str:
    """The rules, in the order of the queue, with their keys and defaults."""
    rows = [
        (
            f"`{rule.name}`",
            rule.says,
            "none" if rule.key is None else f"`warnings.{rule.key}` {settings.model_fields[rule.key].default}",
        )
        for rule in rules
    ]
    return _table(("warning", "says that", "key in the file"), rows)


def _relation(relation: Table | View) -> str:
    rows = [(f"`{column.name}`", column.type, column.unit, column.description) for column in relation.columns]
    key = f"\n\nOrdered by {', '.join(f'`{name}`' for name in relation.key)}." if isinstance(relation, Table) else ""
    return (
        f"## {relation.name}{_kind(relation)}\n\n{relation.description}{key}\n\n"
        f"{_table(('column', 'type', 'unit', 'what one value means'), rows)}"
    )


def _kind(relation: Table | View) -> str:
    return " (view)" if isinstance(relation, View) else ""


def _anchor(relation: Table | View) -> str:
    """What Markdown readers make of the heading."""
    return f"{relation.name}{_kind(relation)}".replace(" ", "-").replace("(", "").replace(")", "")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")


def _settings(title: str, docs: Iterable[SettingDoc]) -> str:
    rows = [
        (
            f"**`{doc.key}`**" if doc.required else f"`{doc.key}`",
            doc.meaning,
            doc.unit,
            doc.allowed.removesuffix(QUOTING),
            "" if doc.required or doc.default in (None, "", ()) else f"`{show(doc.default)}`",
        )
        for doc in docs
    ]
    return f"## {title}\n\n{_table(('key', 'meaning', 'unit', 'allowed', 'default'), rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that reads well as text too: a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


PAGES = {"data-dictionary.md": data_dictionary, "configuration.md": configuration, "how-to/warnings.md": early_warnings}


def main(folder: Path) -> None:
    """Write every page into `folder`."""
    for name, make in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(make(), encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
