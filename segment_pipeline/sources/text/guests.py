"""Under which names shops keep the orders of people who left none.

Here: the names, in the languages in which shops export, and whether a text is one. Not here: which texts of a file
stand for nobody (quickstart/lines/nobody.py), and who of a month may (sources/over_time/values.py).
"""

import re
import unicodedata


def one_of(patterns: str) -> str:
    """One pattern of several, on lines of their own."""
    return "|".join(line.strip() for line in patterns.strip().splitlines())


_GUESTS = one_of(r"""
    guests?|guest checkout|not logged in|gast|invite|invitado|ospite|gosc|anonym\w*|unbekannt|undefined|\(not set\)
    no.?name|no customer|without customer|ohne kunde|kein kunde|sin cliente|walk.?in\w*|walk.?up|passer.?by|default web
    over.?the.?counter|general public|one.?time|unregistered|non.?member|various customers
    laufkund(e|en|in|schaft)|barverkauf|barkunde|tageskunde|thekenkunde|einmalkunde|cpd|sammelkonto
    client (de passage|comptoir|divers|particulier|anonyme|occasionnel)|clients? divers|vente comptoir
    consumidor final|publico (en )?general|cliente (mostrador|generico|final|ocasional|anonimo|varios|contado)
    ventas? (de )?mostrador|mostrador|cliente (padrao|nao identificado)|nao identificado|cliente (occasionale|banco)
    corrispettivi|vendita al banco|(losse|contante|diverse) (klant|verkoop)(en)?|passanten|kontant(kund|salg|kunde)?
    klient detaliczny|sprzedaz detaliczna|drobny zakaznik|розничный (покупатель|клиент)|физ\.? ?лицо|частное лицо
    розница|гость|аноним|perakende|nihai tuketici|pesin musteri|muhtelif|λιανικη|πελατης λιανικης
    散客|零售客户|零售客戶|现金客户|現金客戶|匿名|游客|訪客|现金|現金|一般客|一般顧客|ゲスト|非会員|店頭|現金客
    비회원|일반고객|현금|ลูกค้าทั่วไป|ลูกค้าเงินสด|khach le|khach vang lai|pelanggan umum|عميل نقدي|نقدي|לקוח מזדמן|מזדמן
""")
"""Under which names shops keep the orders of people who left none; without accents."""
PERHAPS_NOBODY = one_of(r"""
    counter|till|default|misc\w*|general|generic|house|shop|various|individual|casual|retail|cash|pos|dummy|sundry
    divers\w*|occasional|banco|paragon|contado|privato|n\.?n\.?|otc|detal|umum|tunai|comptoir|passant\w*
""")
"""The same, of names that are somebody's unless many orders are under them."""
_SOMEBODY = "customers?|clients?|sales?|shoppers?|accounts?|buyers?|users?|orders?|checkout|debtor|person|kunden?|klant"
"""What may stand behind such a name: walk-in customer, cash sale."""

SURELY_NOBODY = f"({_GUESTS})([ _-]*({_SOMEBODY}))?|({PERHAPS_NOBODY})[ _-]*({_SOMEBODY})"
"""A text that is one of these names, in lower case and without accents."""


def is_called_nobody(text: str) -> bool:
    """Whether a text, as it is written, is a name that stands for nobody."""
    lower = text.strip().lower()
    plain = "".join(one for one in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(one))
    return any(re.fullmatch(SURELY_NOBODY, one) is not None for one in (lower, plain))
