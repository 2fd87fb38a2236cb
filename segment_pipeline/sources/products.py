"""The categories of products that stand in a file of their own, beside the order lines."""

from dataclasses import dataclass

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.source import ProductsSource, resolve_source_path
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.expressions import (
    WHOLE_TYPES,
    bound,
    category_text,
    columns_of_ids_alone,
    expression_types,
    reading_failed,
    text_id,
)
from segment_pipeline.sources.files import Relation, open_files, open_table

CATEGORY = "category of the product"
"""The column of PRODUCTS; like its other one, called as no file calls its own: expressions over a row are not to find
two of a name."""
PRODUCT = "id of the product"
PRODUCTS = "source_products"


@dataclass(frozen=True)
class Products:
    """The file that gives products their categories, and the type of its ids. Its rows are in the temporary table
    PRODUCTS."""

    source: Relation
    kind: str

    def is_of(self, product_id: str, kind: str) -> str:
        """Whether a row of PRODUCTS is of the product of a line, whose id is such an expression of such a type: as
        text, unless both are whole numbers, which is quicker."""
        column = f"products.{identifier(PRODUCT)}"
        if WHOLE_TYPES.match(kind) and WHOLE_TYPES.match(self.kind):
            return f"{column} = ({product_id}\n)"
        return f"CAST({column} AS VARCHAR) = {text_id(product_id, kind)}"


def open_products(connection: duckdb.DuckDBPyConnection, config: Config, products: ProductsSource) -> Products:
    """Fill PRODUCTS with each product's category. Raises SourceError, also where a product has several."""
    given = {"product_id": products.product_id, "category": products.category}
    if products.path is None:
        source = open_table(connection, str(products.table), "source.products")
    else:
        path = resolve_source_path(products.path, config.path.parent)
        source = open_files(connection, path, columns_of_ids_alone(given, ("product_id",)), "source.products.path")
    of = bound(given, source)
    types = expression_types(connection, source, "source.products", of)
    as_it_is = WHOLE_TYPES.match(types["product_id"])
    product_id = f"({of['product_id']}\n)" if as_it_is else text_id(of["product_id"], types["product_id"])
    try:
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {PRODUCTS} AS
            SELECT {product_id} AS {identifier(PRODUCT)}, min({category_text(of["category"], types["category"])})
                AS {identifier(CATEGORY)}, max({category_text(of["category"], types["category"])}) AS another
            FROM {source.sql} AS source GROUP BY ALL
        """)
        several = connection.execute(
            f"SELECT {identifier(PRODUCT)}, {identifier(CATEGORY)}, another FROM {PRODUCTS} "
            f"WHERE another <> {identifier(CATEGORY)} ORDER BY ALL LIMIT 1"
        ).fetchone()
    except duckdb.Error as error:
        source.refuse_changed()
        raise reading_failed(source, "products", error) from error
    source.refuse_changed()
    if several is not None:
        raise SourceError(
            f"{source.path}: the product {several[0]} has several categories, such as {several[1]} and {several[2]}; "
            "expected one row per product. Deliver one category for each, or choose another column for "
            "source.products.category."
        )
    return Products(source, types["product_id"])
