"""What the name of a column suggests, in the languages in which shops export.

Here: words that columns are called by, and what each hints at. Not here: any decision. A name is where one begins to
look; what a column is, its values say.
"""

import re
import unicodedata
from functools import cache

RECENCY = re.compile(r"recency|since|last|dormant|inactiv", re.IGNORECASE)
FREQUENCY = re.compile(
    r"frequen|orders|purchases|transactions|visits|sessions|bookings|(n|num|number|count|total)_?(of_?)?"
    r"(order|purchase|transaction|visit|invoice|booking)|(order|purchase|transaction|visit|invoice|booking)s?_?count",
    re.IGNORECASE,
)
RATIO = re.compile(r"average|avg|mean|per_|_per|rate|ratio|share|percent|value", re.IGNORECASE)
MONEY = re.compile(
    r"spend|spent|amount|revenue|sales|value|price|monetary|umsatz|turnover|basket|aov|ltv", re.IGNORECASE
)

MEASURE = re.compile(
    r"income|salary|einkommen|gehalt|betrag|limit|balance|saldo|debt|points|punkte|miles|steps|days|tage|minutes|hours|"
    r"seconds|weight|distance|score",
    re.IGNORECASE,
)
"""What else than recency, frequency and money is measured, and may well have as many digits for every customer."""

POSTAL = re.compile(r"(^|[^a-z])(plz|postleitzahl|zip|zip_?code|post_?code|postal|postal_?code)([^a-z]|$)")
PHONE = re.compile(r"(^|[^a-z])(tel|tel_?no|phone|phone_?(no|number)|telephone|telefon|telefonnummer|fax)([^a-z]|$)")
YEAR = re.compile(r"(^|[^a-z])(year|year_?of_?birth|birth_?year|yob|jahr|geburtsjahr|jahrgang)([^a-z]|$)")
GROWS = re.compile(
    r"(^|[^a-z])(tenure|member_?since|account_?age|customer_?age|months_?on_?book|length_?of_?membership|days_?since_?"
    r"(first|sign_?up|registration|register(ed)?|join(ed|ing)?|enrol(led|ment)?|customer_?since))([^a-z]|$)"
)
COORDINATE = re.compile(r"(^|[^a-z])(lat|latitude|lon|lng|longitude|breitengrad|l(ä|ae)ngengrad)([^a-z]|$)")

# Of a term with up to three letters, or with "=" before it, the whole word has to be the term; of one of four the
# beginning or the end of a word; of a longer one any part, for in many languages words grow together: Kundennummer.
_TERMS = {
    "customer": (
        "customer =cust client member =account =acct household shopper buyer guest subscriber patient donor kunde "
        "debitor klient klant kund kunder clie acheteur adherent abonne acquirente comprador cliente nabywca asiakas "
        "utente socio constituent sold_to bill_to_id card_holder loyalty consumer contractor kontrahent besteller kunnr"
    ),
    "person": (
        "user person contact email mail e_mail visitor phone telefon name nombre nom nome naam nazwa nazwisko namn "
        "billing_address correo courriel who"
    ),
    "order": (
        "order invoice basket transaction =trans =txn receipt purchase bestell rechnung =bill ticket booking auftrag "
        "beleg =bon commande facture panier achat pedido orden factura compra boleta =venta ordine fattura scontrino "
        "bestelling factuur zamowieni faktura paragon encomenda fatura =nota ordre kvitto check charge checkout =sale "
        "=zam =doc document belnr vbeln"
    ),
    "product": (
        "product =item =items sku article artikel upc ean stock_code stockcode asin produkt produit producto prodotto "
        "lineitem variant material matnr description articulo articolo produto vare isbn =plu"
    ),
    "date": (
        "date time datum timestamp =day =at =on =ts when =data =jour =dia =giorno =dzien =dato =dag fecha =data "
        "created =month heure =hora =zeit =tag =termin placed posted budat erdat"
    ),
    "total": (
        "amount total =totals revenue sales spend spent turnover betrag umsatz summe gesamt montant importe monto "
        "=importo totale bedrag totaal kwota wartosc =suma belopp summa beloeb =valor value wert payment =paid gross "
        "=net brutto netto =ca valeur omzet beloop charged subtotal grand sum =amt kwota przychod total_amt dmbtr "
        "netwr slutpris"
    ),
    "price": "price preis =prix precio prezzo =prijs =cena =pris preco =rate =unit einzel",
    "cost": "=cost =costs kosten",
    "extra": (
        "freight shipping delivery discount tax =taxes =vat mwst coupon =fee =fees =tip =tips refund rabatt versand "
        "steuer =frais =port remise =tva taxe =envio descuento =iva impuesto spedizione sconto imposta korting "
        "verzend =btw rabat dostaw podatek frakt =moms frete desconto margin commission balance points weight gewicht "
        "compare handling duties outstanding profit discounts gutschein zoll provision"
    ),
    "quantity": (
        "quantity =qty =units =count menge anzahl stueck stuck quantite cantidad quantita =pezzi aantal ilosc "
        "=sztuk =antal quantidade =pieces =pcs =qte =cant =st hoeveelheid kwmeng"
    ),
    "count": (
        "installment sequential sequence =items articulos articles produkte products =lines =number_of position "
        "raten =seq =rank =index =times =visits #_of =guests =covers =pax"
    ),
    "id": (
        "=id =ids =no =nr =num number nummer numero =numer =code =key =hash =uuid =guid =ref reference =# =nummer "
        "=identifier =kod =codigo =codice =identifiant =numer =n"
    ),
    "place": (
        "store =shop branch filiale tienda magasin negozio winkel sklep =loja seller vendor merchant employee cashier "
        "terminal channel warehouse supplier lieferant website =till register kasse employee staff device point_of"
    ),
    "trait": (
        "group gruppe type =typ =tier segment length tenure membership_len since preference accepts marketing "
        "newsletter opt_in optin consent status state city =zip country postcode postal street address gender =age "
        "level class category kategori title company language currency method note tags terms province region land "
        "=ort stadt strasse ville ciudad pays estado region source payment_type subscribed"
    ),
    "later": (
        "paid updated shipped fulfilled delivered due birth expir cancel refund signup sign_up registered registration "
        "joined since modified changed processed approved estimated last_ next_ geburt returned closed completed "
        "liefer versand wysylk envio livraison"
    ),
    "whole": "grand gesamt =total =totale =totaal =summe order_total total_amount",
    "part": "subtotal =net netto tax_base =sub",
}


_WITH_TAX = re.compile(
    r"(^|_)(inc|incl|including|excl?|excluding|with|without|before|after|inkl|ttc|ht)_?(tax|vat|mwst)"
)


_CENTS = {"cent", "cents", "pence", "minor", "centimes", "centimos", "centavos", "centesimi", "grosze", "groszy"}


@cache
def hints_of(name: str) -> frozenset[str]:
    """What the words of a name hint at: keys of the table above, none or several."""
    words = words_of(name)
    joined = "_".join(words)
    found = {kind for kind, terms in _TERMS.items() if any(_holds(term, words, joined) for term in terms.split())}
    if _WITH_TAX.search(joined):
        found.discard("extra")
    if any(word.endswith("mail") for word in words):
        found.discard("trait")  # an e-mail address is no address
    return frozenset(found)


def words_of(name: str) -> tuple[str, ...]:
    """Zahlungsart ID -> zahlungsart, id; invoiceNo -> invoice, no; zamówienia -> zamowienia."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"\b[aA]/[cC]\b", "account", name))
    plain = unicodedata.normalize("NFKD", apart.lower().replace("ß", "ss").replace("ł", "l").replace("ø", "o"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(re.findall(r"[^\W_]+|#", letters))


def called_in_cents(name: str) -> bool:
    """Whether a name says that numbers are cents, or what another currency has a hundred of: amount_cents."""
    words = set(words_of(name))
    return bool(words & _CENTS) and "per" not in words


def _holds(term: str, words: tuple[str, ...], joined: str) -> bool:
    if "_" in term:
        return term.strip("=") in joined
    if term.startswith("=") or len(term) <= 3:
        return term.lstrip("=") in words
    if len(term) == 4:
        return any(word.startswith(term) or word.endswith(term) for word in words)
    return any(term in word for word in words)
