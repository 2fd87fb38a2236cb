"""Months through the real assets: what a run leaves behind, and that it leaves it again."""

import json
from datetime import date

import duckdb
import pytest

from segment_pipeline.models.champions_store import previous_champion
from segment_pipeline_tests.shop import published_content, query

WITH_MOVEMENT = ["*transition_deltas", "*segment_profiles"]
"""Of a month what is asked of its refit: its rows in the warehouse. Whole months are published in other tests."""


def states(path, month):
    """The population of a month as {customer: segment id, or 'rejected'}, from the published tables alone."""
    return dict(
        query(
            path,
            f"""
            SELECT customer_id, CAST(segment_id AS VARCHAR) FROM monthly_assignments WHERE month = DATE '{month}'
            UNION ALL
            SELECT DISTINCT customer_id, 'rejected' FROM rejected_customers WHERE month = DATE '{month}'
            """,
        )
    )


def test_three_months_are_published(three_months):
    rows = query(
        three_months.published,
        "SELECT month, count(*), count(DISTINCT segment_id) FROM monthly_assignments GROUP BY 1 ORDER BY 1",
    )
    assert [f"{row[0]:%Y-%m}" for row in rows] == ["2023-03", "2023-04", "2023-05"]
    assert all(row[1] > 500 and row[2] >= 2 for row in rows)


def test_segments_find_the_shops_habits(three_months):
    """Customers of one habit share a segment far more often than chance would have it: the truth is recovered."""
    found = query(
        three_months.published,
        """
        SELECT habit, max(customers) / sum(customers) FROM (
            SELECT CAST(substr(customer_id, 2) AS INTEGER) % 3 AS habit, segment_id, count(*) AS customers
            FROM current_assignments GROUP BY ALL
        ) GROUP BY habit
        """,
    )
    assert len(found) == 3
    assert all(share > 0.7 for _, share in found)


def test_every_row_of_probabilities_sums_to_one(three_months):
    (worst,) = query(three_months.published, "SELECT max(abs(list_sum(probabilities) - 1)) FROM monthly_assignments")
    assert worst[0] <= 1e-9
    unnested = query(three_months.published, "SELECT count(*), sum(probability) FROM membership")[0]
    customers = query(three_months.published, "SELECT count(*) FROM monthly_assignments")[0][0]
    assert unnested[1] == pytest.approx(customers, abs=1e-6)


@pytest.mark.parametrize(("before", "month"), [("2023-03-01", "2023-04-01"), ("2023-04-01", "2023-05-01")])
def test_transitions_add_up_to_the_customers_of_both_months(three_months, before, month):
    was, is_now = states(three_months.published, before), states(three_months.published, month)
    moves = {
        customer: (origin, target)
        for customer, origin, target in query(
            three_months.published,
            f"SELECT customer_id, from_state, to_state FROM transition_deltas WHERE month = DATE '{month}'",
        )
    }
    assert set(moves) == set(was) | set(is_now)
    for customer, (origin, target) in moves.items():
        assert origin == was[customer] if customer in was else origin in {"new", "returned"}
        assert target == is_now.get(customer, "lapsed")  # nothing was refitted: one measuring champion for both
    total = query(three_months.published, f"SELECT sum(customers) FROM transition_matrix WHERE month = DATE '{month}'")
    assert total[0][0] == len(moves)


def test_who_was_known_before_has_returned_and_is_not_new(three_months):
    found = query(
        three_months.published,
        "SELECT customer_id FROM transition_deltas WHERE month = DATE '2023-04-01' AND from_state = 'new'",
    )
    first_orders = dict(
        query(three_months.warehouse, "SELECT customer_id, min(first_seen) FROM raw_customers GROUP BY 1")
    )
    assert found
    assert all(f"{first_orders[customer]:%Y-%m}" == "2023-04" for (customer,) in found)


def test_the_first_month_has_no_transitions(three_months):
    assert query(three_months.published, "SELECT count(*) FROM transition_deltas WHERE month = DATE '2023-03-01'") == [
        (0,)
    ]


def test_a_second_run_from_nothing_gives_identical_tables(commands, shop, three_months):
    shop.configure(last_month="2023-05")
    assert commands.run(shop, "--quiet").code == 0
    first, second = published_content(three_months.published), published_content(shop.published)
    assert first.keys() == second.keys()
    for table in first:
        assert first[table] == second[table], table


def test_one_month_materialized_again_gives_the_same_rows(copy, materialize):
    before = published_content(copy.published)
    assert materialize(copy, "2023-04").success
    assert published_content(copy.published) == before


def test_the_champion_serves_until_something_fires(three_months):
    versions = query(three_months.published, "SELECT model_version, reason FROM model_versions")
    assert versions == [(1, "bootstrap")]
    assert {row[0] for row in query(three_months.published, "SELECT model_version FROM monthly_assignments")} == {1}


SPOKEN_OF_MOVEMENT = """
    SELECT (SELECT count(*) FROM transition_deltas WHERE {m} AND from_segment_id <> to_segment_id),
        (SELECT sum(customers) FROM transition_matrix WHERE {m} AND from_state <> to_state
            AND from_state NOT IN ('new', 'returned', 'rejected') AND to_state NOT IN ('lapsed', 'rejected')),
        (SELECT observed_customers FROM movement_reference WHERE {m} AND measure = 'moved'),
        (SELECT count(*) FROM segment_events WHERE {m} AND event = 'moved'),
        (SELECT sum(customers) FROM segment_moves WHERE {m} AND from_state <> to_state
            AND from_state NOT IN ('new', 'returned', 'rejected') AND to_state NOT IN ('lapsed', 'rejected')),
        (SELECT count(*) FROM customer_journey WHERE {m} AND moved),
        (SELECT count(*) FROM customer_months WHERE {m} AND movement LIKE 'moved%')
"""
"""Every table and view that says how many customers moved in a month."""


def test_a_forced_refit_keeps_the_ids_and_measures_movement_with_the_new_champion(copy, materialize):
    config = {"ops": {"selected_model": {"config": {"force_refit": True, "reason": "a new product line"}}}}
    assert materialize(copy, "2023-05", run_config=config, selection=WITH_MOVEMENT).success

    assert query(copy.warehouse, "SELECT model_version, reason FROM model_versions ORDER BY 1") == [
        (1, "bootstrap"),
        (2, "forced: a new product line"),
    ]
    relations = query(copy.warehouse, "SELECT relation, segment_id FROM segment_lineage WHERE model_version = 2")
    old_ids = {
        row[0] for row in query(copy.warehouse, "SELECT segment_id FROM segment_lineage WHERE model_version = 1")
    }
    assert {relation for relation, _ in relations} == {"continued"}
    assert {segment_id for _, segment_id in relations} <= old_ids
    names = "SELECT DISTINCT segment_id, name FROM segment_profiles WHERE month = DATE '{}' ORDER BY 1"
    kept = dict(query(copy.warehouse, names.format("2023-04-01")))
    assert set(query(copy.warehouse, names.format("2023-05-01"))) <= set(kept.items())

    served = query(copy.warehouse, "SELECT DISTINCT month, model_version FROM monthly_assignments ORDER BY 1")
    assert [version for _, version in served] == [1, 1, 2]
    measuring_champion = "SELECT DISTINCT model_version FROM transition_deltas WHERE month = DATE '2023-05-01'"
    assert query(copy.warehouse, measuring_champion) == [(2,)]


def test_in_a_refit_month_every_table_speaks_of_one_model_and_of_the_same_movement(copy, materialize):
    config = {"ops": {"selected_model": {"config": {"force_refit": True, "reason": "a new product line"}}}}
    assert materialize(copy, "2023-05", run_config=config).success
    ((moved, *others),) = query(copy.published, SPOKEN_OF_MOVEMENT.format(m="month = DATE '2023-05-01'"))
    assert moved > 0
    assert others == [moved] * len(others)
    apart = """
        SELECT count(*) FROM transition_deltas AS d JOIN monthly_assignments AS a USING (month, customer_id)
        WHERE d.month = DATE '2023-05-01' AND (d.model_version <> a.model_version OR d.to_segment_id <> a.segment_id
            OR d.from_segment_id IS DISTINCT FROM a.previous_segment_id)
    """
    assert query(copy.published, apart) == [(0,)]

    # so does its validation: who was surely in a segment the month before, as the new model sees that month
    judged = "SELECT {} FROM model_validation WHERE month = DATE '2023-05-01'"
    assert query(copy.published, judged.format("DISTINCT model_version")) == [(2,)]
    stayed = """
        SELECT avg(CAST(to_segment_id = from_segment_id AS DOUBLE)) FROM (
            SELECT d.*,
                list_max(list_transform(list_zip(a.probabilities, d.changes), lambda pair: pair[1] - pair[2])) AS sure
            FROM transition_deltas AS d JOIN monthly_assignments AS a USING (month, customer_id)
            WHERE d.month = DATE '2023-05-01' AND d.segment_ids = a.segment_ids
        ) WHERE sure >= 0.9
    """
    told = judged.format("value") + " AND metric = 'calibrated_share' AND subject = '0.9-1.0'"
    assert query(copy.published, told)[0][0] == pytest.approx(query(copy.published, stayed)[0][0])
    fresh = judged.format("sentence") + " AND metric = 'stability_over_time'"
    assert query(copy.published, fresh) == [
        ("Not computed: the champion is itself the fresh fit to this month's customers.",)
    ]


def test_a_refit_month_that_was_measured_by_the_champion_before_goes_on_as_it_stands(copy, materialize, monkeypatch):
    """Versions of before measured such a month so: its rows stay, and say whose they are."""
    copy.configure(last_month="2023-06")
    config = {"ops": {"selected_model": {"config": {"force_refit": True, "reason": "a new product line"}}}}
    with monkeypatch.context() as before:
        for module in ("models.champions_store", "movement.chance_store"):
            before.setattr(f"segment_pipeline.{module}.measuring_champion", previous_champion)
        assert materialize(copy, "2023-05", run_config=config).success
    of_may = "SELECT * FROM {} WHERE month = DATE '2023-05-01' ORDER BY ALL"
    tables = ("transition_deltas", "transition_matrix", "movement_reference", "segment_moves", "segment_events")
    as_it_was = {table: query(copy.published, of_may.format(table)) for table in tables}
    assert materialize(copy, "2023-06").success
    assert {table: query(copy.published, of_may.format(table)) for table in tables} == as_it_was
    versions = query(copy.published, "SELECT DISTINCT month, model_version FROM transition_deltas ORDER BY 1")
    assert [version for _, version in versions] == [1, 1, 2]
    # who came back cannot be told over two moves of two models
    back = "SELECT count(*) FROM movement_reference WHERE month = DATE '2023-06-01' AND measure = 'came_back'"
    assert query(copy.published, back) == [(0,)]
    ((moved, *others),) = query(copy.published, SPOKEN_OF_MOVEMENT.format(m="month = DATE '2023-06-01'"))
    assert others == [moved] * len(others)


def test_a_forced_refit_without_a_reason_is_refused(copy, materialize):
    with pytest.raises(Exception, match="force_refit needs a reason"):
        materialize(
            copy,
            "2023-05",
            selection=["selected_model"],
            run_config={"ops": {"selected_model": {"config": {"force_refit": True}}}},
        )


def test_an_old_champion_is_replaced_by_its_age(copy, materialize):
    copy.configure(last_month="2023-06", more="refit: {max_age_months: 1}")
    for month in ("2023-05", "2023-06"):
        assert materialize(copy, month, selection="*drift_alerts").success
    versions = query(copy.warehouse, "SELECT model_version, trained_month, reason FROM model_versions ORDER BY 1")
    assert [(version, f"{month:%Y-%m}") for version, month, _ in versions] == [(1, "2023-03"), (2, "2023-05")]
    assert "champion_age_months" in versions[1][2]
    alerts = query(
        copy.warehouse,
        "SELECT month, status FROM drift_alerts WHERE metric = 'champion_age_months' ORDER BY month",
    )
    assert [status for _, status in alerts] == [None, "new", "resolved"]


def test_a_month_after_a_gap_stops_and_names_what_is_missing(shop, materialize):
    materialize(shop, "2023-03")
    before = published_content(shop.published)
    with pytest.raises(Exception, match=r"2023-04\.\.2023-05 is missing.*--months 2023-04\.\.2023-05"):
        materialize(shop, "2023-06")
    assert published_content(shop.published) == before


def test_the_first_month_of_the_configuration_comes_first(shop, materialize):
    with pytest.raises(Exception, match=r"2023-03\.\.2023-04 is missing.*--months 2023-03\.\.2023-04"):
        materialize(shop, "2023-05")
    assert not shop.published.exists()


def test_another_id_after_a_refit_alone_is_no_movement(copy, materialize):
    """alignment.min_margin 1 lets no segment keep its id: everybody's id changes, and hardly anybody moves."""
    copy.configure(last_month="2023-05", more="alignment: {min_margin: 1.0}")
    config = {"ops": {"selected_model": {"config": {"force_refit": True, "reason": "a test"}}}}
    assert materialize(copy, "2023-05", run_config=config).success
    renamed, moved, settled, contradicted = query(
        copy.published,
        """
        SELECT avg(CAST(a.segment_id <> j.segment_id AS INTEGER)), avg(CAST(moved AS INTEGER)),
            avg(CAST(changed_at < j.month AS INTEGER)),
            count(*) FILTER (moved <> (j.previous_segment_id <> j.segment_id))
        FROM customer_journey AS j JOIN monthly_assignments AS a
            ON a.customer_id = j.customer_id AND a.month = DATE '2023-04-01'
        WHERE j.month = DATE '2023-05-01'
        """,
    )[0]
    assert (renamed, contradicted) == (1, 0)
    assert moved < 0.2
    assert settled > 0.8
    # the new ids have a month before, in which nearly everybody was there already
    changes = query(copy.published, "SELECT share - share_before FROM segment_profiles WHERE month = DATE '2023-05-01'")
    assert all(abs(change) < 0.1 for (change,) in changes)


def test_features_that_repeat_one_another_stop_the_first_month_and_say_which_to_drop(shop, materialize):
    text = shop.config_path.read_text().replace(
        "model: {", "  - {name: total_spend, unit: EUR, transform: log1p, resolution: 0.01, valid: {min: 0}}\nmodel: {"
    )
    shop.config_path.write_text(text)
    with pytest.raises(Exception, match=r"Remove .* from `features`"):
        materialize(shop, "2023-03")
    assert not shop.published.exists()


def test_portraits_are_shown_and_have_no_say_in_who_is_where(shop, three_months, materialize):
    portraits = (
        "  - {name: total_spend, unit: EUR, use: portrait, transform: log, valid: {max: 900}}\n"
        "  - {name: tenure_days, unit: days, use: portrait}\n"
    )
    text = shop.config_path.read_text().replace("model: {", f"{portraits}model: {{")
    shop.config_path.write_text(text)
    materialize(shop, "2023-03", selection=[*WITH_MOVEMENT, "outlier_groups"])
    members = "SELECT * FROM monthly_assignments WHERE month = DATE '2023-03-01' ORDER BY customer_id"
    assert query(shop.warehouse, members) == query(three_months.warehouse, members)
    schema = query(shop.warehouse, "SELECT feature_schema FROM model_versions")
    assert schema == query(three_months.warehouse, "SELECT feature_schema FROM model_versions")

    spend = """
        SELECT a.segment_id, sum(o.spend), avg(o.spend) FILTER (o.spend <= 900), avg(CAST(o.spend <= 900 AS INTEGER))
        FROM monthly_assignments AS a JOIN (
            SELECT customer, sum(amount) AS spend FROM '{}'
            WHERE ordered_at >= DATE '2023-01-01' AND ordered_at < DATE '2023-04-01' GROUP BY customer
        ) AS o ON o.customer = a.customer_id GROUP BY a.segment_id ORDER BY a.segment_id
    """
    expected = query(shop.warehouse, spend.format(shop.orders_path))
    shown = query(
        shop.warehouse,
        "SELECT f.segment_id, f.mean, f.known_share, p.narrative FROM segment_feature_profiles AS f "
        "JOIN segment_profiles AS p USING (month, segment_id) WHERE feature = 'total_spend' ORDER BY f.segment_id",
    )
    assert any(known < 1 for *_, known, _ in shown)
    for (segment_id, _, mean, known), (shown_id, shown_mean, shown_known, narrative) in zip(
        expected, shown, strict=True
    ):
        assert shown_id == segment_id
        assert (shown_mean, shown_known) == pytest.approx((mean, known), rel=1e-9)
        assert "Beside that, one " in narrative
    unusual = query(
        shop.warehouse,
        "SELECT count(*) > 0, count(z) FROM outlier_group_profiles WHERE feature IN ('total_spend', 'tenure_days')",
    )
    assert unusual == [(True, 0)]


def test_a_segments_revenue_is_what_its_customers_spent_in_the_window(three_months):
    expected = dict(
        query(
            three_months.published,
            f"""
            SELECT a.segment_id, sum(o.amount) FROM monthly_assignments AS a
            JOIN '{three_months.orders_path}' AS o ON o.customer = a.customer_id
            WHERE a.month = DATE '2023-05-01' AND o.ordered_at >= DATE '2023-03-01'
                AND o.ordered_at < DATE '2023-06-01' GROUP BY a.segment_id
            """,
        )
    )
    shown = query(three_months.published, "SELECT segment_id, total_spend, revenue_share FROM current_profiles")
    for segment_id, spend, share in shown:
        assert spend == pytest.approx(expected[segment_id], rel=1e-9)
        assert share == pytest.approx(expected[segment_id] / sum(expected.values()), rel=1e-9)


def test_names_and_roles_of_the_users_own_win_and_are_data(shop, materialize):
    name = 'it\'s "VIP"; DROP TABLE x -- 🛒 <script>'
    shop.configure(more=f"segments: {{1: {{name: {json.dumps(name, ensure_ascii=False)}, role: dormant}}}}")
    materialize(shop, "2023-03", selection=WITH_MOVEMENT)
    assert query(shop.warehouse, "SELECT name, role FROM segment_profiles WHERE segment_id = 1") == [(name, "dormant")]
    shown = query(shop.warehouse, "SELECT DISTINCT segment_name FROM monthly_assignments WHERE segment_id = 1")
    assert shown == [(name,)]


def test_a_changed_feature_list_refits_and_says_so(copy, materialize):
    copy.configure(last_month="2023-06")
    text = copy.config_path.read_text()
    line = next(line for line in text.splitlines() if "products_per_order" in line)
    copy.config_path.write_text(text.replace(line + "\n", ""))
    assert materialize(copy, "2023-06", selection=WITH_MOVEMENT).success
    version = query(copy.warehouse, "SELECT model_version, reason, n_components FROM model_versions ORDER BY 1")[-1]
    assert version[0] == 2
    assert "feature_schema_changed" in version[1]
    # the month before has all features of the new champion, so movement is measured with it
    measuring_champion = "SELECT DISTINCT model_version FROM transition_deltas WHERE month = DATE '2023-06-01'"
    assert query(copy.warehouse, measuring_champion) == [(2,)]


def test_months_go_on_after_a_feature_has_gone_and_when_it_comes_back(copy, materialize):
    copy.configure(last_month="2023-06")
    text = copy.config_path.read_text()
    line = next(line for line in text.splitlines() if "products_per_order" in line)
    for month, features in {
        "2023-04": text.replace(line + "\n", ""),
        "2023-05": text.replace(line + "\n", ""),
        "2023-06": text,
    }.items():
        copy.config_path.write_text(features)
        assert materialize(copy, month).success, month
    reasons = query(copy.published, "SELECT trained_month, reason FROM model_versions ORDER BY model_version")
    changed = [f"{month:%Y-%m}" for month, reason in reasons if "feature_schema_changed" in reason]
    assert changed == ["2023-04", "2023-06"]
    fitted = "SELECT month, bool_or(feature = 'products_per_order') FROM feature_diagnostics GROUP BY 1 ORDER BY 1"
    assert [there for _, there in query(copy.published, fitted)[-3:]] == [False, False, True]


def test_a_warehouse_of_an_older_version_goes_on_and_fills_the_columns_that_it_lacked(copy, materialize):
    shop = copy.configure(last_month="2023-06")
    lacking = [
        ("feature_diagnostics", "largest_atom"),
        ("feature_limits", "use"),
        ("monthly_assignments", "is_atypical"),
        ("monthly_assignments", "previous_segment_id"),
        ("segment_profiles", "narrative"),
        ("segment_profiles", "share_before"),
        ("segment_profiles", "revenue_share"),
        ("segment_feature_profiles", "known_share"),
        ("drift_alerts", "months_fired"),
        ("transition_deltas", "shift"),
        ("model_validation", "sentence"),
        ("customer_actions", "tier"),
        ("pipeline_runs", "code_version"),
    ]
    journeys = "SELECT * FROM customer_journey WHERE month < DATE '2023-06-01' ORDER BY ALL"
    told = query(shop.published, journeys)
    with duckdb.connect(str(shop.warehouse)) as connection:
        for table, column in lacking:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    assert materialize(shop, "2023-06").success
    for table, column in lacking:
        months = f"SELECT DISTINCT month FROM {table} WHERE {column} IS NOT NULL"
        assert query(shop.published, months) == [(date(2023, 6, 1),)], table
    assert query(shop.published, journeys) == told


def test_checks_stand_in_the_instance_with_their_month_and_figures(shop, materialize):
    result = materialize(shop, "2023-03")
    evaluations = {found.check_name: found for found in result.get_asset_check_evaluations()}
    assert len(evaluations) >= 12
    for evaluation in evaluations.values():
        if (
            evaluation.asset_key.to_user_string() != "model_validation"
        ):  # the shop is small, and its figures may break their limits
            assert evaluation.passed, evaluation
        assert evaluation.partition == "2023-03"
        assert any(name.startswith("observed/") for name in evaluation.metadata), evaluation
    assert evaluations["raw_equals_accepted_plus_rejected"].metadata["observed/accepted"].value > 500
    assert evaluations["values_within_valid_range"].metadata["expectations"].records
