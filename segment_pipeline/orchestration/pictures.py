"""A chart in the metadata of an asset.

Dagster shows Markdown inline only below 1,000 characters, so a picture is one click away; the key figures, and a line
of block characters, stand inline beside it.
"""

import base64

import dagster as dg


def picture(chart: str, says: str) -> dg.MarkdownMetadataValue:
    """The chart, SVG text, as Markdown with an image in it; `says` is what it shows, for who cannot see it."""
    from segment_pipeline.charts import on_paper

    image = base64.b64encode(on_paper(chart).encode()).decode()
    return dg.MetadataValue.md(f"![{says}](data:image/svg+xml;base64,{image})")
