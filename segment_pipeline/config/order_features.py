"""The features that a source of order lines can give: each is one declaration, from which everything else follows.

What follows: the names that a configuration may use and what they need of the source, the SQL that computes them, their
units in every profile, the words of segment names and of sentences about a customer, what `quickstart` and `init`
propose, and the table in docs/configuration.md. To add a feature, declare it in `_DECLARED`, write down its values in
`BY_HAND` of segment_pipeline_tests/sources/test_sources.py, then `make docs`. Whoever else needs to know one by name
asks for the part that it plays.

Here: text only. Not here: how the SQL is run (sources/sources.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

CURRENCY = "currency"
"""The unit of what is in money: which one it is, only the user's file can say."""

Part = Literal["recency", "frequency", "monetary", "order_value", "gap"]
"""What a single feature is for, beyond being one: recency and frequency give segments their roles, `monetary` says what
a customer is worth, or frequency times `order_value` where it is not there, and beside the usual `gap` of a customer a
silence is long or short."""

Better = Literal["higher", "lower"]
"""Which values of a feature are good news for who sells; None where that is nobody's to say."""


@dataclass(frozen=True)
class Words:
    """How people speak of a feature. traits : what a segment is whose mean is far below, below, above, far above the
    population's. deed : what a customer did, with {} for the figure (and the currency); deed_of_one where it is 1."""

    traits: tuple[str, str, str, str]
    deed: str
    deed_of_one: str


@dataclass(frozen=True)
class OrderFeature:
    """One number of every customer, as it stood at the end of a month.

    over : what `sql` aggregates, the customer's rows of one of four relations: the `orders` of the window (order_id,
        ordered_at of the first line, amount, products: how many different ones), its `lines` (order_id, ordered_at,
        amount, product_id), its `categories` (category, NULL for what has none, and spend, at least 0 each), or the
        `history`, which is all lines before the end of the month.
    sql : an aggregate expression over them in DuckDB's dialect; $as_of is the day after the month.
    unit : of the values; CURRENCY where they are money. resolution : the step in which they come, in that unit.
    definition : what it is, exactly; meaning : a sentence that a marketer understands.
    needs : optional keys of `source.orders` without which it is NULL, and may not be configured.
    plays : the part that the pipeline gives this feature; every part is played by exactly one.
    better : see `Better`.
    transform, lowest : where a file to start from is written without data to look at.
    of_nothing : the value of a customer without an order in the window, NULL where there is none.
    costly : worth its time only where the configuration names it; NULL elsewhere, and never proposed.
    """

    name: str
    over: Literal["orders", "lines", "categories", "history"]
    sql: str
    unit: str
    resolution: float
    definition: str
    meaning: str
    words: Words
    needs: tuple[str, ...] = ()
    plays: Part | None = None
    better: Better | None = None
    transform: str = "log1p"
    lowest: float = 0.0
    of_nothing: float | None = None
    costly: bool = False

    @property
    def is_money(self) -> bool:
        return self.unit == CURRENCY

    @property
    def in_full(self) -> str:
        """The definition, and what it needs of the source."""
        needs = " and ".join(f"source.orders.{key}" for key in self.needs)
        return f"{self.definition}; needs {needs}" if needs else self.definition

    def lacks(self, given: Collection[str]) -> list[str]:
        """The keys of `source.orders` that it needs and that are not among those given."""
        return [key for key in self.needs if key not in given]


_DECLARED = (
    OrderFeature(
        name="days_since_last_order",
        over="orders",
        sql="date_diff('day', CAST(max(ordered_at) AS DATE), $as_of)",
        unit="days",
        resolution=1.0,
        definition="days from the last order to as_of",
        meaning="How many days before the end of the month the customer last ordered.",
        words=Words(
            traits=("very recent", "recent", "quiet", "long silent"),
            deed="last ordered {} days ago",
            deed_of_one="last ordered {} day ago",
        ),
        plays="recency",
        better="lower",
    ),
    OrderFeature(
        name="orders",
        over="orders",
        sql="count(*)",
        unit="orders",
        resolution=1.0,
        definition="orders in the window",
        meaning="How many orders the customer placed in the window.",
        words=Words(
            traits=("very infrequent", "infrequent", "frequent", "very frequent"),
            deed="placed {} orders",
            deed_of_one="placed {} order",
        ),
        plays="frequency",
        better="higher",
        lowest=1.0,
        of_nothing=0.0,
    ),
    OrderFeature(
        name="total_spend",
        over="orders",
        sql="sum(amount)",
        unit=CURRENCY,
        resolution=0.01,
        definition="sum of the amounts in the window",
        meaning="How much the customer spent in the window.",
        words=Words(
            traits=("very low spend", "low spend", "high spend", "very high spend"),
            deed="spent {}",
            deed_of_one="spent {}",
        ),
        plays="monetary",
        better="higher",
        of_nothing=0.0,
    ),
    OrderFeature(
        name="average_order_value",
        over="orders",
        sql="sum(amount) / count(*)",
        unit=CURRENCY,
        resolution=0.01,
        definition="total_spend divided by orders",
        meaning="How much the customer spends on an order, on average.",
        words=Words(
            traits=("very small baskets", "small baskets", "big baskets", "very big baskets"),
            deed="spent {} an order",
            deed_of_one="spent {} an order",
        ),
        plays="order_value",
        better="higher",
    ),
    OrderFeature(
        name="products_per_order",
        over="orders",
        sql="sum(products) / count(*)",
        unit="products",
        resolution=0.01,
        definition="different products in an order, on average",
        meaning="How many different products the customer puts into an order, on average.",
        words=Words(
            traits=("very few products", "few products", "many products", "very many products"),
            deed="bought {} products an order",
            deed_of_one="bought {} product an order",
        ),
        needs=("product_id",),
        better="higher",
    ),
    # the one that cannot be had from orders: a product may be in several of them
    OrderFeature(
        name="distinct_products",
        over="lines",
        sql="count(DISTINCT product_id)",
        unit="products",
        resolution=1.0,
        definition="different products in the window",
        meaning="How many different products the customer bought in the window.",
        words=Words(
            traits=("very narrow range", "narrow range", "wide range", "very wide range"),
            deed="bought {} different products",
            deed_of_one="bought {} product",
        ),
        needs=("product_id",),
        better="higher",
        of_nothing=0.0,
        costly=True,
    ),
    OrderFeature(
        name="tenure_days",
        over="history",
        sql="date_diff('day', CAST(min(ordered_at) AS DATE), $as_of)",
        unit="days",
        resolution=1.0,
        definition="days from the first order ever to as_of",
        meaning="How many days before the end of the month the customer first ordered.",
        words=Words(
            traits=("very new", "new", "long-standing", "very long-standing"),
            deed="first ordered {} days ago",
            deed_of_one="first ordered {} day ago",
        ),
    ),
    OrderFeature(
        name="days_between_orders",
        over="orders",
        # the gap that is still open counts, so that a customer of one order has a value too
        sql="date_diff('day', CAST(min(ordered_at) AS DATE), $as_of) / count(*)",
        unit="days",
        resolution=0.01,
        definition="days from the first order in the window to as_of, divided by orders",
        meaning="How many days pass between two orders, on average.",
        words=Words(
            traits=("very short gaps", "short gaps", "long gaps", "very long gaps"),
            deed="ordered every {} days",
            deed_of_one="ordered every {} day",
        ),
        plays="gap",
        better="lower",
    ),
    OrderFeature(
        name="categories",
        over="categories",
        sql="count(category)",
        unit="categories",
        resolution=1.0,
        definition="different categories bought from in the window",
        meaning="From how many different categories the customer bought in the window.",
        words=Words(
            traits=("very few categories", "few categories", "many categories", "very many categories"),
            deed="bought from {} categories",
            deed_of_one="bought from {} category",
        ),
        needs=("category",),
        better="higher",
        of_nothing=0.0,
    ),
    OrderFeature(
        name="category_concentration",
        over="categories",
        # squares of amounts have twice their decimals: the sum is exact
        sql="CAST(sum(CAST(CAST(spend AS DOUBLE) * CAST(spend AS DOUBLE) AS DECIMAL(38, 8))) AS DOUBLE) "
        "/ nullif(CAST(sum(spend) AS DOUBLE) * CAST(sum(spend) AS DOUBLE), 0)",
        unit="0..1",
        resolution=0.01,
        definition="sum of the squared shares of the spend in the window by category; 1 where all is of one",
        meaning="How much of the customer's spend is in few categories: 1 is all in one.",
        words=Words(
            traits=("very broad interests", "broad interests", "narrow interests", "very narrow interests"),
            deed="has a category concentration of {}",
            deed_of_one="bought from one category only ({})",
        ),
        needs=("category",),
        transform="logit",
    ),
)

ORDER_FEATURES: dict[str, OrderFeature] = {feature.name: feature for feature in _DECLARED}
"""By name, in the order in which people see them. Look a feature up where you use it."""


def _that_plays(part: Part) -> str:
    (name,) = (feature.name for feature in ORDER_FEATURES.values() if feature.plays == part)
    return name


RECENCY, FREQUENCY = _that_plays("recency"), _that_plays("frequency")
MONETARY, ORDER_VALUE = _that_plays("monetary"), _that_plays("order_value")
GAP = _that_plays("gap")


def better_of(feature: str) -> Better | None:
    """Which values of a feature of order lines are good news; None of any other."""
    return ORDER_FEATURES[feature].better if feature in ORDER_FEATURES else None
