"""Figures and features in plain words, for sentences that people read beside a table."""

from segment_pipeline.config.order_features import ORDER_FEATURES

_ONE_OF = {"days": "day", "orders": "order", "products": "product"}
"""Unit -> what one of it is called, where a feature is told by its unit."""


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
    """What a customer with this value did, as a verb and a figure in original units: as a feature of order lines is
    declared, any other by name and unit."""
    if feature in ORDER_FEATURES:
        declared, said = ORDER_FEATURES[feature], figure(value)
        money = f" {unit}" if declared.is_money and unit else ""
        return (declared.words.deed_of_one if said == "1" else declared.words.deed).format(said + money)
    said = f"has {readable(feature)} {figure(value)}" + (f" {unit}" if unit and unit != feature else "")
    for many, one in _ONE_OF.items():
        said = said.replace(f" 1 {many}", f" 1 {one}")
    return said


def counted(customers: int) -> str:
    """A number of customers."""
    return f"{customers:,} customer" + ("" if customers == 1 else "s")


ROLE_WORDS = {"engaged": "engaged", "casual": "casual", "at_risk": "at risk", "dormant": "dormant"}


def readable(feature: str) -> str:
    return feature.replace("_", " ").strip() or feature


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
