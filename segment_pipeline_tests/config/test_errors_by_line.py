"""How a mistake in the user's file is reported: with its line, what was found and what is allowed."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import Config, load_config, parse_config, setting_docs
from segment_pipeline.config.yaml_text import load_located
from segment_pipeline.errors import ConfigError
from segment_pipeline_tests.user_file import ACTION, BASE, FILE, ORDERS, base_with, problem, problems

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
        ("model: {covariance: round}", "7: model.covariance: found 'round'; allowed: full, diagonal, tied, spherical"),
        (
            "model: {covariance: []}",
            "7: model.covariance: found []; allowed: full, diagonal, tied, spherical",
        ),
        ("model: {covariance: [tied, tied]}", "found ['tied', 'tied']; allowed: full, diagonal, tied, spherical, or a"),
        ("model: {covariance: [full, 3]}", "found ['full', 3]; allowed: full, diagonal, tied, spherical, or a list"),
        ("model: {covariance: {full: 1}}", "found a mapping; allowed: full, diagonal, tied, spherical, or a list"),
        # contradictions
        ("refit: {min_mean_max_probability: 0.99}", "allowed: a number below max_mean_max_probability (0.98)"),
        ("alignment: {survival: 0.2}", "7: alignment.split: found 0.3; allowed: a number below survival (0.2)"),
        ("tiers: {diffuse: 0.8}", "7: tiers.diffuse: found 0.8; allowed: a number below dominant (0.8)"),
        ("tiers: {hybrid_second: 0.6}", "found 0.6; allowed: a number, above 0 and at most 0.5"),
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
        ('output_dir: "a\\0b"', "7: output_dir: found the character U+0000, which is not seen"),
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
        ("name: shop", "name: shop\nmodel: {memory: 1}", "2: model.memory: found 1; allowed: true or false"),
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
        ("{name: visits", "{nam: visits", "6: features[0].nam: found an unknown key; allowed: name, "),
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
        ("a: 010\n", "1: a: found 010, which YAML takes for 8; allowed: digits alone, without a leading 0"),
        ("a: {b: [1, -0777]}\n", "1: a.b[1]: found -0777, which YAML takes for -511"),
        ("a: 1:30\n", "1: a: found 1:30, which YAML takes for 90"),
        ("a: 1:30:00.5\n", "1: a: found 1:30:00.5, which YAML takes for 5400.5"),
        ("a: 1_000\n", "1: a: found 1_000, which YAML takes for 1000"),
        ("a: 0b11\n", "1: a: found 0b11, which YAML takes for 3"),
        ("010: a\n", "1: found 010, which YAML takes for 8"),
        ("a: 1\n# \u202ename\nb: 2\n", "2: found the character U+202E, which turns the direction of writing"),
        ('a: "x\\u2066y"\n', "1: a: found the character U+2066, which is not seen; allowed: text without it"),
        ('a: "x\\e[31my"\n', "1: a: found the character U+001B, which is not seen"),
    ],
)
def test_what_is_not_yaml_is_reported_like_any_other_mistake(text: str, expected: str) -> None:
    assert any(expected in line for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    "text", ["0", "10", "-7", "0.5", ".5", "'010'", '"1:30"', "2017-03", "1-2", "_", "0x1F", "00:x"]
)
def test_numbers_and_text_that_read_alike_in_every_yaml_pass(text: str) -> None:
    assert load_located(f"a: {text}\n").value is not None


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
    "memory",
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
    "publish",
    "engine",
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
@given(
    st.sampled_from(
        [
            doc
            for doc in setting_docs()
            if "[]" not in doc.key and "<id>" not in doc.key and not isinstance(doc.default, bool)
        ]
    ),
    st.booleans(),
)
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


def test_the_whole_file_is_one_of_the_models_keys() -> None:
    assert set(SECTIONS) == set(Config.model_fields)
