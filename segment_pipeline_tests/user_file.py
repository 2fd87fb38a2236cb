"""The smallest files that a user can write, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from segment_pipeline.config.config import parse_config
from segment_pipeline.errors import ConfigError

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
