"""The one partition object that every monthly asset and every check of it shares.

Two objects that are merely equal would do for Dagster's assets, but a reader should not have to compare them.
"""

import dagster as dg

from segment_pipeline.months import as_of, month_key
from segment_pipeline.orchestration.settings import location_config

_config = location_config()

# A key exists once its month is closed: `2017-03` appears at the first instant of April.
monthly_partitions = dg.MonthlyPartitionsDefinition(
    start_date=month_key(_config.first_month),
    end_date=None if _config.last_month is None else month_key(as_of(_config.last_month)),
    fmt="%Y-%m",
)
