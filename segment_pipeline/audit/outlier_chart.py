"""The picture of a month's unusual customers: two features, everybody in grey, each group in a colour and a shape."""

import io
import struct
import zlib

from segment_pipeline.audit.outliers import OutlierPoints

# Middle tones: each keeps a contrast of 3 or more on white as well as on near-black, and the background is transparent.
TEXT = "#7b828c"
ORDINARY = "#8f96a0"
COLOURS = ("#d9621e", "#2f86d1", "#1f9668", "#c2489c", "#8467d7", "#a87f0a", "#0e93a3", "#d13f4f")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")


def outlier_chart(points: OutlierPoints) -> bytes:
    """The chart as a PNG, legible on light and on dark pages."""
    import altair as alt
    import pandas as pd

    x, y = points.axes
    ordinary = pd.DataFrame(points.ordinary, columns=["x", "y"])
    names = [name for name, _ in points.groups]
    unusual = pd.concat(
        [pd.DataFrame(values, columns=["x", "y"]).assign(group=name) for name, values in points.groups if len(values)]
    )

    everybody = pd.concat([ordinary, unusual])

    def axis(column: str, title: str, logarithmic: bool) -> dict[str, object]:
        scale = alt.Scale(type="symlog" if logarithmic else "linear", zero=False)
        ticks = _logarithmic_ticks(float(everybody[column].max())) if logarithmic else alt.Undefined
        shown = alt.Axis(title=title, labelOverlap=True, tickCount=5, values=ticks)
        return {"field": column, "type": "quantitative", "axis": shown, "scale": scale}

    horizontal = alt.X(**axis("x", x, points.logarithmic[0]))
    vertical = alt.Y(**axis("y", y, points.logarithmic[1]))
    # more groups than colours: the last ones share, and are told apart by number
    palette = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(names))]
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=330, symbolSize=70)
    group = alt.Color("group:N", scale=alt.Scale(domain=names, range=palette), legend=legend)
    shape = alt.Shape("group:N", scale=alt.Scale(domain=names, range=shapes), legend=legend)
    crowd = (
        alt.Chart(ordinary).mark_point(size=10, filled=True, opacity=0.35, color=ORDINARY).encode(horizontal, vertical)
    )
    groups = (
        alt.Chart(unusual).mark_point(size=38, filled=True, opacity=0.85).encode(horizontal, vertical, group, shape)
    )
    chart = (
        (crowd + groups)
        .properties(
            width=560,
            height=340,
            background="transparent",
            title=alt.TitleParams(points.title, subtitle="grey: a sample of all customers", anchor="start"),
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=TEXT, titleColor=TEXT, domainColor=TEXT, tickColor=TEXT, gridColor=TEXT, gridOpacity=0.2
        )
        .configure_legend(labelColor=TEXT)
        .configure_title(color=TEXT, subtitleColor=TEXT)
    )
    picture = io.BytesIO()
    chart.save(picture, format="png", scale_factor=1.4)
    return _compressed(picture.getvalue())


def _logarithmic_ticks(largest: float) -> list[int]:
    """0, 1, 3, 10, 30, ... up to the largest value: of themselves, such axes have ticks at one end only."""
    return [0, *(step * 10**power for power in range(13) for step in (1, 3) if step * 10**power <= largest)]


def _compressed(png: bytes) -> bytes:
    """The same picture in a quarter of the bytes: the renderer compresses for speed, and this goes into a database."""
    parts, at = [png[:8]], 8
    pixels = b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IDAT":
            pixels += data
            continue
        if kind == b"IEND":
            parts.append(_chunk(b"IDAT", zlib.compress(zlib.decompress(pixels), 9)))
        parts.append(_chunk(kind, data))
    return b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
