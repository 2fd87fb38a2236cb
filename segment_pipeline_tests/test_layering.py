"""Dependencies point down only, whether a module is imported at the top of a file or inside a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "segment_pipeline"
BASE = {"config", "errors", "months", "yaml_lines", ""}

# layer -> what of this package it may import besides itself and the base
BELOW = {
    "base": set(),
    "segmentation": set(),
    "warehouse": {"segmentation"},
    "quality": {"segmentation", "warehouse"},
    "report": {"segmentation"},
    # history runs the finished code location, which it imports when it is called
    "defs": {"segmentation", "warehouse", "quality", "report", "definitions"},
    "definitions": {"defs"},
    "starter_file": set(),
    "quickstart": {"starter_file", "segmentation", "warehouse", "defs"},
    "project": {"quickstart", "starter_file"},
    "cli": {"quickstart", "project", "defs", "report", "warehouse"},
    "reference": {"warehouse"},
}
# layer -> libraries that it knows nothing of
UNKNOWN = {
    "base": {"dagster", "duckdb", "pandas", "numpy", "rich", "great_expectations"},
    "segmentation": {"dagster", "duckdb", "pandas", "great_expectations", "rich", "yaml"},
    "warehouse": {"dagster", "great_expectations", "rich"},
    "quality": {"dagster", "rich"},
    "report": {"dagster", "great_expectations", "yaml"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str:
    """`warehouse.store` -> `warehouse`; `config` -> `base`."""
    first = module.partition(".")[0]
    return "base" if first in BASE else first


def imports_of(path: Path) -> Iterator[str]:
    """Every module that the file names in an import, in full, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    layer = layer_of(name)
    for imported in imports_of(path):
        library, _, rest = imported.partition(".")
        if library == "segment_pipeline":
            other = layer_of(rest if rest != "__version__" else "")
            assert other in {layer, "base"} | BELOW[layer], f"{name} imports {imported}"
        else:
            assert library not in UNKNOWN.get(layer, set()), f"{name} imports {library}"


def test_every_folder_has_its_place_in_the_layers():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(BELOW)
