"""Which user's file this code location serves.

Dagster imports the code location without arguments, so the file is named by an environment variable, as the command
line sets it; without one it is `data/segmentation.yaml` of the current folder, where `dagster dev` starts.
"""

import os
from functools import cache
from pathlib import Path

from segment_pipeline import __version__
from segment_pipeline.config.config import Config, load_config

CONFIG_VARIABLE = "SEGMENT_PIPELINE_CONFIG"
REPORTS_VARIABLE = "SEGMENT_PIPELINE_REPORTS_URL"
"""Where a browser finds the folder of reports; `segment-pipeline ui` serves it, a company may from its own server."""
DEFAULT_CONFIG = Path("data/segmentation.yaml")


def config_path() -> Path:
    """The user's file, absolute."""
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG).absolute()


def reports_url(page: str = "") -> str | None:
    """The address of a page of the reports, or of their list; None where nobody serves them."""
    served = os.environ.get(REPORTS_VARIABLE)
    return f"{served.rstrip('/')}/{page}" if served else None


def made_by() -> str:
    """Version of the code and hash of the settings, as 0.5.0+1f0c…: what was made by another, Dagster calls out of
    sync."""
    return f"{__version__}+{location_config().config_hash}"


@cache
def location_config() -> Config:
    """The user's file, read and validated. Raises ConfigError with every problem in it."""
    return load_config(config_path())
