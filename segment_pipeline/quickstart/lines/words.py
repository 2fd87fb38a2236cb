"""Words and codes by which exports say that a line is no sale, in the languages in which shops export.

Here: what is looked for in the texts of a column, and in its name. Not here: what is made of it (states.py).
Every list is a place to begin to look; what is said of the lines, their amounts say as well.
"""

from segment_pipeline.column_names import words_of
from segment_pipeline.sources.text.guests import one_of


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


# --- what texts say -----------------------------------------------------------------------------------------------

UNDONE = one_of(r"""
    cancel|return(ed|s|\b|$)|refund|void|charge_?back|reject|declined|denied|failed|pending|draft|abandon|on-hold|dispute
    credit.?(note|memo|adj)|^credit$|un-?paid|not.?paid|uncollect|expired|no.?show|revers(al|ed)|pay.?out|withdraw
    write.?off|written off|\bquot(e|ation)s?\b|pro.?forma|closed.?lost|^lost$|\btest\b|sandbox|awaiting.?payment
    prospecting|qualification|qualifiedtobuy|negotiat|appointment.?scheduled|presentation.?scheduled|decision.?maker
    contract.?sent|proposal|^estimate$|^deleted$|not.?attending|overdue|past.?due
    storn|korrektur|correction|rectificat|retour|retur\b|erstattet|widerruf|gutschrift|unbezahlt|abgelehnt|abgebrochen|fehlgeschlagen|rucksendung
    ruckgabe|zuruckge|entwurf|^angebot|ausstehend|kreditnot|creditnota|creditering|krediter|geweigerd|mislukt
    avbruten|aterbetal|makulera|kansell|annuller|slettet|peruttu|peruutet|palautet|hyvity|luonnos
    annul|anulad|anulat|rembours|reembols|rimbors|devuelt|devol|rechazad|fallid|pendiente|borrador|\babono
    nota de credito|note de credit|nota di credito|\bavoir\b|brouillon|refusee?$|echou|impaye|en attente|\breso\b
    a vencer|em atraso
    restituit|bozza|rifiutat|in attesa|estorn|pendente|rascunho|recusad|ramburs|respins|presupuesto|preventivo
    zwrot|zwroc|anulowan|odwolan|niezaplac|korekt|odrzucon|zrusen|vracen|dobropis|vrateno|otkazan|preklican
    отмен|возвра|аннулир|отказ|не оплач|неоплач|черновик|скасован|поверн|анулир|върнат|сторно|отклон|ожида
    torolt|torolv|visszaru|visszater|sztorn|tuhista|tagasta|atsauk|grazin|atcelt|ακυρ|επιστρ|πιστωτικ|iptal|\biade
    キャンセル|取消|取り消し|取り下げ|返品|返金|無効|赤伝|未払|未入金|保留|退款|退货|退貨|作废|作廢|关闭|關閉
    未付款|待付款|취소|환불|반품|미결제|결제대기|실패|ยกเลิก|คืนเงิน|คืนสินค้า|รอชำระ
    batal|pengembalian|gagal|\bhuy\b|da huy|đã hủy|hoan (tien|tra|hang)|tra hang|trả hàng
    ملغ|إلغاء|مرتجع|مسترد|לא שולם|בוטל|מבוטל|החזר|זיכוי|रद्द|वापस|لغو
""")
"""What a text says of a line that was cancelled, came back, or has not come about; without accents, but in scripts that
have none."""

NOT_UNDONE = (
    r"^(no|not|non|un|never|nicht|kein\w*|sans|sin|geen|brak|нет|не|未)[ _-]*"
    "(cancel|return|refund|storn|retour|void|charge)"
)
"""What says that nothing of it has happened: not refunded."""

DONE = one_of(r"""
    complet|paid\b|shipped|deliver|closed|success|fulfil|process|captur|settle|accept|approv|confirm|\bdone\b|finish
    \bsold\b|\bsales?\b|\bwon\b|invoice|\bok\b|active|attend|\bnew\b|\bopen|check(ed)?.?(in|out)|order|purchase|normal
    verkauf|bezahlt|versand|versendet|geliefert|abgeschlossen|erledigt|rechnung|neu$|offen$|livre|pay[eé]|termin
    expedi|vente|factur|pagad|pago|entregad|enviad|complet|venta|spedit|consegnat|pagat|vendit|evas|fattur|verzonden
    betaald|geleverd|voltooid|verkoop|zrealiz|wyslan|oplacon|zaplacon|dostarcz|sprzeda|faktur|skickad|levererad
    betald|betalt|sendt|levert|toimitet|maksettu|valmis|odeslan|zaplacen|dorucen|vyrizen|dokonc|kifizet|teljesit
    kiszallit|оплачен|доставлен|выполнен|заверш|отправлен|продаж|ολοκληρ|πληρωμ|απεσταλ|odendi|tamamlan|teslim|satis
    完了|出荷済|入金済|発送済|支払済|売上|已完成|已付款|已发货|已收货|交易成功|完成|已出貨|已付|완료|배송|결제완료
    สำเร็จ|ชำระแล้ว|จัดส่ง|selesai|dikirim|lunas|hoan thanh|da giao|مكتمل|مدفوع|הושלם|שולם
    renewal|new business|existing business
""")
"""What a text says of a line that is a sale, or on its way to be one."""

NO_SALE_KINDS = one_of(r"""
    pledge|soft.?credit|redemption|redeem|expir(y|ation)|^((page|product|item).?)?views?$|\bcart\b|wish.?list
    ^view.?(item|product|content|cart)|basket|purchase.?(inv|order|bill|cred|return|journal)|\bbills?\b|supplier
    vendor|acc.?pay|spendenzusage|einlosung
    verfall|warenkorb|merkzettel|eingangsrechnung|einkauf|kreditor|lieferant|promesse|panier|fournisseur|facture d.achat
    promesa|carrito|proveedor|factura de compra|canje|caducidad|carrello|fornitor|fattura (passiva|d.acquisto)|promessa
    carrinho|fornecedor|nota de compra|resgate|winkelwagen|leverancier|inkoop|koszyk|dostawc|zakup|leverantor|inkop
    закуп|поставщик|поступление товар|корзин|просмотр|購入請求|仕入|カート|閲覧|采购|採購|购物车|浏览|매입|장바구니|조회
""")
"""What the kind of a line says of one that is a step before a sale, a promise, points that went, or a purchase of one's
own; without accents."""

DOCUMENTS = {
    "payment": one_of(r"""
        pay.?ments?\b|\breceipts?\b|tender|zahlung|quittung|paiement|reglement|\bpago\b|\bcobro|pagament|incasso|betaling
        platnosc|wplata|inbetalning|оплат|платеж|поступление дс|入金|収納|收款|付款|결제|입금
    """),
    "delivery": one_of(r"""
        fulfil|deliver|shipment|shipping|dispatch|lieferung|lieferschein|livraison|entrega|albaran|consegna|\bddt\b
        levering|pakbon|dostaw|wydanie|leverans|отгруз|доставк|накладн|出荷|納品|发货|發貨|출고|배송
    """),
    "line": one_of(r"""
        \blines?\b|\bitems?\b|position|zeile|ligne|linea|linha|\bregel\b|pozycja|rad$|строк|позици|明細|明细|품목
    """),
    "order": one_of(r"""
        order|auftrag|bestell|commande|pedido|ordine|encomenda|zamowieni|заказ|注文|受注|订单|訂單|주문
    """),
    "invoice": one_of(r"""
        invoice|rechnung|factur|fattur|fatura|faktur|nota fiscal|счет|請求|发票|發票|세금계산서|청구
    """),
    "sale": one_of(r"""
        \bsales?\b|\bsold\b|\bpurchase|verkauf|\bkauf|vente|achat|\bventa|\bcompra|vendita|acquist|\bvenda|verkoop|sprzeda
        forsalj|продаж|реализац|покупк|売上|販売|销售|銷售|매출|판매
    """),
}
"""Kind of document -> how the type of a line calls it; the first of them that it calls is meant: a sales order is an
order. One sale may be told by each of them; without accents."""
STAYS = ("invoice", "sale", "order", "line", "delivery", "payment")
"""Which of these stays where all tell the same sales, the likeliest first."""

RETURN_CODES = _set_of("""
    C CN CRN CR CM CRM CRED CREDIT SC SCN SCR SR ARC ACCRECCREDIT R RE RET RTN RF RFD RFND REF RFN RMA VOID VD V X
    STO ST GS GU GUT G2 S1 S2 AV AVO NC NCR ABO DEV RC ZW KOR FK FKOR H UN CX CXL CAN CANC
""")
SALE_CODES = _set_of("""
    INV I IN SI S SA SL SLS SALE SALES F F1 F2 ZF2 RG RECH FA FAC FV FS TA OR ARI ACCREC D DB DR N NORM OK PAID P
""")
"""Codes of documents that are commonly returns or credits, and those of sales. None means the same everywhere."""

YES = _set_of("""
    1 true t yes y x ja j oui o si sí s sim tak ano igen evet e да д はい 是 예 on wahr vrai vero verdadero kyllä jes ✓
""")
NO = _set_of("""
    0 false f no n nein non nao não nie ne nem hayır hayir h нет н いいえ 否 아니오 off falsch faux falso ei nee nej nei
""")

# --- how columns are called ---------------------------------------------------------------------------------------

UNDONE_NAME = one_of(r"""
    cancel|return(ed|s|_|$)|refund|void|charge_?back|reject|storn|retour|widerruf|gutschrift|erstatt|annul|anulad
    devol|devuelt|rembours|reembols|rimbors|zwrot|anulowan|zrusen|iptal|iade|отмен|возвра|取消|キャンセル|disput
    makuler|kreditfaktur|kreditnot|annull|avbrut|peruttu|сторно|аннулир|пометка_удал|ملغ|בוטל
    返品|返金|退款|退货|退貨|作废|취소|환불|반품|ยกเลิก|delet|geloscht|loekz|fksto|abgru|ungultig|invalid|credit_?note
""")
TEST_NAME = r"(^|_)(is_)?(test|tests|testing|demo|sandbox|dummy|fake|internal|testbestellung|test_?mode)(_|$)"
KEPT_NAME = (
    r"(^|_)(is_)?(paid|captured|valid|success|successful|completed|confirmed|posted|livemode|live_mode|bezahlt|gultig"
    "|gebucht|payee?|pagad[oa]|pagat[oa]|betald|betaald|betalt|oplacone|zaplaceno|проведен|оплачен[оа]?|入金済|支払済|已付款)$"
)
"""How columns are called that say yes of what was undone, of what is no sale but a test, and of what is one."""

_STATUS = _set_of("""
    status statut state estado etat stato stav stan tila allapot durum статус состояние 状态 狀態 状態 ステータス 상태
    สถานะ κατασταση حالة סטטוס stare stage zustand situacao situacion tilstand olek busena stadium trang
""")
_TYPE = _set_of("""
    type typ tipo art soort rodzaj druh tip tur тип вид 種別 区分 類型 类型 유형 구분 ประเภท loai kind belegart
    vorgangsart buchungsart auftragsart rechnungsart umsatzart fkart auart vbtyp blart shkzg bwart kennzeichen kz tcode
    trantype doctype operation vorgang
""")
_OF_ANOTHER = _set_of("""
    pay zahl card karte customer kund client user member product item artikel produkt ship deliver versand liefer
    address device account price tax discount vat currency location store channel ticket room plan subscription
    employee vendor supplier billing_state marital email phone fulfil
""")


def says_what_state(name: str) -> str:
    """Whether a column is called a "status" of an order, or a "type" of a document; "" where neither."""
    words = words_of(name)
    joined = "_".join(words)
    if any(other in joined for other in _OF_ANOTHER):
        return ""
    if any(_is_called(word, words, joined) for word in _STATUS):
        return "status"
    return "type" if any(_is_called(word, words, joined) for word in _TYPE) else ""


def _is_called(word: str, words: tuple[str, ...], joined: str) -> bool:
    return word in words if word.isascii() else word in joined


GIVEN_BACK = one_of("""
    refund|erstatt|rembours|reembols|rimbors|terugbeta|återbetal|aterbetal|zwrot|возвра|返金|退款|환불|iade|vracen|devoluci
""")
REDUCED = one_of("""
    discount|rabatt|rabat|remise|descuento|desconto|sconto|korting|скидк|割引|値引|折扣|优惠|優惠|할인|indirim|slev[ay]
    kedvezm|alennus|popust|reducere|nachlass|gutschein|coupon|voucher|promo
""")
PERCENT_NAME = r"%|percent|prozent|pct|porcent|pourcent|\brate\b|satz"
"""How columns are called whose amounts were given back, or taken off before a customer paid; and where in per cent."""
