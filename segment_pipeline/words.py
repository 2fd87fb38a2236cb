"""Figures and features in plain words, for sentences that people read beside a table."""

_PHRASES = {
    "days_since_last_order": "last ordered {} days ago",
    "orders": "placed {} orders",
    "total_spend": "spent {}",
    "average_order_value": "spends {} an order",
    "products_per_order": "buys {} products an order",
    "distinct_products": "bought {} different products",
    "tenure_days": "first ordered {} days ago",
    "days_between_orders": "orders every {} days",
}
"""Feature of order lines -> what a customer with such a value did; other features are told by name and unit."""

_ONE = {"1 days": "1 day", "1 orders": "1 order", "1 products": "1 product", "1 different products": "1 product"}


def figure(value: float) -> str:
    """A figure with as many digits as a reader needs: 1,240; 84; 12.5; 0.031."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share, 0..1, in per cent; what is not all or nothing is not told as such."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def deed(feature: str, value: float, unit: str) -> str:
    """What a customer with this value did, as a verb and a figure in original units."""
    if feature in _PHRASES:
        money = f" {unit}" if feature in ("total_spend", "average_order_value") and unit else ""
        said = _PHRASES[feature].format(figure(value) + money)
    else:
        named = feature.replace("_", " ").strip()
        said = f"has {named} {figure(value)}" + (f" {unit}" if unit and unit != feature else "")
    for many, one in _ONE.items():
        said = said.replace(f" {many}", f" {one}")
    return said


def counted(customers: int) -> str:
    """A number of customers."""
    return f"{customers:,} customer" + ("" if customers == 1 else "s")


ROLE_WORDS = {"engaged": "engaged", "casual": "casual", "at_risk": "at risk", "dormant": "dormant"}


def readable(feature: str) -> str:
    return feature.replace("_", " ").strip() or feature


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
