"""The house: a room imports only rooms below it, a file's name says which libraries it knows, no circle anywhere.

All of it holds whether a module is imported at the top of a file or inside a function.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "segment_pipeline"

# From the ground up. A room imports itself and the rooms above it in this list, which lie below it in the house.
ROOMS = (
    "__init__",
    "errors",
    "months",
    "arrays",
    "measures",
    "helper",
    "config",
    "words",
    "column_names",
    "database",
    "drawing",
    "charts",
    "mixture",
    "orchestration",
    # the stages, in the order in which a month goes through them
    "sources",
    "customers",
    "models",
    "segments",
    "campaigns",
    "value",
    "early_warnings",
    "movement",
    "audit",
    "validation",
    "alternatives",
    "publishing",
    "report",
    # what runs them, and faces
    "schedule",
    "definitions",
    "run_history",
    "run_months",
    "quickstart",
    "cli",
)
STAGES = frozenset(ROOMS[ROOMS.index("sources") : ROOMS.index("schedule")])
FACES = frozenset(ROOMS[ROOMS.index("schedule") :])

# What a file may know: a library, or what of this package hands it out -> the rooms that know it by nature, and the
# files of a stage that do. Whoever is in neither may import none of it.
DUCKDB = ("duckdb", *(f"segment_pipeline.database.{module}" for module in ("rows", "store", "tables")))
DAGSTER = (
    "dagster",
    "dagster_shared",
    *(
        f"segment_pipeline.orchestration.{module.stem}"
        for module in (PACKAGE / "orchestration").glob("*.py")
        if module.stem not in {"check_types", "settings", "tables"}  # values, and declarations
    ),
)
KNOWS: Mapping[tuple[str, ...], tuple[frozenset[str], re.Pattern[str]]] = {
    DUCKDB: (
        frozenset({"database", "sources", "publishing", "report", "quickstart", "orchestration", *FACES}),
        re.compile(r"tables\.py|assets\.py|\w+_store\.py"),
    ),
    DAGSTER: (frozenset({"orchestration", *FACES}), re.compile(r"assets\.py")),
    ("great_expectations", "pandas"): (
        frozenset(),
        re.compile(r"expectations\.py|split_store\.py"),
    ),
    ("rich",): (frozenset({"cli", "quickstart"}), re.compile(r"summary\.py")),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """`segments.drift_store` -> `segments`; the package itself -> `__init__`."""
    return module.partition(".")[0] or "__init__"


def name_of(path: Path) -> str:
    """`segments/drift_store.py` -> `segments.drift_store`; a folder's `__init__.py` -> the folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports_of(path: Path) -> Iterator[str]:
    """Every module that the file names in an import, in full, wherever in the file it does; none is named by text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            assert not ast.unparse(node.func).endswith(("import_module", "__import__")), f"{path}: an import by text"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it_and_what_its_name_allows(path):
    name = name_of(path)
    room = room_of(name)
    for imported in imports_of(path):
        library, _, rest = imported.partition(".")
        if library == "segment_pipeline":
            other = room_of(rest if rest != "__version__" else "")
            assert ROOMS.index(other) <= ROOMS.index(room), f"{name} imports {imported}, which lies above it"
        for known, (rooms, files) in KNOWS.items():
            if room not in rooms and not (room in STAGES and files.fullmatch(path.name)):
                assert not any(f"{imported}.".startswith(f"{one}.") for one in known), f"{name} imports {imported}"


def test_no_modules_import_one_another_in_a_circle():
    names = {name_of(path) for path in MODULES}
    below = {
        name_of(path): {
            rest if rest in names else rest.rpartition(".")[0]
            for imported in imports_of(path)
            if (rest := imported.removeprefix("segment_pipeline.")) != imported
        }
        & names
        for path in MODULES
    }
    try:
        list(TopologicalSorter(below).static_order())
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_every_room_has_its_floor():
    rooms = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    }
    assert rooms == set(ROOMS)


def test_a_folder_can_be_looked_over():
    crowded = {folder: len(list(folder.glob("*.py"))) for folder in PACKAGE.rglob("*") if folder.is_dir()}
    assert {str(folder): count for folder, count in crowded.items() if count > 15} == {}


def test_a_file_can_be_read_in_one_sitting():
    root = PACKAGE.parent
    files = [
        path
        for folder in (PACKAGE.name, f"{PACKAGE.name}_tests", "benchmarks", "tools")
        for path in (root / folder).rglob("*.py")
    ]
    lengths = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > 700} == {}


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_imports_names_that_there_are(path):
    """Benchmarks run by hand and seldom; what they import is checked here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("segment_pipeline"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):  # then it must be a module of that folder
                    importlib.import_module(f"{node.module}.{alias.name}")
