"""How people and programs write numbers and money: the SQL that reads them, and what it says of the currency.

Here: marks of decimals and thousands, signs, currencies, in text. Not here: which mark a column has, which its values
decide (quickstart/columns.py).
"""

from segment_pipeline.database.quoting import literal
from segment_pipeline.sources.text.dates import DIGITS

CURRENCIES = {
    "€": "EUR",
    "$": "USD",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "₺": "TRY",
    "₽": "RUB",
    "₩": "KRW",
    "₪": "ILS",
}
CURRENCIES |= {"฿": "THB", "₫": "VND", "₴": "UAH", "₱": "PHP", "円": "JPY", "元": "CNY", "원": "KRW"}
CURRENCIES |= {"R$": "BRL", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD"}
CURRENCIES |= {"NT$": "TWD", "S$": "SGD", "MX$": "MXN", "US$": "USD", "RP": "IDR", "RM": "MYR"}
_CURRENCY_CODE = (
    "USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|NZD|HKD|SGD|TWD|KRW|THB|IDR|MYR|PHP|VND|HUF|RON|BGN|ISK"
    "|TRY|TL|RUB|UAH|ILS|AED|SAR|EGP|ZAR|BRL|MXN|ARS|CLP|COP|kr|Fr|Ft|Rp|RM|Rs"
)
_CURRENCY_WORD = "zł|kč|руб|грн|лв"
_DOLLARS = r"\b[A-Z]{1,2}\$"
"""US$ and R$: with these letters before it another dollar than that of the United States, or no dollar at all."""

_SIGNS_OF_MONEY = "".join(sign for sign in CURRENCIES if len(sign) == 1)
_BESIDE_DIGITS = "|".join([*(code for code in _CURRENCY_CODE.split("|") if len(code) == 3), "kr", "Ft", "Rp"])
"""Codes that are one without a blank, too: 100EUR, -Rp10.000; with others ids begin and end, as RM100."""
_MONEY = (
    *(_DOLLARS, f"[{_SIGNS_OF_MONEY}]", rf"(?i:\b({_CURRENCY_CODE})\b)", f"(?i:{_CURRENCY_WORD})"),
    rf"\b(?:{_BESIDE_DIGITS}|Rs)\.?",
    rf"(?:{_BESIDE_DIGITS})\.?$",
)
_DEBITED, _CREDITED = r"(?i:dr\.?$)", r"(?i:cr\.?)"
"""Behind a number, as books in India have it: what is credited has the other sign."""
_SIGNS = "|".join(
    ["[\\s\\x{00A0}\\x{2009}\\x{202F}'’]", *(f"{said}\\.?" if "?i" in said else said for said in _MONEY), _DEBITED]
)
NUMBER = {
    ".": r"[+-]?(\d+|\d{1,3}(,\d{3})+|\d{1,2}(,\d\d)+,\d{3})?(\.\d*)?([eE][+-]?\d+)?%?",  # 12,34,567.00 in India
    ",": r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][+-]?\d+)?%?",
}
PLAIN_NUMBER = {".": r"[+-]?\d+(\.\d+)?", ",": r"[+-]?\d+(,\d+)?", "whole": r"[+-]?\d+"}


def number_sql(value: str, decimal: str) -> str:
    """An expression of text as a double; NULL where it is no number. decimal : the mark, "." or ","."""
    bare = bare_number(value)
    plain = f"replace({bare}, ',', '')" if decimal == "." else f"replace(replace({bare}, '.', ''), ',', '.')"
    number = f"TRY_CAST(rtrim({plain}, '%') AS DOUBLE)"
    share = f"CASE WHEN {bare} LIKE '%\\%' ESCAPE '\\' THEN {number} / 100 ELSE {number} END"
    spelled = f"CASE WHEN regexp_full_match({bare}, {literal(NUMBER[decimal])}) THEN {share} END"
    if decimal == ",":
        return spelled
    # most files are plain, and a cast is ten times quicker than what recognises the others
    return f"coalesce(TRY_CAST({value} AS DOUBLE), {spelled})"


def bare_number(value: str) -> str:
    """Without currency, blanks and apostrophes; (12.50) is an accountant's -12.50, 12.50- that of a mainframe, and
    12.50 Cr that of a ledger. A typeset minus is one."""
    plain = f"translate({value}, {literal('−–' + DIGITS[0])}, {literal('--' + DIGITS[1])})"
    signs = f"regexp_replace({plain}, {literal(_SIGNS)}, '', 'g')"
    return f"regexp_replace({signs}, '^(?:\\((.+)\\)|(.+)(?:-|{_CREDITED}))$', '-\\1\\2')"


def currency_of(text: str) -> str:
    """An expression of the text of an amount as what it says of its currency, as it stands there; "" where nothing."""
    return f"regexp_extract({text}, {literal('|'.join(_MONEY))})"
