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

# In scripts other than Latin a term is any part of a name, for many have no blanks between words; with "=" before it
# it is a whole word there too.
#
# Of a term with up to three letters, or with "=" before it, the whole word has to be the term; of one of four the
# beginning or the end of a word; of a longer one any part, for in many languages words grow together: Kundennummer.
_TERMS = {
    "customer": (
        "customer =cust client member =account =acct household shopper buyer guest subscriber patient donor kunde "
        "debitor klient klant kund kunder clie acheteur adherent abonne acquirente comprador cliente nabywca kupuj "
        "partner purchaser auftraggeber asiakas utente socio constituent sold_to bill_to_id card_holder loyalty "
        "consumer contractor kontrahent "
        "profile_id profile_no =ffp frequent_flyer msisdn borrower pembeli =cpf =rut =dni to_pt "
        "besteller kunnr kunag kunrg kunre kunwe musteri alıcı zakaznik odberatel vevo ugyfel pelanggan khach =party "
        "клиент покупател "
        "заказчик контрагент πελατ 顧客 会員 得意先 客户 客戶 顾客 买家 買家 会员 會員 고객 회원 구매자 ลูกค้า สมาชิก "
        "عميل לקוח"
    ),
    "person": (
        "user person contact email mail e_mail visitor phone telefon name nombre nom nome naam nazwa nazwisko namn "
        "passenger billing_address correo courriel who =particulars имя фио почта телефон 氏名 名前 姓名 "
        "メール 邮箱 이름 ชื่อ"
    ),
    "order": (
        "order invoice basket transaction =trans =txn receipt purchase bestell rechnung =bill ticket booking "
        "auftrag beleg =bon commande facture panier achat pedido orden factura compra boleta =venta ordine fattura "
        "scontrino bestelling factuur zamowieni faktura paragon encomenda fatura =nota ordre kvitto check charge "
        "checkout =sale =vch =zam =doc document belnr vbeln siparis objednavk rendeles szamla pesanan voucher "
        "заказ чек накладн παραγγελ 注文 受注 伝票 订单 訂單 주문 สั่งซื้อ ใบเสร็จ don_hang hoa_don طلب فاتورة הזמנה"
    ),
    "product": (
        "product =item =items sku article artikel upc ean stock_code stockcode asin produkt produit producto "
        "prodotto lineitem variant material matnr description articulo articolo produto vare isbn =plu urun zbozi "
        "termek товар артикул προιον 商品 品番 产品 產品 상품 제품 สินค้า"
    ),
    "date": (
        "date time datum timestamp =day =at =on =ts when =data =jour =dia =giorno =dzien =dato =dag fecha created "
        "=month =period heure =hora =zeit =tag =termin placed posted budat erdat fkdat audat bldat tarih tanggal ngay "
        "дата время ημερομηνι 日付 日時 注文日 受注日 購入日 日期 时间 時間 날짜 일자 일시 주문일 วันที่ تاريخ תאריך"
    ),
    "total": (
        "amount total =totals revenue sales spend spent turnover betrag umsatz summe gesamt montant importe monto "
        "=importo totale bedrag totaal kwota wartosc =suma belopp summa beloeb =valor value wert payment =paid "
        "gross =net brutto netto =ca valeur omzet beloop charged subtotal grand sum =amt przychod total_amt dmbtr "
        "netwr slutpris tutar toplam castka osszeg сумм итог стоимост =ποσο συνολ 金額 合計 総額 売上 金额 合计 "
        "总额 总价 금액 합계 총액 매출 ยอด จำนวนเงิน المبلغ סכום ingreso tong_tien thanh_tien so_tien"
    ),
    "price": (
        "price preis =prix precio prezzo =prijs =cena =pris preco =rate =unit einzel fiyat цена τιμη 単価 価格 单价 "
        "价格 價格 단가 가격 ราคา"
    ),
    "cost": "=cost =costs kosten",
    "extra": (
        "refund reembols rembours rimbors erstatt zwrot возвра 返金 退款 환불 "
        "freight shipping delivery discount tax =taxes =vat mwst coupon =fee =fees =tip =tips refund rabatt versand "
        "steuer =frais =port remise =tva taxe =envio descuento =iva impuesto spedizione sconto imposta korting "
        "verzend =btw rabat dostaw podatek frakt =moms frete desconto margin commission balance points weight "
        "gewicht compare handling duties outstanding profit discounts gutschein zoll provision kargo =kdv indirim "
        "скидк доставк 送料 消費税 运费 運費 折扣 배송비 할인 ส่วนลด"
    ),
    "quantity": (
        "quantity =qty =units =count menge anzahl stueck stuck quantite cantidad quantita =pezzi aantal ilosc "
        "=sztuk =antal quantidade =pieces =pcs =qte =cant =st hoeveelheid kwmeng =adet miktar mnozstvi mennyiseg "
        "колич ποσοτητ 数量 數量 수량 كمية כמות"
    ),
    "count": (
        "installment sequential sequence =items articulos articles produkte products =lines =number_of position "
        "raten =seq =rank =index =times =visits #_of =guests =covers =pax"
    ),
    "id": (
        "=id =ids =no =nr =num number nummer numero =numer =code =key =hash =uuid =guid =ref reference =# =nummer "
        "=identifier =kod =codigo =codice =identifiant =n cislo =szam =kodu номер =код αριθμ κωδικ 番号 コード 编号 "
        "編號 번호 코드 รหัส เลขที่ رقم =ma"
    ),
    "place": (
        "manager =owner =rep =agent betreuer vertreter verkaeufer vendeur store =shop branch filiale tienda magasin "
        "negozio winkel sklep =loja seller vendor merchant employee cashier terminal channel warehouse supplier "
        "lieferant website =till register kasse staff device point_of magaza магазин 店舗 店铺 매장 สาขา"
    ),
    "trait": (
        "group gruppe type =typ =tier segment length tenure membership_len since preference accepts marketing "
        "newsletter opt_in optin consent status state city =zip country postcode postal street address gender =age "
        "level class category kategori title company language currency method note tags terms province region land "
        "=ort stadt strasse ville ciudad pays estado source payment_type subscribed =durum статус 状態 状态 狀態 "
        "상태 都道府県 город"
    ),
    "later": (
        "paid updated shipped fulfilled delivered due birth expir cancel refund signup sign_up registered "
        "registration joined since modified changed processed approved estimated last_ next_ geburt returned closed "
        "service_end period_end "
        "completed liefer versand wysylk envio livraison 発送 出荷 发货 出貨 배송일"
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
    words = _without_sales(words_of(name))
    words = tuple(word for i, word in enumerate(words) if word not in _PARTY or words[i + 1 : i + 2] != ("to",))
    joined = "_".join(words)
    found = {kind for kind, terms in _TERMS.items() if any(_holds(term, words, joined) for term in terms.split())}
    if _BUYERS & set(words):
        found.discard("order")
    if _WITH_TAX.search(joined):
        found.discard("extra")
    if any(word.endswith("mail") for word in words) or "メール" in name:
        found -= {"trait", "order"}  # an e-mail address is no address, and that of an order is of who placed it
    return frozenset(found)


_APART = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[\u0e00-\u0fff\u2e80-\u9fff\uac00-\ud7a3])(?=[A-Za-z])")
_BUYERS = {"comprador", "compradora", "besteller", "purchaser", "auftraggeber"}
"""Who buys, in words that have an order in them."""
_PARTY = {"bill", "ship", "sold", "sell", "invoice", "deliver"}
"""Words that say of a customer for what: bill-to is no bill."""
_NUMBERED = {"id", "no", "nr", "num", "number"}
_SOLD = {"order", "invoice", "document", "doc", "receipt", "record", "transaction", "ticket"}


def _without_sales(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without one that is no amount beside the next: SalesOrderNumber is an order, sales_id a sale."""
    following = dict(enumerate(words[1:]))
    said = ["sale" if word == "sales" and following.get(i) in _NUMBERED else word for i, word in enumerate(words)]
    return tuple(word for i, word in enumerate(said) if not (word == "sales" and following.get(i) in _SOLD))


def words_of(name: str) -> tuple[str, ...]:
    """Zahlungsart ID -> zahlungsart, id; invoiceNo -> invoice, no; zamówienia -> zamowienia."""
    apart = _APART.sub(" ", re.sub(r"\b[aA]/[cC]\b", "account", name))
    return tuple(re.findall(r"[^\W_]+|#", _plain(apart)))


def _plain(text: str) -> str:
    """In lower case and without accents; what a script writes above or below a letter falls away with them."""
    plain = unicodedata.normalize(
        "NFKD", text.lower().replace("ß", "ss").replace("ł", "l").replace("ø", "o").replace("đ", "d")
    )
    return "".join(letter for letter in plain if not unicodedata.category(letter).startswith("M"))


def called_in_cents(name: str) -> bool:
    """Whether a name says that numbers are cents, or what another currency has a hundred of: amount_cents."""
    words = set(words_of(name))
    return bool(words & _CENTS) and "per" not in words


def is_another_party(name: str) -> bool:
    """Whether a name says that it is who pays, or to whom it is sent, which need not be who ordered: Ship-to, KUNWE."""
    joined = "_".join(words_of(name))
    return re.search(r"(bill|ship|invoice|deliver)_to|payer|kunrg|kunre|kunwe|consignee|recipient", joined) is not None


def _holds(term: str, words: tuple[str, ...], joined: str) -> bool:
    if "_" in term:
        return term.strip("=") in joined
    if not term.isascii() and not term.startswith("="):
        return _plain(term) in joined
    if term.startswith("=") or len(term) <= 3:
        return term.lstrip("=") in words
    if len(term) == 4:
        return any(word.startswith(term) or word.endswith(term) for word in words)
    return any(term in word for word in words)
