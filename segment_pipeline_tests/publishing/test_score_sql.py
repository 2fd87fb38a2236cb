"""The champion as SQL that leaves the warehouse says what monthly_assignments says, in every engine that is here."""

import math
import os
import re
from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pytest
import sqlglot

from segment_pipeline.cli.main import main
from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import PipelineError
from segment_pipeline.mixture.candidates import Hurdle
from segment_pipeline.models.scoring import assignment_sql, prior_sql
from segment_pipeline.models.tables import PRIOR
from segment_pipeline.publishing.dialects import DIALECTS
from segment_pipeline.publishing.score_sql import (
    FeatureLimits,
    Scoring,
    latest_scoring,
    macro_ddl,
    score_query,
    score_sql,
)
from segment_pipeline_tests.models.test_scoring import HOSTILE, random_customers, random_memory, random_model
from segment_pipeline_tests.postgres import MISSING, binaries, server
from segment_pipeline_tests.shop import query

FIGURES = ("max_probability", "second_probability", "entropy", "log_likelihood", "position_to_second")
WORDS = (
    "segment_id",
    "segment_name",
    "second_segment_id",
    "is_hybrid",
    "is_between",
    "tier",
    "is_atypical",
    "model_version",
)


def scoring_of(model, **limits):
    """Everything is accepted, but where `limits` say otherwise of the first feature."""
    anything = [FeatureLimits(name, "EUR", "How much.", None, None, "keep", None, None) for name in model.space.names]
    anything[0] = replace(anything[0], **limits)
    return Scoring(date(2023, 1, 1), model, tuple(anything), TierSettings())


def result(connection, sql):
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


@pytest.fixture
def customers():
    """`customers(model, X)`: a database with the table customers."""
    with duckdb.connect() as connection:

        def fill(model, X):
            columns = ", ".join(f"{identifier(name)} DOUBLE" for name in model.space.names)
            connection.execute(f"CREATE OR REPLACE TABLE customers (customer_id VARCHAR, {columns})")
            connection.executemany(
                f"INSERT INTO customers VALUES (?, {', '.join('?' for _ in model.space.names)})",
                [[f"{i:06d}", *row] for i, row in enumerate(X.tolist())],
            )
            return connection

        yield fill


# --- one query for all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_accepted_rows_get_what_the_pipeline_gives_them(customers, seed):
    model = random_model(seed, 2 + seed, len(HOSTILE), HOSTILE)
    if seed % 2:
        model = replace(model, mixture=replace(model.mixture, hurdle=Hurdle(1, 0, -0.3, 0.0, 0.4)))
    connection = customers(model, random_customers(model, seed, 50))
    expected = result(connection, assignment_sql(model, "customers", TierSettings()))
    assert result(connection, score_query(scoring_of(model), "customers")) == {
        customer: row | {"refused": None} for customer, row in expected.items()
    }


@pytest.mark.parametrize("covariance_type", ["diagonal", "tied", "spherical"])
def test_the_query_and_the_macro_score_covariances_of_every_type(customers, covariance_type):
    model = random_model(3, 3, 4)
    covariances = model.mixture.covariances * np.eye(4)
    if covariance_type != "diagonal":
        covariances = np.repeat(
            model.mixture.covariances[:1] if covariance_type == "tied" else 0.7 * np.eye(4)[None], 3, 0
        )
    model = replace(model, mixture=replace(model.mixture, covariances=covariances, covariance_type=covariance_type))
    X = random_customers(model, 3, 200)
    connection, expected = customers(model, X), model.responsibilities(X)
    for statement in macro_ddl(scoring_of(model)):
        connection.execute(statement)
    for sql in (score_query(scoring_of(model), "customers"), "SELECT * FROM score(customers)"):
        found = result(connection, sql)
        by_sql = [found[f"{i:06d}"]["probabilities"] for i in range(len(X))]
        np.testing.assert_allclose(by_sql, expected, atol=1e-9)


@pytest.mark.parametrize("hurdle", [None, Hurdle(0, 0, -0.3, 0.0, 0.4)])
def test_a_row_that_the_pipeline_would_reject_comes_back_with_nulls_and_the_reason(customers, hurdle):
    model = random_model(1, 3, 2, ["visits", "share"])
    model = replace(model, space=replace(model.space, transforms=("log", "logit")))
    model = replace(model, mixture=replace(model.mixture, hurdle=hurdle))
    values = [1.0, None, math.nan, math.inf, -math.inf, 1e101, 0.5, 100.0, 30.0]
    connection = customers(model, np.ones((1, 2)))
    connection.execute("DELETE FROM customers")
    rows = [(str(i), value, 0.5) for i, value in enumerate(values)]
    connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", [*rows, (None, 1.0, 0.5), (" ", 1.0, 0.5)])
    limits = {"lowest": 1.0, "highest": 50.0, "outliers": "reject", "outliers_below": 0.1, "outliers_above": 20.0}
    found = result(connection, score_query(scoring_of(model, **limits), "customers"))
    not_finite = ["not_finite:visits"] * 4
    reasons = [None, "missing:visits", *not_finite, "below_minimum:visits", "above_maximum:visits", "outlier:visits"]
    assert [found[str(i)]["refused"] for i in range(len(values))] == reasons
    assert found[None]["refused"] == found[" "]["refused"] == "missing_customer_id"
    for row in found.values():
        blank = all(value is None for name, value in row.items() if name not in {"customer_id", "refused"})
        assert blank is (row["refused"] is not None)


def test_a_value_beyond_a_cap_is_scored_as_the_cap(customers):
    model = random_model(2, 3, 2, ["visits", "spend"])
    model = replace(model, space=replace(model.space, transforms=("log1p", "log1p")))
    connection = customers(model, np.array([[500.0, 3.0], [20.0, 3.0], [0.1, 3.0], [2.0, 3.0]]))
    capped = {"outliers": "cap", "outliers_below": 2.0, "outliers_above": 20.0}
    found = result(connection, score_query(scoring_of(model, **capped), "customers"))
    for beyond, limit in (("000000", "000001"), ("000002", "000003")):
        assert found[beyond] == found[limit] | {"customer_id": beyond}


def test_the_macro_scores_tables_views_and_queries_by_name(customers):
    model = random_model(3, 4, 3)
    connection = customers(model, random_customers(model, 3, 30))
    for statement in macro_ddl(scoring_of(model)):
        connection.execute(statement)
    connection.execute("CREATE VIEW seven AS SELECT * FROM customers LIMIT 7")
    everybody = result(connection, score_query(scoring_of(model), "customers"))
    assert result(connection, "SELECT * FROM score(customers)") == everybody
    assert result(connection, "SELECT * FROM score('customers')") == everybody
    assert len(result(connection, "SELECT * FROM score(seven)")) == 7
    assert len(result(connection, "WITH few AS (FROM customers LIMIT 3) SELECT * FROM score(few)")) == 3
    few = "SELECT * FROM score('SELECT * FROM customers WHERE customer_id < ''000009''')"
    assert result(connection, few).keys() == {f"{i:06d}" for i in range(9)}
    assert len(result(connection, "FROM score('  with few as (from customers limit 3) from few')")) == 3
    assert result(connection, "FROM score('(FROM customers)')") == everybody
    connection.execute('CREATE SCHEMA shop; CREATE TABLE shop."it\'s from May" AS FROM customers')
    assert result(connection, 'FROM score(shop."it\'s from May")') == everybody


@pytest.mark.parametrize("remembers", [False, True])
def test_the_macro_says_which_column_is_missing_and_which_text_is_no_number(customers, remembers):
    model = random_model(3, 3, 2, ["visits", "Mean Spend"])
    model = replace(model, memory=random_memory(3, 3) if remembers else None)
    connection = customers(model, random_customers(model, 3, 5))
    for statement in macro_ddl(scoring_of(model)):
        connection.execute(statement)
    everybody = result(connection, "FROM score(customers)")
    for missing in ("customer_id", "visits", "Mean Spend"):
        said = f"score needs customer_id and visits, Mean Spend.* there is no {missing}"
        with pytest.raises(duckdb.Error, match=said):
            connection.execute(f"FROM score('SELECT * EXCLUDE (\"{missing}\") FROM customers')").fetchall()
    text = "CASE customer_id WHEN ''000003'' THEN ''many'' ELSE CAST(visits AS VARCHAR) END"
    told = result(connection, f"FROM score('SELECT * REPLACE ({text} AS visits) FROM customers')")
    assert told.pop("000003")["refused"] == "not_finite:visits"
    del everybody["000003"]
    assert told == everybody


def test_the_command_line_offers_every_dialect_and_no_other(capsys):
    with pytest.raises(SystemExit):
        main(["score-sql", "--help"])
    (offered,) = set(re.findall(r"--dialect \{(.*?)\}", capsys.readouterr().out))
    assert offered.split(",") == list(DIALECTS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_parses_whatever_things_are_called(dialect):
    text = score_sql(scoring_of(random_model(4, 5, len(HOSTILE), HOSTILE)), dialect, "shop.customers")
    (tree,) = sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert [table.sql() for table in tree.find_all(sqlglot.exp.Table)] == ["shop.customers AS raw_rows"]
    assert tree.named_selects[0] == "customer_id"
    assert tree.named_selects[-1] == "refused"


def test_snowflake_finds_columns_that_were_created_without_quotes():
    text = score_sql(scoring_of(random_model(5, 2, 2, ["orders", "Mean Spend"])), "snowflake", "customers")
    assert '"ORDERS"' in text
    assert '"orders"' not in text
    assert '"Mean Spend"' in text


@pytest.mark.parametrize("table", ["customers; DROP TABLE x", "(SELECT 1)", "read_csv('x')", "a b", "", "x JOIN y"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_not_a_table_is_refused(dialect, table):
    with pytest.raises(PipelineError, match="--table"):
        score_sql(scoring_of(random_model(5, 2, 2)), dialect, table)


def test_a_line_break_in_a_name_does_not_end_the_comment(customers):
    scoring = scoring_of(random_model(6, 2, 1, ["visits"]), meaning="How often.\nDROP TABLE customers;", unit="a\rb")
    connection = customers(scoring.model, np.ones((1, 1)))
    for line in score_sql(scoring, "duckdb", "customers").partition("\nSELECT")[0].splitlines():
        assert line.startswith("--")
    connection.execute(score_sql(scoring, "duckdb", "customers"))
    assert connection.execute("SELECT count(*) FROM customers").fetchone() == (1,)


# --- a champion with memory -------------------------------------------------------------------------------------------


def remembering(seed, k, names):
    """A model with memory, features of some customers, and what was known of each the month before: one is new, one had
    lapsed."""
    model = replace(random_model(seed, k, len(names), names), memory=random_memory(seed, k))
    known = np.random.default_rng(seed).dirichlet(np.ones(k + 1), size=40).tolist()
    return model, random_customers(model, seed, 40), [None, [0.0] * k + [1.0], *known[2:]]


def with_previous(connection, previous):
    connection.execute("ALTER TABLE customers ADD COLUMN previous_probabilities DOUBLE[]")
    for i, known in enumerate(previous):
        connection.execute("UPDATE customers SET previous_probabilities = ? WHERE customer_id = ?", [known, f"{i:06d}"])


def by_memory(connection, model):
    """What the pipeline gives the customers, who are all new but where they say otherwise."""
    prior = prior_sql(model.memory, "previous_probabilities", "false")
    return result(connection, assignment_sql(model, f"(SELECT *, {prior} AS {PRIOR} FROM customers)", TierSettings()))


@pytest.mark.parametrize("seed", range(4))
def test_a_column_of_last_months_probabilities_is_taken_into_account(customers, seed):
    model, X, previous = remembering(seed, 2 + seed, HOSTILE)
    if seed % 2:
        model = replace(model, mixture=replace(model.mixture, hurdle=Hurdle(1, 0, -0.3, 0.0, 0.4)))
    connection = customers(model, X)
    with_previous(connection, previous)
    expected = by_memory(connection, model)
    found = result(connection, score_query(scoring_of(model), "customers"))
    assert found == {customer: row | {"refused": None} for customer, row in expected.items()}
    alone = result(connection, score_query(scoring_of(replace(model, memory=None)), "customers"))
    for customer, row in found.items():
        assert row["month_only_probabilities"] == pytest.approx(alone[customer]["probabilities"], abs=1e-12)
    assert any(row["probabilities"] != row["month_only_probabilities"] for row in found.values())


def test_without_that_column_everybody_is_new(customers):
    model, X, _ = remembering(7, 3, ["visits", "spend"])
    connection = customers(model, X)
    for statement in macro_ddl(scoring_of(model)):
        connection.execute(statement)
    absent = result(connection, "SELECT * FROM score(customers)")
    nowhere = result(connection, score_query(scoring_of(model), "customers", remembers=False))
    with_previous(connection, [None] * len(X))
    assert result(connection, "SELECT * FROM score(customers)") == absent
    assert {customer: row | {"refused": None} for customer, row in by_memory(connection, model).items()} == absent
    for customer, row in absent.items():
        assert nowhere[customer]["probabilities"] == pytest.approx(row["probabilities"], abs=1e-12)


@pytest.mark.parametrize(
    "previous",
    [
        [],
        [0.5, 0.5],
        [0.5, 0.5, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.5, 0.5],
        [1.5, -0.5, 0.0, 0.0],
        [math.nan, 1.0, 0.0, 0.0],
        [None, 1.0, 0.0, 0.0],
        [1e308, 1e308, 0.0, 0.0],
    ],
)
def test_what_are_no_probabilities_is_refused(customers, previous):
    model, X, known = remembering(7, 3, ["visits", "spend"])
    connection = customers(model, X[2:4])
    with_previous(connection, [known[2], previous])
    good, bad = result(connection, score_query(scoring_of(model), "customers")).values()
    assert good["refused"] is None
    assert bad["refused"] == "not_probabilities:previous_probabilities"
    assert {value for name, value in bad.items() if name not in {"customer_id", "refused"}} == {None}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_parses_a_memory_and_says_what_it_makes_of_it(dialect):
    text = score_sql(scoring_of(remembering(4, 3, HOSTILE)[0]), dialect, "shop.customers")
    (tree,) = sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert [table.sql() for table in tree.find_all(sqlglot.exp.Table)] == ["shop.customers AS raw_rows"]
    remembers = dialect in {"duckdb", "postgres", "spark", "databricks"}
    head, _, query = text.partition("\nSELECT")
    head = " ".join(head.replace("--", " ").split())  # the comment is wrapped
    assert ("previous_probabilities" in query) is remembers
    assert ("An optional column previous_probabilities" in head) is remembers
    assert ("scored as a new customer's" in head) is not remembers


@pytest.mark.skipif(binaries() is None, reason=MISSING)
@pytest.mark.process
def test_postgresql_remembers_too(customers, tmp_path):
    model, X, previous = remembering(3, 4, ["visits", "spend"])
    model = replace(model, space=replace(model.space, transforms=("none", "none")))
    connection = customers(model, X)
    text = score_sql(scoring_of(model), "postgres", "customers")
    (tmp_path / "score.sql").write_text(text)
    rows = [(f"{i:06d}", *values) for i, values in enumerate(X.tolist())]
    with server(binaries()) as postgres:
        postgres.run(
            "CREATE TABLE customers (customer_id text, visits double precision, spend double precision)",
            *(f"INSERT INTO customers VALUES ('{name}', {visits!r}, {spend!r})" for name, visits, spend in rows),
        )
        postgres.run_file(tmp_path / "score.sql", tmp_path / "new.csv")
        postgres.run(
            "ALTER TABLE customers ADD COLUMN previous_probabilities double precision[]",
            *(
                f"UPDATE customers SET previous_probabilities = ARRAY{known} WHERE customer_id = '{i:06d}'"
                for i, known in enumerate(previous)
                if known is not None
            ),
            "INSERT INTO customers VALUES ('wrong', 1, 1, ARRAY[1e308, 1e308])",
        )
        postgres.run_file(tmp_path / "score.sql", tmp_path / "known.csv")
    for file, known in (("new.csv", [None] * len(X)), ("known.csv", previous)):
        connection = customers(model, X)
        with_previous(connection, known)
        expected = by_memory(connection, model)
        lists = ("segment_ids", "probabilities", "month_only_probabilities", "next_probabilities")
        found = result(
            duckdb.connect(),
            f"""
            SELECT * REPLACE (
                {", ".join(f"CAST(translate({name}, '{{}}', '[]') AS DOUBLE[]) AS {name}" for name in lists)}
            ) FROM read_csv('{tmp_path / file}', header = true, types = {{'customer_id': 'VARCHAR',
                {", ".join(f"'{name}': 'VARCHAR'" for name in lists)}}})
            """,
        )
        if known is previous:
            assert found.pop("wrong")["refused"] == "not_probabilities:previous_probabilities"
        assert found.keys() == expected.keys()
        for customer, row in expected.items():
            for name in lists[1:]:
                assert found[customer][name] == pytest.approx(row[name], abs=1e-9, rel=0)
            for name in ("next_lapse_probability", "log_likelihood", "entropy"):
                assert found[customer][name] == pytest.approx(row[name], abs=1e-9, rel=0)
            assert found[customer]["segment_id"] == row["segment_id"]


@pytest.mark.parametrize("dialect", ["spark", "databricks"])
def test_spark_remembers_too(customers, spark, dialect, request):
    model, X, previous = remembering(3, 4, HOSTILE)
    text = score_sql(scoring_of(model), dialect, "customers")
    connection = customers(model, X)
    without = connection.execute("FROM customers").to_arrow_table()
    with_previous(connection, previous)
    known, expected_known = connection.execute("FROM customers").to_arrow_table(), by_memory(connection, model)
    connection.execute("UPDATE customers SET previous_probabilities = NULL")
    nothing_known = connection.execute("FROM customers").to_arrow_table()
    expected_new = by_memory(connection, model)
    given = [(known, expected_known), (nothing_known, expected_new), (without, expected_new)]
    for rows, expected in given[:2] if request.node.callspec.params["spark_server"] == "sail" else given:
        spark.createDataFrame(rows).createOrReplaceTempView("customers")
        found = spark.sql(text).toArrow().to_pylist()
        assert_same(
            {row["customer_id"]: row for row in found},
            {customer: row | {"refused": None} for customer, row in expected.items()},
            within=1e-12,
        )


# --- on the demo ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(demo, tmp_path_factory):
    """What `segment-pipeline score-sql` writes for each dialect, and the demo's last month to compare with."""
    folder = tmp_path_factory.mktemp("score")
    config = str(demo.with_name("segmentation.yaml"))
    for dialect in DIALECTS:
        out = str(folder / f"{dialect}.sql")
        asked = ["score-sql", "--config", config, "--dialect", dialect, "--table", "shop_customers", "--out", out]
        assert main(asked) == 0
    return folder


def expected_rows(demo):
    with duckdb.connect(str(demo), read_only=True) as connection:
        return result(connection, "SELECT * EXCLUDE (month) FROM current_assignments")


def features_of(demo):
    """The SQL of the last month's accepted customers, as the warehouse beside the published file has them."""
    names = [row[0] for row in query(demo, "SELECT DISTINCT feature FROM feature_limits ORDER BY 1")]
    listed = ", ".join(identifier(name) for name in names)
    return (
        f"SELECT customer_id, {listed} FROM warehouse.validated_features "
        "WHERE month = (SELECT max(month) FROM warehouse.validated_features)"
    )


@pytest.fixture(scope="module")
def consumer(demo):
    """An analyst's own database, with the published file attached and the raw features in a table."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{demo}' AS segments (READ_ONLY)")
        connection.execute(f"ATTACH '{demo.with_name('warehouse.duckdb')}' AS warehouse (READ_ONLY)")
        connection.execute(f"CREATE TABLE shop_customers AS {features_of(demo)}")
        connection.execute("DETACH warehouse")
        yield connection


def assert_same(found, expected, within=1e-9):
    assert found.keys() == expected.keys()
    for customer, row in expected.items():
        for name in FIGURES:
            assert float(found[customer][name]) == pytest.approx(row[name], abs=within, rel=0), (customer, name)
        for name in WORDS:
            assert found[customer][name] == row[name], (customer, name)
        assert list(found[customer]["segment_ids"]) == row["segment_ids"]
        assert found[customer]["probabilities"] == pytest.approx(row["probabilities"], abs=within, rel=0)
        assert found[customer]["refused"] is None


def test_the_macro_reproduces_the_months_assignments(demo, consumer):
    found = result(consumer, "SELECT * FROM segments.score(shop_customers)")
    assert len(found) > 2000
    assert_same(found, expected_rows(demo))


def test_the_file_for_duckdb_reproduces_the_months_assignments(demo, consumer, asked):
    assert_same(result(consumer, (asked / "duckdb.sql").read_text()), expected_rows(demo))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_file_says_what_it_expects_and_parses(asked, dialect):
    text = (asked / f"{dialect}.sql").read_text()
    assert sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    head = text.partition("\nSELECT")[0]
    for told in (
        "the 3 months before it",
        "Segments of 2017-04",
        "orders (orders): 1 or more",
        "average_order_value (USD): 0 or more",
        "refused",
    ):
        assert told in head


@pytest.mark.skipif(binaries() is None, reason=MISSING)
@pytest.mark.process
def test_the_file_for_postgresql_reproduces_the_months_assignments(demo, consumer, asked, tmp_path):
    expected = expected_rows(demo)
    columns = [column[0] for column in consumer.execute("FROM shop_customers LIMIT 0").description]
    strange = [("far", 1e90), ("nan", "NaN"), ("infinite", "Infinity"), ("negative", -1)]
    with server(binaries()) as postgres:
        exported = postgres.folder / "customers.csv"
        consumer.execute(f"COPY shop_customers TO '{exported}' (HEADER)")
        declared = ", ".join(f"{identifier(name)} double precision" for name in columns[1:])
        postgres.run(
            f"CREATE TABLE shop_customers (customer_id text, {declared})",
            f"\\copy shop_customers FROM '{exported}' WITH (FORMAT csv, HEADER)",
            *(f"INSERT INTO shop_customers VALUES ('{name}', '{value}', 1, 1, 1)" for name, value in strange),
            "INSERT INTO shop_customers VALUES (NULL, 1, 1, 1, 1), ('missing', NULL, 1, 1, 1)",
        )
        postgres.run_file(asked / "postgres.sql", tmp_path / "scored.csv")
        types = postgres.run(
            f"CREATE VIEW scored AS {(asked / 'postgres.sql').read_text()}",
            "SELECT DISTINCT pg_typeof(probabilities), pg_typeof(entropy), pg_typeof(segment_ids) FROM scored",
        )
    assert types.split() == ["double", "precision[]|double", "precision|integer[]"]
    found = result(
        duckdb.connect(),
        f"""
        SELECT * REPLACE (
            CAST(translate(segment_ids, '{{}}', '[]') AS INTEGER[]) AS segment_ids,
            CAST(translate(probabilities, '{{}}', '[]') AS DOUBLE[]) AS probabilities
        ) FROM read_csv('{tmp_path / "scored.csv"}', header = true, types = {{'customer_id': 'VARCHAR',
            'is_hybrid': 'BOOLEAN', 'is_between': 'BOOLEAN', 'is_atypical': 'BOOLEAN', 'segment_ids': 'VARCHAR',
            'probabilities': 'VARCHAR'}})
        """,
    )
    first = columns[1]
    assert math.isclose(sum(found.pop("far")["probabilities"]), 1)
    assert found.pop("nan")["refused"] == found.pop("infinite")["refused"] == f"not_finite:{first}"
    assert found.pop("negative")["refused"] == f"below_minimum:{first}"
    assert found.pop("missing")["refused"] == f"missing:{first}"
    assert found.pop(None)["refused"] == "missing_customer_id"
    assert_same(found, expected)


@pytest.mark.parametrize("dialect", ["spark", "databricks"])
def test_the_file_for_spark_reproduces_the_months_assignments(demo, consumer, asked, spark, dialect):
    first, *others = [column[0] for column in consumer.execute("FROM shop_customers LIMIT 0").description][1:]
    strange = [("far", "1e90"), ("nan", "'NaN'"), ("infinite", "'Infinity'"), ("negative", "-1"), ("missing", "NULL")]
    listed = ", ".join(f"('{name}', {value}{', 1' * len(others)})" for name, value in strange)
    rows = consumer.execute(f"FROM shop_customers UNION ALL (VALUES {listed}, (chr(160), 1{', 1' * len(others)}))")
    spark.createDataFrame(rows.to_arrow_table()).createOrReplaceTempView("shop_customers")
    scored = spark.sql((asked / f"{dialect}.sql").read_text()).toArrow().to_pylist()
    found = {row["customer_id"]: row for row in scored}
    assert math.isclose(sum(found.pop("far")["probabilities"]), 1)
    assert found.pop("nan")["refused"] == found.pop("infinite")["refused"] == f"not_finite:{first}"
    assert found.pop("negative")["refused"] == f"below_minimum:{first}"
    assert found.pop("missing")["refused"] == f"missing:{first}"
    assert found.pop("\xa0")["refused"] == "missing_customer_id"
    assert_same(found, expected_rows(demo), within=1e-12)


def test_a_file_without_limits_has_no_macro_and_the_command_says_what_to_do(demo, tmp_path, capsys):
    old = tmp_path / "segments.duckdb"
    old.write_bytes(demo.read_bytes())
    os.chmod(old, 0o644)
    with duckdb.connect(str(old)) as connection:
        connection.execute("DELETE FROM feature_limits")
        assert latest_scoring(connection, TierSettings()) is None
    (tmp_path / "segmentation.yaml").write_bytes(demo.with_name("segmentation.yaml").read_bytes())
    asked = ["score-sql", "--config", str(tmp_path / "segmentation.yaml"), "--dialect", "duckdb"]
    assert main(asked) == 1
    assert "--force" in capsys.readouterr().err
    old.unlink()
    assert main(asked) == 1
    assert "nothing is published yet" in capsys.readouterr().err
