"""The page that a marketer opens."""

import dagster as dg

from segment_pipeline.months import parse_month
from segment_pipeline.orchestration.metadata import as_list
from segment_pipeline.orchestration.monthly_asset import monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.orchestration.settings import location_config, reports_url
from segment_pipeline.publishing.assets import published_segments


def _opens(key: str, page: str = "") -> dict[str, dg.MetadataValue]:
    """A link that a browser follows, where the reports are served: of a link to a file it follows none."""
    url = reports_url(page)
    return {} if url is None else {key: dg.MetadataValue.url(url)}


@monthly_asset(
    "The month's report: one HTML file beside the published file, made from nothing else.",
    deps=[published_segments],
    kinds={"html"},
    metadata={
        "dagster/uri": (location_config().published_path.parent / "reports").as_uri(),
        **_opens("reports"),
    },
)
def segment_report(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.publishing.publish import reading
    from segment_pipeline.report.report import write_report

    # It writes nothing to the warehouse, so the month counts as finished once it is published: a report that fails is
    # made again by itself (`segment-pipeline report`), and costs no month.
    config = pipeline.config
    with reading(config.published_path) as connection:
        month, folder = parse_month(context.partition_key), config.published_path.parent
        report = write_report(connection, config.name, month, folder)
    return dg.MaterializeResult(
        metadata={
            **_opens("report", report.path.name),
            "path": dg.MetadataValue.path(str(report.path)),
            "size_bytes": report.size,
            "seconds": report.seconds,
            "summary": as_list(report.sentences),
        }
    )
