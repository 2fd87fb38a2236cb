"""Tables that benchmarks have measured, in the pages that show them: `make docs` copies them, and a test compares.

A benchmark writes benchmarks/tables/SCRIPT-WHAT.md (`record` in benchmarks/real_months.py). A page shows it between two
lines:

    <!-- benchmarks/tables/SCRIPT-WHAT.md: `make docs` copies it; do not edit. -->
    <!-- End of the table. -->

Run as `python -m tools.figures`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "benchmarks" / "tables"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

SHOWN = re.compile(
    r"^(<!-- benchmarks/tables/([\w-]+)\.md: `make docs` copies it; do not edit\. -->\n)"
    r".*?(<!-- End of the table\. -->)",
    re.DOTALL | re.MULTILINE,
)


def with_tables(text: str) -> str:
    """A page with every table that it shows as it was measured last. Raises FileNotFoundError where there is none."""
    return SHOWN.sub(lambda found: f"{found[1]}\n{(TABLES / f'{found[2]}.md').read_text('utf-8')}\n{found[3]}", text)


def main() -> None:
    """Bring every page up to date."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if text != with_tables(text):
            page.write_text(with_tables(text), "utf-8")
            print(page)


if __name__ == "__main__":
    main()
