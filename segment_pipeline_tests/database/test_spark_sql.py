"""What is said in DuckDB's SQL means the same in Spark's, or is refused: each difference that was found, on rows."""

import datetime
import math
from decimal import Decimal

import pytest

from segment_pipeline.database.engines.spark_sql import ForeignSqlError, to_spark
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.rows import exact_mean, exact_sum, hashed_below
from segment_pipeline.database.store import in_memory

CUSTOMERS = """
    SELECT customer_id, spend, orders, CAST(day AS DATE) AS day, CAST(day AS TIMESTAMP) + INTERVAL '23' HOUR AS moment,
        reasons, shares, CAST(price AS DECIMAL(38, 4)) AS price
    FROM (VALUES
        ('a', 2.5E0, 3, '2017-01-31', ['x', NULL], [0.2E0, 0.8E0], 0.125E0),
        ('b', -0.5E0, 3, '2017-02-01', CAST([] AS VARCHAR[]), [0.5E0, NULL], 12.5E0),
        ('c "{}', 1E8, 4, '2017-02-28', NULL, NULL, NULL),
        (chr(160) || ' ' || chr(8195), NULL, 4, '2018-03-01', ['y'], CAST([] AS DOUBLE[]), 0.0001E0),
        ('é/', CAST('NaN' AS DOUBLE), 0, NULL, [NULL], [CAST('NaN' AS DOUBLE), 1E0], 1E-9),
        (NULL, CAST('-Infinity' AS DOUBLE), NULL, '2016-02-29', ['x', 'y'], [1E0], -3E0)
    ) AS t(customer_id, spend, orders, day, reasons, shares, price)
"""

CASED = [chr(one) for one in (*range(32, 0xDF), *range(0xE0, 0x130), *range(0x131, 0x149), *range(0x14A, 0x180))]
CASED += [chr(one) for one in range(0x400, 0x460)]

# the difference -> a query that shows it, or what it selects of `customers`
THE_SAME = {
    "places of a list": "shares[1], shares[-1], shares[orders + 1], shares[7], shares[-7], shares[1:2], reasons[2:9]",
    "a part of what is put in brackets": "[orders, orders + 1, 7][2], [customer_id, 'z'][1:1]",
    "what a list holds": "list_contains(reasons, 'x'), NOT list_contains(reasons, 'z'), list_position(reasons, 'y')",
    "sums of lists": "list_sum(shares), list_sum(list_transform(shares, lambda share: abs(share - 1E0)))",
    "lists": "len(reasons), list_filter(reasons, lambda reason: reason IS NOT NULL), list_append(shares, 0E0)",
    "the largest of a list": "list_max(shares), list_position(shares, list_max(shares))",
    "numbers that are none": "isfinite(spend), spend > 1E300, greatest(spend, 0E0), least(spend, NULL, 1E0)",
    "moments that are none": "isfinite(CAST(moment AS TIMESTAMP)), NOT isfinite(CAST(NULL AS TIMESTAMP))",
    "blanks": "trim(customer_id) = '', '[' || trim(' \t' || customer_id) || ']'",
    "division": "orders / 4, price / 3, 7 / 2, spend / 4, sum(price) OVER () / 7",
    "division by zero": "orders / (orders - 3), spend / (orders - 3), price / (orders - orders), -price / 0, "
    "0 / orders, 7E0 / (orders - 4E0), 1 / (2 / (orders - 3)), orders / nullif(orders - 3, 0)",
    "division by a sum of zero": "SELECT day, sum(spend) / sum(orders) FROM customers GROUP BY day",
    "another word for means": "SELECT orders, mean(price), mean(spend) FILTER (orders > 3) FROM customers GROUP BY ALL",
    "hours and minutes": "hour(moment), minute(moment + INTERVAL '90' MINUTE), hour(day), hour(day) + 1",
    "days of the week": "dayofweek(day), isodow(day), dayofweek(moment), isodow(moment), isodow(day) * 2",
    "patterns": "customer_id LIKE 'c%', customer_id NOT LIKE '%{%', customer_id LIKE 'é/', (reasons[1] || '\n' || 'y') "
    "LIKE 'x%y', customer_id LIKE ''",
    "cases of letters": f"SELECT lower(letter), upper(letter) || '', lower(letter || 'ß'), upper(letter || 'İ') "
    f"FROM (SELECT unnest([{', '.join(map(literal, CASED))}]) AS letter FROM customers WHERE orders = 0)",
    "whole numbers": "CAST(orders > 3 AS INTEGER), CAST(round(2.5E0) AS BIGINT), CAST(floor(-0.5E0) AS INTEGER)",
    "whole numbers by their text": "CAST('12' AS INTEGER), CAST(CAST(orders AS VARCHAR) AS BIGINT), "
    "CAST(orders AS BIGINT)",
    "decimals": "SELECT CAST(spend AS DECIMAL(38, 4)) FROM customers WHERE isfinite(spend)",
    "months between": "date_diff('month', DATE '2017-01-31', day), date_diff('month', moment, DATE '2017-03-01')",
    "days between": "date_diff('day', DATE '2017-01-31', day), date_diff('day', moment, "
    "TIMESTAMP '2017-03-01 01:00:00')",
    "months": "CAST(date_trunc('month', moment) AS DATE), date_trunc('month', day)",
    "numbers that may be none": "TRY_CAST(trim(right(customer_id, 1)) AS DOUBLE), TRY_CAST(price AS DECIMAL(18, 2)), "
    "TRY_CAST(spend AS DECIMAL(18, 4)), TRY_CAST(CAST(orders AS VARCHAR) AS DOUBLE)",
    "times that may be none": "TRY_CAST(reasons[1] AS TIMESTAMP), TRY_CAST(CAST(day AS VARCHAR) AS DATE), "
    "TRY_CAST('2023-02-30' AS DATE), TRY_CAST('2023-02-28 10:00:00' AS TIMESTAMP)",
    "bits": "bit_or(CAST(1 AS BIGINT) << CAST(day(day) AS INTEGER))",
    "what was hashed with salt": "sha256('salt' || customer_id)",
    "which rows are alike": "SELECT count(DISTINCT hash(orders, customer_id, day)), count(DISTINCT hash(customer_id)), "
    "count(DISTINCT (orders, day)), sum(hash(orders)) = sum(hash(orders)) FROM customers",
    "years between": "datediff('year', day, DATE '2019-01-01'), year(day) - 1, month(moment), day(moment)",
    "dates and spans": "day + INTERVAL 1 MONTH, day - INTERVAL '1' YEAR, day + to_days(orders), moment + to_days(2)",
    "logarithms and powers": "ln(1E0 + orders), exp(-orders), pow(0.5E0, orders / 30E0), sqrt(orders - 5)",
    "JSON": "json_object('customer_id', customer_id, 'orders', orders, 'no \"name', reasons[1])",
    "an empty map": "CAST(MAP {} AS MAP(VARCHAR, VARCHAR))['x'] IS NULL, map_keys(CAST(MAP {} AS MAP(VARCHAR, "
    "VARCHAR)))",
    "the sample": f"{hashed_below('customer_id', 0.5)}, CAST('0x' || left(md5(customer_id), 13) AS BIGINT)",
    "text": "orders || ' of ' || customer_id || '\\n''%', left(customer_id, 2), right(customer_id, 1), orders::VARCHAR",
    "classes of characters": r"coalesce(regexp_matches(customer_id, '[^\x00-\x20\x7f-\xa0é]'), false)",
    "means": f"avg(price), avg(orders), {exact_mean('orders')}, {exact_mean('NULL::DOUBLE')}, {exact_sum('price')}",
    "quantiles": "median(orders), quantile_cont(price, 0.1), median(price), quantile_cont(orders, 0.84), "
    "stddev_samp(orders)",
    "who has the most": "arg_max(customer_id, orders + price), arg_min(reasons[1], price) FILTER (orders > 0)",
    "any value": "any_value(reasons[2]) FILTER (orders = 4), bool_or(spend > 1), bool_and(orders > 0), "
    "count(DISTINCT orders)",
    "put together": "string_agg(customer_id, ', ' ORDER BY orders DESC, customer_id) FILTER (orders > 0)",
    "GROUP BY ALL": "SELECT orders, count(*) AS customers, "
    "orders IS NULL AS unknown FROM customers GROUP BY ALL ORDER BY ALL",
    "GROUP BY ALL of expressions": "SELECT 'x' AS kind, orders / 2 AS half, max(price) FROM customers GROUP BY ALL",
    "GROUP BY ALL of everybody": "SELECT count(*), sum(orders) FROM customers GROUP BY ALL",
    "grouping sets": "SELECT orders, count(*) FROM customers GROUP BY GROUPING SETS ((orders), ())",
    "NULLs in an order": "SELECT customer_id, row_number() OVER (ORDER BY orders DESC, spend, "
    "customer_id) FROM customers",
    "the row before": "customer_id, lag(day) OVER (ORDER BY day), lead(orders, 1, -1) OVER (ORDER BY day, orders)",
    "windows": "dense_rank() OVER (ORDER BY orders), sum(orders) OVER (ORDER BY day ROWS UNBOUNDED PRECEDING), day",
    "QUALIFY": ""
    "SELECT customer_id FROM customers QUALIFY row_number() OVER (PARTITION BY orders ORDER BY customer_id) = 1",
    "joined where both are NULL": "SELECT a.customer_id, b.day, a.orders FROM customers AS a LEFT JOIN customers AS b "
    "ON b.customer_id IS NOT DISTINCT FROM a.customer_id AND b.orders IS NOT DISTINCT FROM a.orders AND a.spend > 0",
    "one list in rows": "SELECT customer_id, unnest(reasons) AS reason FROM customers",
    "structs in rows": "SELECT one.a, one.b FROM "
    "(SELECT unnest([{'a': orders, 'b': customer_id}, {'a': 1, 'b': 'x'}]) AS one "
    "FROM customers)",
    "one name twice in WITH": "SELECT * FROM (WITH a AS (SELECT 1 AS x) SELECT x FROM a) AS l CROSS JOIN "
    "(WITH a AS (SELECT 2 AS y) SELECT y FROM a) AS r",
    "who is not there": ""
    "SELECT customer_id FROM customers ANTI JOIN (SELECT 'a' AS customer_id) AS b USING (customer_id)",
    "who is not in a query": ""
    "SELECT count(*) FROM customers WHERE customer_id NOT IN (SELECT customer_id FROM customers)",
    "NULLs are alike": "orders IS NOT DISTINCT FROM NULL, orders IS DISTINCT FROM 3, coalesce(orders, 0), "
    "nullif(orders, 3)",
    "a query beside": "SELECT customer_id, (SELECT max(orders) FROM customers), EXISTS (SELECT 1 FROM customers AS o "
    "WHERE o.orders > c.orders) FROM customers AS c",
    "columns of what stands beside": "SELECT customer_id, known FROM (SELECT 1 AS orders) AS other CROSS JOIN LATERAL "
    "(SELECT customer_id, orders AS known FROM customers) AS given",
}

# a query of `customers` -> what is said of it
REFUSED = {
    "SELECT log(orders) FROM customers": "nobody has looked",
    "SELECT concat(customer_id, orders) FROM customers": "nobody has looked",
    "SELECT list(customer_id) FROM customers": "nobody has looked",
    "SELECT TRY_CAST(customer_id AS INTEGER) FROM customers": "no such value",
    "SELECT 7 // orders FROM customers": "nobody has looked",
    "SELECT * FROM read_parquet('customers.parquet')": "nobody has looked|engine's business",
    "SELECT orders FROM range(3) AS n(orders)": "nobody has looked|engine's business",
    "SELECT date_trunc('week', day) FROM customers": "to months only",
    "SELECT count(DISTINCT (orders, spend)), CAST(timezone('UTC', moment) AS TIMETZ) FROM customers": "the type",
    "SELECT date_diff('hour', moment, day) FROM customers": "only days, months and years",
    "SELECT unnest(reasons), unnest(shares) FROM customers": "two lists",
    "SELECT list_transform(shares, lambda share, place: share * place) FROM customers": "places of a list",
    "SELECT c.* FROM customers AS c JOIN customers AS o USING (customer_id)": "lacks that column",
    "SELECT * FROM customers AS c JOIN customers AS o USING (customer_id)": "another order",
    "SELECT * REPLACE (1 AS orders) FROM customers": "replace",
    "SELECT *, count(*) FROM customers GROUP BY ALL": r"which columns \* has",
    "SELECT round(spend, 2) FROM customers": "decimals",
    r"SELECT regexp_matches(customer_id, '\s+') FROM customers": "regular expressions",
    "SELECT string_agg(customer_id, ',') FROM customers": "an order",
    "SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS a": "by_name",
    "SELECT DISTINCT ON (orders) customer_id FROM customers": "on is not understood",
    "SELECT CAST(orders AS HUGEINT) FROM customers": "the type",
    "SELECT CAST(moment AS TIMESTAMPTZ) FROM customers": "the type",
    "SELECT trim(customer_id, 'x') FROM customers": "trim",
    "SELECT MAP {'a': 1}": "while it is empty",
    "SELECT orders NOT IN (SELECT 1) FROM customers": "outside of WHERE",
    "SELECT sum(orders) OVER (ORDER BY day RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) FROM customers": ""
    "range",
    "SELECT * FROM customers ASOF JOIN customers AS o ON customers.day >= o.day": "DuckDB's own",
    "SELECT customer_id ILIKE 'a%' FROM customers": "nobody has looked",
    "SELECT customer_id LIKE 'a_' FROM customers": "pattern of LIKE",
    r"SELECT customer_id LIKE 'a\%' FROM customers": "pattern of LIKE",
    "SELECT customer_id LIKE reasons[1] FROM customers": "pattern of LIKE",
    "SELECT customer_id LIKE 'a!%' ESCAPE '!' FROM customers": "nobody has looked|pattern of LIKE",
    "SELECT now()": "nobody has looked",
    "SELECT FROM": "Not to be read",
}


def plain(value):
    """A value as all engines give it."""
    match value:
        case Decimal():
            return float(value)
        case float() if math.isnan(value):
            return "NaN"
        case float():
            return float(f"{value:.14g}")
        case datetime.datetime():
            return value.replace(tzinfo=None)
        case list():
            return [plain(one) for one in value]
        case dict():
            return [plain(one) for one in value.values()]
    return value


def rows_of(table):
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return sorted(([plain(value) for value in row] for row in rows), key=repr)


@pytest.fixture
def ask(spark):
    """`ask(query)`: rows of Spark, and those of DuckDB, of a query in DuckDB's SQL."""
    with in_memory() as here:
        here.execute(f"CREATE TABLE customers AS {CUSTOMERS}")
        spark.createDataFrame(here.execute("FROM customers").to_arrow_table()).createOrReplaceTempView("customers")

        def both(query):
            found = spark.sql(to_spark(query)).toArrow()
            return rows_of(found), rows_of(here.execute(query).to_arrow_table())

        yield both


@pytest.mark.parametrize("difference", THE_SAME)
def test_spark_gives_what_duckdb_gives(ask, difference):
    query = THE_SAME[difference]
    found, expected = ask(query if query.startswith("SELECT") else f"SELECT {query} FROM customers")
    assert expected
    assert found == expected


@pytest.mark.parametrize("query", REFUSED)
def test_what_might_differ_is_refused_and_says_why(query):
    with pytest.raises(ForeignSqlError, match=REFUSED[query]):
        to_spark(query)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT TRY_CAST('1_000' AS DOUBLE) FROM customers", "plainly neither DOUBLE nor none"),
        ("SELECT TRY_CAST(customer_id || '2023-1-5' AS DATE) FROM customers", "plainly neither DATE nor none"),
        ("SELECT lower(customer_id || 'Σ') FROM customers", "of Latin and Cyrillic letters"),
        ("SELECT upper(customer_id || 'ß') FROM customers", "of Latin and Cyrillic letters"),
        ("SELECT ln(orders) FROM customers", "ln of 0 or less"),
        ("SELECT CAST(price AS INTEGER) FROM customers", "a fraction was to become INT"),
    ],
)
def test_what_spark_would_pass_over_stops_the_statement(ask, query, said):
    with pytest.raises(Exception, match=said):
        ask(query)
