"""`segment-pipeline name`: the name stands in the user's file, the rest of it as it was."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config
from segment_pipeline.config.yaml_text import load_located, with_value

NAME = ("segments", 3, "name")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1  # one\n#segments: {}\nb: 2\n", 'a: 1  # one\nsegments: {3: {name: "New"}}\nb: 2\n'),
        ("a: 1\n\n# the end\n", 'a: 1\n\n# the end\nsegments: {3: {name: "New"}}\n'),
        ("segments: {}  # none\n", 'segments: {3: {name: "New"}}  # none\n'),
        ("segments:  # none\nb: 2\n", 'segments: {3: {name: "New"}}  # none\nb: 2\n'),
        ("segments: {1: {role: casual}}\n", 'segments: {3: {name: "New"}, 1: {role: casual}}\n'),
        ("segments: {3: {role: casual}}\n", 'segments: {3: {name: "New", role: casual}}\n'),
        ("segments: {3: {name: 'Old'}}  # ours\n", 'segments: {3: {name: "New"}}  # ours\n'),
        (
            "segments:\n  # families\n  1:\n    name: One  # first\nb: 2\n",
            'segments:\n  # families\n  3: {name: "New"}\n  1:\n    name: One  # first\nb: 2\n',
        ),
        (
            "segments:\n  3:\n    role: casual  # rare\n",
            'segments:\n  3:\n    name: "New"\n    role: casual  # rare\n',
        ),
        ("segments:\n  3:\n    name: Old name  # ours\n", 'segments:\n  3:\n    name: "New"  # ours\n'),
    ],
)
def test_a_value_is_written_where_it_belongs_and_every_comment_stays(before: str, after: str) -> None:
    assert with_value(before, NAME, '"New"') == after
    assert load_located(after).value["segments"][3]["name"] == "New"


@given(
    st.dictionaries(
        st.integers(0, 9),
        st.fixed_dictionaries({}, optional={"name": st.text("ab #:'", min_size=1), "role": st.just("casual")}),
        max_size=4,
    ),
    st.sampled_from([None, True, False]),
)
def test_whatever_the_mapping_looks_like_only_the_one_name_changes(segments: dict, flow: bool | None) -> None:
    before = {"first": 1, "segments": segments, "last": {"x": [1, 2]}}
    text = yaml.safe_dump(before, default_flow_style=flow, sort_keys=False)
    after = yaml.safe_load(with_value(text, NAME, '"New"'))
    before["segments"] = segments | {3: segments.get(3, {}) | {"name": "New"}}
    assert after == before


def test_a_name_is_written_and_the_next_run_of_a_month_uses_it(commands, copy, capsys):
    before = copy.config_path.read_text(encoding="utf-8")
    (segment_id, *_), *_ = copy_segments(copy)
    assert main(["name", str(segment_id), "Größte: #1", "--config", str(copy.config_path)]) == 0
    assert "is called Größte: #1 from the next month on" in capsys.readouterr().out
    config = load_config(copy.config_path)
    assert config.segments[segment_id].name == "Größte: #1"
    after = copy.config_path.read_text(encoding="utf-8")
    assert [line for line in before.splitlines() if line not in after.splitlines()] in ([], ["#segments: {}"])
    ended = commands.run(copy, "--months", "2023-05", "--force")
    assert ended.code == 0, ended.err
    assert (segment_id, "Größte: #1") in copy_segments(copy)


def test_an_unknown_segment_or_a_name_that_another_has_changes_nothing(copy, capsys):
    (first, _), (second, _), *_ = copy_segments(copy)
    assert main(["name", str(first), "Ours", "--config", str(copy.config_path)]) == 0
    written = copy.config_path.read_bytes()
    assert main(["name", "999", "Theirs", "--config", str(copy.config_path)]) == 2
    assert f"found 999; allowed: a segment of the latest month: {first} " in capsys.readouterr().err
    assert main(["name", str(second), "ours", "--config", str(copy.config_path)]) == 2
    assert "a name of its own" in capsys.readouterr().err
    (_, theirs) = next(pair for pair in copy_segments(copy) if pair[0] not in (first, second))
    assert main(["name", str(second), theirs, "--config", str(copy.config_path)]) == 2
    assert "a name of its own" in capsys.readouterr().err
    assert copy.config_path.read_bytes() == written


def test_before_the_first_run_there_is_nothing_to_name(shop, capsys):
    assert main(["name", "1", "Ours", "--config", str(shop.config_path)]) == 1
    assert "Run first: segment-pipeline run" in capsys.readouterr().err


def copy_segments(shop) -> list[tuple[int, str]]:
    import duckdb

    with duckdb.connect(str(shop.published), read_only=True) as connection:
        return connection.execute("SELECT segment_id, name FROM current_profiles ORDER BY segment_id").fetchall()
