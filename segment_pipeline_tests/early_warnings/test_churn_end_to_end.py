"""Silence, churn risk and the back-test over real months: right labels, when they are due, and no look ahead."""

import shutil
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.config.values import setting
from segment_pipeline.config.warning_rules import WARNING_RULES, WarningRule, WarningSettings
from segment_pipeline.early_warnings import churn_store
from segment_pipeline.early_warnings.churn_store import write_backtest, write_churn_risk
from segment_pipeline.early_warnings.rules_store import write_early_warnings
from segment_pipeline.models.champions_store import previous_champion, require_champion
from segment_pipeline.months import month_range
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet
from tools.reference import warning_rules

# With a horizon of a month every month but the last is judged, so that three months are enough to learn from two.
WARNINGS = "warnings: {horizon_days: 30, monthly_budget: 40}\nactions:\n" + "".join(
    f"  - {{action_id: {name}, {condition}what: w, owner: o, channel: c, kpi: k, measure_days: 30}}\n"
    for name, condition in (("win back", "role: dormant, "), ("anything", ""))
)
MARCH, APRIL, MAY = date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1)
TABLES = (
    "observed_silence",
    "churn_risk",
    "churn_risk_models",
    "early_warnings",
    "contact_list_rules",
    "warning_backtest_history",
)


@pytest.fixture(scope="module")
def lines() -> dict[str, list[object]]:
    return order_lines(customers=900, months=6, seed=5)


@pytest.fixture(scope="module")
def judged(commands, tmp_path_factory, lines) -> Shop:
    """Three months of the shop, each known to the next."""
    shop = Shop(tmp_path_factory.mktemp("judged")).configure(last_month="2023-05", more=WARNINGS)
    write_parquet(lines, shop.orders_path)
    assert commands.run(shop, "--quiet").code == 0
    return shop


def test_a_label_says_who_had_no_order_in_the_days_after_the_month(judged: Shop) -> None:
    wrong = query(
        judged.published,
        f"""
        SELECT s.month, s.customer_id, s.silent FROM observed_silence AS s
        LEFT JOIN (
            SELECT DISTINCT customer, CAST(date_trunc('month', ordered_at) AS DATE) AS month
            FROM '{judged.orders_path}'
            WHERE ordered_at < date_trunc('month', ordered_at) + INTERVAL 30 DAY
        ) AS o ON o.customer = s.customer_id AND o.month = s.month + INTERVAL 1 MONTH
        WHERE s.silent <> (o.customer IS NULL)
        """,
    )
    assert wrong == []
    months = query(judged.published, "SELECT DISTINCT month, observed_in FROM observed_silence ORDER BY 1")
    # March is over for 30 days at the end of April; of May nothing is known yet
    assert months == [(date(2023, 3, 1), date(2023, 4, 1)), (date(2023, 4, 1), date(2023, 5, 1))]
    unlabelled = "SELECT count(*) FROM monthly_assignments ANTI JOIN observed_silence USING (month, customer_id)"
    assert query(judged.published, f"{unlabelled} WHERE month < '2023-05-01'") == [(0,)]


def test_the_first_months_are_refused_with_the_reason_and_the_third_is_predicted(judged: Shop) -> None:
    models = query(judged.published, "SELECT month, months, refused FROM churn_risk_models ORDER BY month")
    assert "0 months had been observed by then, and 2 are needed" in models[0][2]
    assert "1 month had been observed by then, and 2 are needed" in models[1][2]
    assert models[2] == (date(2023, 5, 1), [date(2023, 3, 1), date(2023, 4, 1)], None)
    rows, low, high, kinds = query(
        judged.published,
        "SELECT count(*), min(churn_risk), max(churn_risk), count(DISTINCT churn_risk) FROM churn_risk",
    )[0]
    assert (rows,) == query(judged.published, "SELECT count(*) FROM current_assignments")[0]
    assert 0 <= low < high <= 1
    assert kinds > rows / 2


def test_customers_are_predicted_in_parts_as_all_at_once(judged: Shop, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(churn_store, "SCORED_ROWS", 50)
    copy = shutil.copyfile(judged.folder / "warehouse.duckdb", tmp_path / "warehouse.duckdb")
    with duckdb.connect(str(copy)) as connection:
        connection.begin()
        (month,) = connection.execute("SELECT max(month) FROM churn_risk").fetchone() or (None,)
        connection.execute("CREATE TEMP TABLE at_once AS FROM churn_risk WHERE month = ?", [month])
        customers, _ = write_churn_risk(connection, load_config(judged.config_path), month)
        assert customers > 2 * churn_store.SCORED_ROWS
        found = connection.execute(
            "SELECT count(*), max(abs(a.churn_risk - r.churn_risk)) "
            "FROM at_once AS a JOIN churn_risk AS r USING (month, customer_id)"
        ).fetchone()
    assert found == (customers, pytest.approx(0, abs=1e-12))


def test_warnings_are_ranked_by_revenue_at_risk_and_kept_within_the_budget(judged: Shop) -> None:
    queue = query(
        judged.published,
        "SELECT DISTINCT priority, revenue_at_risk, within_budget FROM early_warnings "
        "WHERE month = '2023-05-01' AND status <> 'resolved' ORDER BY priority",
    )
    assert len(queue) > 40
    assert [risk for _, risk, _ in queue] == sorted((risk for _, risk, _ in queue), reverse=True)
    assert [place for place, _, within in queue if within] == list(range(1, 41))


def test_the_backtest_is_of_months_whose_silence_is_known_and_adds_up(judged: Shop) -> None:
    rows = query(
        judged.published,
        "SELECT month, alerts, eligible, precision, base_rate, lift FROM warning_backtest WHERE warning = 'any' "
        "AND judged = 'engaged' ORDER BY month NULLS LAST",
    )
    assert [row[0] for row in rows] == [date(2023, 3, 1), date(2023, 4, 1), None]
    assert rows[2][1] == rows[0][1] + rows[1][1]
    truth = query(
        judged.published,
        "SELECT count(DISTINCT w.customer_id), avg(CAST(s.silent AS INTEGER)) FROM early_warnings AS w "
        "JOIN observed_silence AS s USING (month, customer_id) "
        "WHERE month = '2023-04-01' AND status <> 'resolved' AND warning = 'declining_engagement'",
    )[0]
    (declining,) = query(
        judged.published,
        "SELECT alerts + alerts_elsewhere FROM warning_backtest WHERE month = '2023-04-01' "
        "AND warning = 'declining_engagement' AND judged = 'engaged'",
    )
    assert declining[0] == truth[0]
    for _, alerts, _, precision, base_rate, lift in rows:
        if alerts:
            assert lift == pytest.approx(precision / base_rate)


def test_the_contact_list_is_judged_beside_rivals_that_choose_among_everybody(judged: Shop, tmp_path, materialize):
    """May's list, counted again from the tables when June has closed: who fell silent of the 40 on it, and of 40
    others."""
    shop = Shop(shutil.copytree(judged.folder, tmp_path / "copy")).configure(last_month="2023-06", more=WARNINGS)
    assert materialize(shop, "2023-06").success
    ((alerts, eligible, base_rate, precision, recency, by_risk, at_risk, months),) = query(
        shop.published,
        "SELECT alerts, eligible, base_rate, precision, recency_precision, churn_risk_precision, "
        "revenue_at_risk_precision, months "
        "FROM warning_backtest WHERE month = '2023-05-01' AND warning = 'any' AND judged = 'within_budget'",
    )
    silent = "avg(CAST(silent AS INTEGER))"
    may = "SELECT customer_id, silent FROM observed_silence WHERE month = '2023-05-01'"
    everybody = query(shop.published, f"SELECT count(*), {silent} FROM ({may})")
    assert [(eligible, base_rate)] == everybody
    on_it = "SELECT DISTINCT customer_id FROM early_warnings WHERE month = '2023-05-01' AND within_budget"
    assert query(shop.published, f"SELECT count(*), {silent} FROM ({may}) SEMI JOIN ({on_it}) USING (customer_id)") == [
        (alerts, precision)
    ]
    longest = (
        "SELECT customer_id FROM raw_customers WHERE month = '2023-05-01' "
        "ORDER BY days_since_last_order DESC, customer_id LIMIT 40"
    )
    assert query(shop.warehouse, f"SELECT {silent} FROM ({may}) SEMI JOIN ({longest}) USING (customer_id)") == [
        (recency,)
    ]
    riskiest = (
        "SELECT customer_id FROM churn_risk WHERE month = '2023-05-01' ORDER BY churn_risk DESC, customer_id LIMIT 40"
    )
    assert query(shop.warehouse, f"SELECT {silent} FROM ({may}) SEMI JOIN ({riskiest}) USING (customer_id)") == [
        (by_risk,)
    ]
    # the list is revenue at risk alone, and so exactly as right
    assert (alerts, months, precision) == (40, 1, at_risk)
    the_money_that_was_lost_is_counted(shop, may, on_it, riskiest)
    ((all_warned,),) = query(
        shop.published,
        "SELECT alerts FROM warning_backtest WHERE month = '2023-05-01' AND warning = 'any' AND judged = 'everybody'",
    )
    assert query(
        shop.published,
        "SELECT count(DISTINCT customer_id) FROM early_warnings "
        "WHERE month = '2023-05-01' AND status <> 'resolved' AND warning NOT IN ('high_churn_risk', 'revenue_at_risk')",
    ) == [(all_warned,)]


def the_money_that_was_lost_is_counted(shop: Shop, may: str, on_it: str, riskiest: str) -> None:
    """Who fell silent of the list and of the 40 riskiest: four times what each spent in the window of three months."""
    spent = "SELECT customer_id, greatest(total_spend, 0) AS spend FROM raw_customers WHERE month = '2023-05-01'"
    silent = f"SELECT customer_id, 4 * spend AS spend FROM ({spent}) SEMI JOIN ({may} AND silent) USING (customer_id)"
    ((lost, by_chance, by_risk, at_risk),) = query(
        shop.published,
        "SELECT money_lost, random_money_lost, churn_risk_money_lost, revenue_at_risk_money_lost "
        "FROM warning_backtest WHERE month = '2023-05-01' AND warning = 'any' AND judged = 'within_budget'",
    )
    for chosen, found in ((on_it, lost), (riskiest, by_risk)):
        ((counted,),) = query(
            shop.warehouse, f"SELECT sum(spend) FROM ({silent}) SEMI JOIN ({chosen}) USING (customer_id)"
        )
        assert found == pytest.approx(counted)
    ((share,),) = query(shop.warehouse, f"SELECT 40 * sum(spend) / (SELECT count(*) FROM ({may})) FROM ({silent})")
    assert (lost, by_chance) == (at_risk, pytest.approx(share))
    assert lost > by_chance


def with_customers_at_risk(judged: Shop, folder: Path, keys: str = "") -> Shop:
    """A copy of the shop, where nobody is leaving, with a role for the segment next to the engaged ones, and more keys
    under `warnings`."""
    shop = Shop(shutil.copytree(judged.folder, folder))
    [(nearest,)] = query(
        shop.warehouse,
        "SELECT second_segment_id FROM monthly_assignments JOIN segment_profiles USING (month, segment_id) "
        "WHERE month = '2023-03-01' AND role = 'engaged' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
    )
    more = WARNINGS.replace("warnings: {", f"warnings: {{{keys}") + f"segments: {{{nearest}: {{role: at_risk}}}}\n"
    return shop.configure(last_month="2023-05", more=more)


def test_mixed_signals_are_of_customers_who_count_as_engaged_whatever_the_key(judged: Shop, tmp_path) -> None:
    """`warnings.mixed_signal` decides both: from a thousandth on, one who is hardly engaged is warned of and judged."""
    shop = with_customers_at_risk(judged, tmp_path / "copy", "mixed_signal: 0.001, ")
    config = load_config(shop.config_path)
    with duckdb.connect(str(shop.warehouse)) as connection:
        for month in month_range(MARCH, MAY):
            champion = require_champion(connection, config, month)
            before = previous_champion(connection, config, month)
            write_early_warnings(connection, champion, before, month, config.warnings)
        rows = {
            (row.month, row.warning): row for row in write_backtest(connection, config, MAY) if row.judged == "engaged"
        }
    for month in (MARCH, APRIL, None):
        assert rows[month, "mixed_signal"].alerts > 20
        assert rows[month, "mixed_signal"].alerts_elsewhere == 0
    # in March, the first month, who is engaged now is all that counts
    assert query(
        shop.warehouse,
        "SELECT count(*) FROM (SELECT customer_id FROM (SELECT customer_id, unnest(segment_ids) AS segment_id, "
        "unnest(probabilities) AS probability FROM monthly_assignments WHERE month = '2023-03-01') "
        "JOIN segment_profiles AS s USING (segment_id) WHERE s.month = '2023-03-01' AND s.role = 'engaged' "
        "GROUP BY customer_id HAVING sum(probability) > 0.001)",
    ) == [(rows[MARCH, "any"].eligible,)]


def test_a_rule_is_its_declaration(judged: Shop, tmp_path) -> None:
    """A rule with a key of its own, declared here alone, is warned of, ranked, judged and documented."""

    class Settings(WarningSettings):
        nearly_gone: float = setting(0.9, "probability, 0..1", "Warn when at risk or dormant is above it.", gt=0, lt=1)

    rule = WarningRule(
        "nearly_gone",
        says="at risk or dormant is more likely than this",
        key="nearly_gone",
        condition="dormant_probability > threshold",
        evidence="'was in ' || from_name",
    )
    rules = (rule, *WARNING_RULES)
    shop = with_customers_at_risk(judged, tmp_path / "copy")
    config = load_config(shop.config_path)
    with duckdb.connect(str(shop.warehouse)) as connection:
        champion = require_champion(connection, config, APRIL)
        write_early_warnings(connection, champion, champion, APRIL, Settings(nearly_gone=0.8), rules)
        rows = write_backtest(connection, config, MAY, rules)
    found = query(
        shop.warehouse,
        "SELECT customer_id, priority, evidence FROM early_warnings "
        "WHERE month = '2023-04-01' AND warning = 'nearly_gone' ORDER BY customer_id",
    )
    leaving = [place for place, one in enumerate(champion.segments, 1) if one.role in {"at_risk", "dormant"}]
    gone = " + ".join(f"probabilities[{place}]" for place in leaving)
    named = f"SELECT customer_id FROM monthly_assignments WHERE month = '2023-04-01' AND {gone} > 0.8"
    assert sorted(customer for customer, _, _ in found) == sorted(row[0] for row in query(shop.warehouse, named))
    assert {said for *_, said in found} <= {*(f"was in {segment.name}" for segment in champion.segments), None}
    # there is no churn risk of April, and no rule has been judged: nobody knows whom to contact first
    assert {place for _, place, _ in found} == {None}
    standing = "SELECT takes_part FROM contact_list_rules WHERE month = '2023-04-01' AND warning = 'nearly_gone'"
    assert query(shop.warehouse, standing) == [(False,)]
    (judged_row,) = [row for row in rows if (row.judged, row.month, row.warning) == ("everybody", APRIL, rule.name)]
    assert judged_row.alerts == len(found) > 100
    documented = "| `nearly_gone` | at risk or dormant is more likely than this | `warnings.nearly_gone` 0.9 |"
    assert documented in warning_rules(rules, Settings)


def test_every_customer_has_an_action_with_an_owner(judged: Shop) -> None:
    assert query(
        judged.published, "SELECT count(*) FILTER (owner IS NULL OR measure_until IS NULL) FROM customer_actions"
    ) == [(0,)]


def test_nothing_sees_past_the_end_of_its_month(judged: Shop, lines, tmp_path, materialize) -> None:
    """The same months from a file that ends with May."""
    end = datetime(2023, 6, 1)
    known = [at < end for at in lines["ordered_at"]]
    truncated = {
        name: [value for value, kept in zip(values, known, strict=True) if kept] for name, values in lines.items()
    }
    assert len(truncated["customer"]) < len(lines["customer"])
    shop = Shop(tmp_path).configure(last_month="2023-05", more=WARNINGS)
    write_parquet(truncated, shop.orders_path)
    for month in ("2023-03", "2023-04", "2023-05"):
        assert materialize(shop, month, selection="*warning_backtest").success
    for table in (*TABLES, "order_histories"):
        rows = f"SELECT * FROM {table} ORDER BY ALL"
        assert query(shop.warehouse, rows) == query(judged.warehouse, rows), table


def test_a_month_made_again_learns_and_judges_the_same(judged: Shop, tmp_path, materialize) -> None:
    folder = shutil.copytree(judged.folder, tmp_path / "copy")
    shop = Shop(folder)
    assert materialize(shop, "2023-04").success
    may = materialize(shop, "2023-05")
    assert may.success
    the_ui_shows_the_head_of_the_queue_and_the_pooled_backtest(may, shop)
    for table in TABLES:
        rows = f"SELECT * FROM {table} ORDER BY ALL"
        assert query(shop.published, rows) == query(judged.published, rows), table


def the_ui_shows_the_head_of_the_queue_and_the_pooled_backtest(result, shop: Shop) -> None:
    (warnings,) = result.asset_materializations_for_node("early_warnings")
    head = [record.data for record in warnings.metadata["head_of_queue"].records]
    first = query(shop.published, "SELECT DISTINCT priority FROM early_warnings WHERE month = '2023-05-01'")
    assert [row["priority"] for row in head] == sorted(row[0] for row in first if row[0])[:10]
    assert "customer_id" not in head[0]  # Dagster's history names nobody
    assert all(row["evidence"] and row["within_budget"] for row in head)
    assert warnings.metadata["contact_list"].value.startswith("by revenue at risk alone")
    standings = {row.data["warning"]: row.data["takes_part"] for row in warnings.metadata["taking_part"].records}
    assert standings == {rule.name: False for rule in WARNING_RULES}
    (backtest,) = result.asset_materializations_for_node("warning_backtest")
    pooled = [record.data for record in backtest.metadata["pooled"].records]
    # of the months judged none had a list
    assert {row["judged"] for row in pooled} == {"engaged", "everybody"}
    assert all(row["alerts"] and " to " in row["right_95"] for row in pooled)
