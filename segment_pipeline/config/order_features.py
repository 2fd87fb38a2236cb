"""The features that a source of order lines can give."""

from collections.abc import Mapping

ORDER_FEATURES: Mapping[str, str] = {
    "days_since_last_order": "days from the last order to as_of",
    "orders": "orders in the window",
    "total_spend": "sum of the amounts in the window",
    "average_order_value": "total_spend divided by orders",
    "products_per_order": "different products in an order, on average; needs source.orders.product_id",
    "distinct_products": "different products in the window; needs source.orders.product_id",
    "tenure_days": "days from the first order ever to as_of",
    "days_between_orders": "days from the first order in the window to as_of, divided by orders",
}
"""The features that a source of order lines can give, with what each is."""


PRODUCT_FEATURES = frozenset({"products_per_order", "distinct_products"})
