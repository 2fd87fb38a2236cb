"""A hundred bad inputs, each to a command of a project with three months published: keys, files, SQL, arguments, disk
and memory. Each ends with an exit code that is not 0 and a message that says what is wrong, where, and what to do; and
what is published stays as it is, to the last byte.
"""

import gzip
import os
import re
from collections.abc import Callable

import duckdb
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.shop import Shop

Break = Callable[[Shop], object]

# what a message advises with
WHAT_TO_DO = re.compile(
    r"\b(allowed|expected|write it|fix|deliver|name (the|another)|run( it first|:| again)|put|save it|raise it|make|"
    r"ask|free|end other programs|invalid choice|ends before|must be in|which has)\b",
    re.IGNORECASE,
)
MOST_LINES, MOST_CHARACTERS = 12, 1500


def untouched(shop: Shop) -> tuple[bytes, list[str]]:
    """What consumers read: the published file, and which files lie beside it."""
    return shop.published.read_bytes(), sorted(path.name for path in (shop.folder / "reports").iterdir())


def assert_clear(said: str, pattern: str) -> None:
    assert re.search(pattern, said, re.DOTALL), said
    assert "Traceback" not in said
    assert "defect" not in said
    assert WHAT_TO_DO.search(said), said
    assert said.count("\n") <= MOST_LINES, said
    assert len(said) <= MOST_CHARACTERS, said


@pytest.fixture
def refused(copy: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`refused(break, command, pattern)`: the command, in this process, ends as a bad input should."""

    def run(break_it: Break, command: list[str], pattern: str) -> None:
        monkeypatch.chdir(copy.folder)
        # `run` points its process at the project
        monkeypatch.setenv("DAGSTER_HOME", str(copy.folder / "dagster_home"))
        monkeypatch.setenv("SEGMENT_PIPELINE_CONFIG", os.environ["SEGMENT_PIPELINE_CONFIG"])
        before = untouched(copy)
        break_it(copy)
        try:
            code = main([command[0], "--config", str(copy.config_path), *command[1:]])
        except SystemExit as ended:  # argparse's own
            code = int(ended.code or 0)
        assert code in (1, 2)
        assert_clear(capsys.readouterr().err, pattern)
        assert untouched(copy) == before

    return run


def replaced(old: str, new: str) -> Break:
    def change(shop: Shop) -> None:
        text = shop.config_path.read_text()
        assert old in text
        shop.config_path.write_text(text.replace(old, new))

    return change


# --- keys -------------------------------------------------------------------------------------------------------------

ADDED = {
    "modell: {seed: 1}": r"modell: found an unknown key",
    "quality: {min_customers: -1}": r"quality\.min_customers: found -1; allowed",
    "quality: {min_customers: 1.5}": r"quality\.min_customers: found 1\.5; allowed: a whole number",
    "quality: {min_customers: many}": r"quality\.min_customers: found 'many'; allowed",
    "quality: {max_rejected_share: 5}": r"max_rejected_share: found 5; allowed",
    "quality: {max_rejected_share: .nan}": r"max_rejected_share: found \.nan",
    "quality: {empty_month: maybe}": r"empty_month: found 'maybe'; allowed: stop, skip",
    "quality: [1, 2]": r"quality: found \[1, 2\]; allowed: a mapping",
    "quality: {outlier_sd: .inf}": r"outlier_sd: found \.inf",
    "quality: {max_row_count_change: '0,5'}": r"max_row_count_change: found '0,5'",
    "quality: {max_row_count_change: 50}": r"max_row_count_change: found 50; allowed: a share, .* 0\.5 is 50 %",
    "drift: {max_audience_change: 20}": r"max_audience_change: found 20; allowed: a share, .* 0\.2 is 20 %",
    "refit: {max_age_months: 010}": r"max_age_months",
    "refit: {max_age_months: 1:30}": r"max_age_months",
    "refit: {min_gain: -1}": r"refit\.min_gain: found -1",
    "tiers: {dominant: 1.5}": r"tiers\.dominant: found 1\.5",
    "tiers: {diffuse: 0.9}": r"tiers\.diffuse",
    "alignment: {split: 0.9, survival: 0.2}": r"alignment",
    "roles: {recency: nosuch}": r"roles\.recency: found 'nosuch'",
    "segments: {one: {name: Gold}}": r"segments.*one",
    "segments: {1: {role: king}}": r"role: found 'king'; allowed",
    "operation: {memory_limit: lots}": r"memory_limit: found 'lots'",
    "operation: {memory_limit: -1GB}": r"memory_limit: found '-1GB'",
    "operation: {threads: 0}": r"threads: found 0",
    "operation: {lock_timeout_minutes: soon}": r"lock_timeout_minutes: found 'soon'",
    "output_dir: [a]": r"output_dir: found \['?a'?\]",
    "warnings: {monthly_budget: 0}": r"monthly_budget: found 0",
    "name: again": r"name",
    "tiers: {dominant: 0.8": r"segmentation\.yaml",
    "\tquality: {}": r"tab|line",
    "name2: \u202eevil": r"U\+202E|control",
    "campaigns: 5": r"campaigns: found 5",
    "audit: {path: labels.csv}": r"audit",
    "actions: [{action_id: a}]": r"actions\[0\]",
    "alternatives: {rules: {gold: 5}}": r"alternatives",
}
CHANGED_KEYS = {
    ("name: shop", "name: 12"): r"name: found 12",
    ("name: shop", ""): r"name",
    ("first_month: 2023-03", "first_month: 2023-13"): r"first_month: found",
    ("first_month: 2023-03", "first_month: 2023-3"): r"first_month: found",
    ("first_month: 2023-03", "first_month: 2023-07"): r"last_month",
    ("first_month: 2023-03", "first_month: yesterday"): r"first_month: found 'yesterday'",
    ("window_months: 3", "window_months: 0"): r"window_months: found 0",
    ("window_months: 3", "window_months: 3\n  time_zone: Mars/Olympus"): r"time_zone: found 'Mars/Olympus'",
    ("window_months: 3", "window_months: 3\n  late_data: never"): r"late_data: found 'never'; allowed",
    ("transform: log1p, resolution: 1, valid: {min: 1}", "transform: cube"): r"transform: found 'cube'; allowed",
    ("resolution: 0.01, valid: {min: 0}", "resolution: 0"): r"resolution: found 0",
    ("valid: {min: 1}, meaning: How often.", "valid: {min: 2, max: 1}"): r"valid",
    ("name: orders,", "name: order s,"): r"name: found 'order s'",
    ("name: orders,", "name: nosuch,"): r"nosuch",
    ("name: orders,", "name: average_order_value,"): r"average_order_value",
    ("n_components: [2, 4]", "n_components: [4, 2]"): r"n_components",
    ("n_components: [2, 4]", "n_components: 0"): r"n_components",
    ("seed: 7", "seed: true"): r"seed: found true",
    ("memory: false", "memory: perhaps"): r"memory: found 'perhaps'",
}


@pytest.mark.parametrize("line", ADDED)
def test_a_key_that_cannot_be(refused: Callable[..., None], line: str) -> None:
    refused(lambda shop: shop.config_path.write_text(f"{shop.config_path.read_text()}\n{line}\n"), ["run"], ADDED[line])


@pytest.mark.parametrize("change", CHANGED_KEYS, ids=lambda change: change[1])
def test_a_value_that_cannot_be(refused: Callable[..., None], change: tuple[str, str]) -> None:
    refused(replaced(*change), ["run"], CHANGED_KEYS[change])


# --- files ------------------------------------------------------------------------------------------------------------


def orders_are(content: bytes, name: str = "orders.parquet") -> Break:
    def deliver(shop: Shop) -> None:
        shop.orders_path.unlink()
        (shop.folder / name).write_bytes(content)
        replaced("orders.parquet", name)(shop)

    return deliver


def torn(shop: Shop) -> None:
    os.truncate(shop.orders_path, shop.orders_path.stat().st_size // 2)


def a_folder(shop: Shop) -> None:
    shop.orders_path.unlink()
    shop.orders_path.mkdir()


def orders_with(columns: str) -> Break:
    """Order lines rewritten by SQL over them."""

    def rewrite(shop: Shop) -> None:
        other = shop.folder / "other.parquet"
        duckdb.execute(f"COPY (SELECT {columns} FROM '{shop.orders_path}') TO '{other}' (FORMAT parquet)")
        other.replace(shop.orders_path)

    return rewrite


HEADER = b"customer,order_id,ordered_at,amount,product\n"
FILES: dict[str, tuple[Break, str]] = {
    "missing": (lambda shop: shop.orders_path.unlink(), r"orders\.parquet does not exist"),
    "a folder": (a_folder, r"orders\.parquet is a folder"),
    "torn": (torn, r"orders\.parquet cannot be read"),
    "empty": (orders_are(b""), r"is empty \(0 bytes\)"),
    "text called parquet": (orders_are(HEADER), r"orders\.parquet (cannot be read|holds no rows)"),
    "binary called csv": (orders_are(bytes(range(256)) * 8, "orders.csv"), r"orders\.csv is a binary file"),
    "a SQLite file": (orders_are(b"SQLite format 3\0", "orders.csv"), r"SQLite"),
    "a PDF": (orders_are(b"%PDF-1.7\n%\xe2\xe3", "orders.csv"), r"orders\.csv"),
    "a zip that is none": (orders_are(b"PK\3\4broken", "orders.xlsx"), r"orders\.xlsx"),
    "gzip that is none": (orders_are(b"\x1f\x8bbroken", "orders.csv.gz"), r"orders\.csv\.gz"),
    "gzip cut off": (orders_are(gzip.compress(HEADER * 999)[:-9], "orders.csv.gz"), r"orders\.csv\.gz"),
    "a header alone": (orders_are(HEADER, "orders.csv"), r"holds no rows"),
    "an open quote": (orders_are(HEADER + b'"a,1,2023-03-01,5,p\nb,1,2023-03-01,5,p\n', "orders.csv"), r"quote"),
    "damaged UTF-8": (
        orders_are(HEADER + "é,1,2023-03-01,5,p\n".encode() * 3 + b"\xc3,3,2023-03-01,5,p\n", "orders.csv"),
        r"orders\.csv cannot be read",
    ),
    "JSON that is none": (orders_are(b'{"customer": 1', "orders.jsonl"), r"orders\.jsonl"),
    "no ending": (orders_are(b"\0\1\2", "orders"), r"orders is a binary file"),
    "a column gone": (orders_with("* EXCLUDE amount"), r"source\.orders\.amount is 'amount'; expected a column"),
    "amounts as text": (orders_with("* REPLACE (amount || ' EUR' AS amount)"), r"amount.*found VARCHAR; expected"),
    "amounts as lists": (orders_with("* REPLACE ([amount] AS amount)"), r"amount.*found DOUBLE\[\]; expected"),
    "dates as text": (orders_with("* REPLACE ('soon' AS ordered_at)"), r"ordered_at.*found VARCHAR; expected"),
    "dates as numbers": (orders_with("* REPLACE (5 AS ordered_at)"), r"ordered_at.*found INTEGER; expected"),
    "no pattern matches": (replaced("path: orders.parquet", "path: 'x*.parquet'"), r"x\*\.parquet matches no file"),
    "an address": (replaced("path: orders.parquet", "path: 'https://127.0.0.1:1/o.csv'"), r"127\.0\.0\.1"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_cannot_be_read(refused: Callable[..., None], what: str) -> None:
    break_it, pattern = FILES[what]
    refused(break_it, ["check"], pattern)


# --- SQL --------------------------------------------------------------------------------------------------------------

EXPRESSIONS = {
    "amount: amount; DROP TABLE monthly_assignments": r"source\.orders\.amount",
    "amount: sum(amount)": r"amount",
    "amount: nosuch(amount)": r"nosuch",
    "amount: amoun": r'amoun.*did you mean|Found:.*"amoun"',
    "amount: amount > 5": r"found BOOLEAN; expected a number",
    "customer_id: customer), (order_id": r"customer_id",
    "where: amount": r"where.*found DOUBLE; expected true or false",
    "where: customer IN (SELECT customer_id FROM monthly_assignments)": r"monthly_assignments",
    "where: (WITH gone AS (DELETE FROM raw_customers RETURNING 1) SELECT count(*) FROM gone) = 0": r"a DELETE within",
    "where: amount > $limit": r"parameter|where",
    "ordered_at: now() AT": r"ordered_at",
}
QUERIES = {
    "DELETE FROM monthly_assignments": r"customers\.sql",
    "SELECT 1; SELECT 2": r"customers\.sql",
    "SELEC 1": r"customers\.sql.*syntax",
    "SELECT 1 AS other": r"customer_id",
    "COPY (SELECT 1) TO 'stolen.csv'": r"customers\.sql",
    "ATTACH 'segments.duckdb' AS s": r"customers\.sql",
    "WITH gone AS (DELETE FROM monthly_assignments RETURNING *) SELECT * FROM gone": r"a DELETE within a query",
    "SELECT * FROM nosuch": r"nosuch",
    "": r"customers\.sql",
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_that_does_more_or_less_than_read_a_row(refused: Callable[..., None], expression: str) -> None:
    key, _, text = expression.partition(": ")
    old = "customer_id: customer\n" if key == "customer_id" else f"{key}: {key}\n"

    def change(shop: Shop) -> None:
        line = f'{key}: "{text}"\n'
        if key == "where":
            replaced("    product_id: product\n", f"    product_id: product\n    {line}")(shop)
        else:
            replaced(f"    {old}", f"    {line}")(shop)

    refused(change, ["check"], EXPRESSIONS[expression])


@pytest.mark.parametrize("sql", QUERIES, ids=lambda sql: sql or "nothing")
def test_a_query_that_is_none(refused: Callable[..., None], sql: str) -> None:
    def change(shop: Shop) -> None:
        (shop.folder / "customers.sql").write_text(sql)
        text = shop.config_path.read_text()
        start, end = text.index("  orders:"), text.index("features:")
        shop.config_path.write_text(f"{text[:start]}  query: {{file: customers.sql}}\n{text[end:]}")

    refused(change, ["check"], QUERIES[sql])


# --- arguments --------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "run --months 2023-13": r"--months",
    "run --months 2099-01": r"2099-01 is not a closed month",
    "run --months 2023-05..2023-03": r"--months",
    "run --accept-loss soon": r"--accept-loss",
    "export --month 2020-01": r"2020-01",
    "export --format xml": r"--format",
    "report --month 2020-01": r"2020-01",
    "score-sql --dialect cobol": r"--dialect",
    "score-sql --dialect duckdb --out /nowhere/score.sql": r"/nowhere/score\.sql cannot be written",
    "merge c00001 into c00001": r"the same id",
    "merge c00001 and c00002": r"into",
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_an_argument_that_cannot_be(refused: Callable[..., None], command: str) -> None:
    refused(lambda shop: None, command.split(), ARGUMENTS[command])


# --- the machine ------------------------------------------------------------------------------------------------------


def write_instead(path: str, content: bytes) -> Break:
    return lambda shop: (shop.folder / path).write_bytes(content)


def more(text: str) -> Break:
    return lambda shop: shop.config_path.write_text(f"{shop.config_path.read_text()}\n{text}\n")


def a_folder_for(path: str) -> Break:
    def replace(shop: Shop) -> None:
        (shop.folder / path).unlink()
        (shop.folder / path).mkdir()

    return replace


def damaged_in_the_middle(shop: Shop) -> None:
    with shop.orders_path.open("r+b") as file:
        file.seek(shop.orders_path.stat().st_size // 3)
        file.write(b"\0" * 20_000)


MACHINE: dict[str, tuple[Break, str]] = {
    "rows that are damaged": (damaged_in_the_middle, r"orders\.parquet"),
    "a warehouse that is text": (write_instead("warehouse.duckdb", b"hello" * 999), r"warehouse\.duckdb"),
    "a warehouse that is torn": (lambda shop: os.truncate(shop.warehouse, 9999), r"warehouse\.duckdb"),
    "a warehouse that is a folder": (a_folder_for("warehouse.duckdb"), r"warehouse\.duckdb"),
    "too little memory": (more("operation: {memory_limit: 1MB}"), r"memory_limit"),
    "settings of Dagster that are none": (write_instead("dagster_home/dagster.yaml", b"a: ["), r"dagster\.yaml"),
    "nowhere to write": (more("output_dir: /proc/nowhere"), r"/proc/nowhere"),
    "nothing to write in": (more("output_dir: orders.parquet/out"), r"orders\.parquet"),
}


@pytest.mark.parametrize("what", MACHINE)
def test_a_machine_that_does_not_do_its_part(commands: Commands, copy: Shop, what: str) -> None:
    copy.configure(last_month="2023-06")
    break_it, pattern = MACHINE[what]
    before = untouched(copy)
    break_it(copy)
    ended = commands.run(copy, "--quiet", "--months", "2023-06")
    assert ended.code in (1, 2), ended
    assert_clear(ended.err, pattern)
    assert untouched(copy) == before


@pytest.mark.parametrize("bytes_left", [100_000_000, 500_000_000])
def test_a_machine_without_memory(commands: Commands, copy: Shop, bytes_left: int) -> None:
    """To raise DuckDB's own limit, as was advised, would make it worse."""
    copy.configure(last_month="2023-06")
    before = untouched(copy)
    ended = commands.run(copy, "--quiet", "--months", "2023-06", most_memory=bytes_left)
    assert untouched(copy) == before
    if "thread-local data: ABORT" in ended.err:
        pytest.skip("the C library ended the process itself, for want of memory for a thread")
    assert ended.code == 1, ended
    assert_clear(
        ended.err, r"The machine itself has no more: end other programs there, or lower operation\.memory_limit"
    )


@pytest.mark.parametrize("largest_file", [50_000, 1_000_000])
def test_a_disk_that_is_full(commands: Commands, copy: Shop, largest_file: int) -> None:
    copy.configure(last_month="2023-06")
    before = untouched(copy)
    ended = commands.run(copy, "--quiet", "--months", "2023-06", largest_file=largest_file)
    assert ended.code == 1, ended
    full = (
        r"warehouse\.duckdb cannot be written \(.*Free disk space",
        r"run history in .* cannot be used.*see to the disk",
    )
    assert_clear(ended.err, "|".join(full))  # whichever is written first
    assert untouched(copy) == before
    assert commands.run(copy, "--quiet").code == 0  # there is room again


def test_they_are_a_hundred() -> None:
    assert sum(map(len, (ADDED, CHANGED_KEYS, FILES, EXPRESSIONS, QUERIES, ARGUMENTS, MACHINE))) >= 100
