"""A chart in the metadata of an asset.

Dagster shows Markdown inline only below 1,000 characters, so a picture is one click away; the key figures, and a line
of block characters, stand inline beside it.
"""

import base64
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    import altair as alt


def picture(chart: "alt.TopLevelMixin | str", says: str) -> dg.MarkdownMetadataValue:
    """The chart as Markdown with a PNG in it; `says` is what it shows, for who cannot see it."""
    from segment_pipeline.charts import png

    return markdown_of(png(chart), says)


def markdown_of(png: bytes, says: str) -> dg.MarkdownMetadataValue:
    """A picture that is drawn already."""
    return dg.MetadataValue.md(f"![{says}](data:image/png;base64,{base64.b64encode(png).decode()})")
