"""Exports of systems, by their public descriptions, with lines that are no sales: of each column that says so a
sentence, and of no other."""

from collections.abc import Mapping

import duckdb
import pytest

from segment_pipeline.errors import QuestionError
from segment_pipeline.quickstart.csv_table import read_table
from segment_pipeline.quickstart.lines.no_sales import lines_that_count
from segment_pipeline.quickstart.roles import Hints
from segment_pipeline_tests.quickstart.exports import cell, lines
from segment_pipeline_tests.quickstart.reading import as_csv, table_of

# name of the system -> its columns, each "header: what is in it", the customer, the amount, and what is told of. A ~
# has the usual value, the other, and on which line of how many that is
EXPORTS: Mapping[str, tuple[str, str, str, str]] = {
    "business central ledger": (
        "Entry No.: entry | Posting Date: us | Document Type: ~Invoice/Credit Memo/11 | Document No.: number "
        "| Customer No.: person | Customer Name: person | Description: Order | Currency Code: empty | Amount:"
        " total | Remaining Amount: 0.00 | Due Date: later | Open: No",
        "Customer No.",
        "Amount",
        "Document Type",
    ),
    "netsuite": (
        "Internal ID: entry | Date: us | Type: ~Invoice/Credit Memo/12 | Document Number: number | Name: "
        "person | Account: 4000 Sales | Memo: empty | Amount: total | Status: ~Paid In Full/Open/5",
        "Name",
        "Amount",
        "Type",
    ),
    "squarespace": (
        "Order ID: number | Email: email | Financial Status: ~PAID/REFUNDED/14 | Paid at: time | Fulfillment "
        "Status: FULFILLED | Currency: EUR | Subtotal: total | Shipping: freight | Taxes: tax | Amount "
        "Refunded: 0.00 | Total: total | Discount Amount: 0.00 | Created at: time | Lineitem quantity: pieces"
        " | Cancelled at: @time/15 | Billing Name: person",
        "Email",
        "Total",
        "Financial Status, Cancelled at",
    ),
    "gumroad": (
        "Purchase ID: charge | Item Name: name | Buyer Name: person | Purchase Email: email | Purchase Date: "
        "day | Purchase Time (UTC time): clock | Subtotal ($): net | Taxes ($): tax | Sale Price ($): total |"
        " Fees ($): freight | Refunded?: ~0/1/13 | Partial Refund ($): 0.0 | Fully Refunded?: ~0/1/13 | "
        "Disputed?: ~0/1/50 | Free trial purchase?: 0",
        "Buyer Name",
        "Subtotal ($)",
        "Refunded?, Fully Refunded?, Disputed?",
    ),
    "adyen": (
        "Company Account: Ex | Merchant Account: Ex | Psp Reference: charge | Merchant Reference: number | "
        "Payment Method: visa | Booking Date: time | TimeZone: CET | Main Currency: EUR | Main Amount: total "
        "| Record Type: ~Settled/Refunded/12 | Payment Currency: EUR | Shopper Reference: person",
        "Shopper Reference",
        "Main Amount",
        "Record Type",
    ),
    "braintree": (
        "Transaction ID: code | Transaction Type: ~sale/credit/12 | Transaction Status: "
        "~settled/gateway_rejected/17 | Created Datetime: us time | Settlement Date: us | Currency ISO Code: "
        "USD | Amount Authorized: total | Order ID: number | Customer ID: person | Customer Email: email | "
        "Refunded Transaction ID: empty",
        "Customer ID",
        "Amount Authorized",
        "Transaction Type, Transaction Status",
    ),
    "loyverse": (
        "Date: time | Receipt number: number | Receipt type: ~Sale/Refund/12 | Gross sales: total | "
        "Discounts: ?discount | Net sales: net | Taxes: tax | Total collected: total | Cost of goods: net | "
        "Payment type: Cash | Description: name | Store: Main | Cashier name: Anna | Customer name: person | "
        "Status: Closed",
        "Customer name",
        "Total collected",
        "Receipt type",
    ),
    "lexware": (
        "Belegnummer: number | Belegtyp: ~Rechnung/Rechnungskorrektur/12 | Belegdatum: german | Kundennummer:"
        " person | Name: person | Status: ~bezahlt/storniert/20 | Betrag (brutto): comma | Währung: EUR",
        "Kundennummer",
        "Betrag (brutto)",
        "Belegtyp, Status",
    ),
    "jtl": (
        "Auftragsnummer: number | Auftragsdatum: german | Kundennummer: person | Artikelnummer: sku | Menge: "
        "pieces | VK Brutto: price | Rabatt %: ?percent | Storno: ~0/1/15 | Plattform: JTL-Shop | "
        "Versandland: DE",
        "Kundennummer",
        "VK Brutto",
        "Storno, VK Brutto",
    ),
    "1c": (
        "Номер: number | Дата: german time | Проведен: ~Да/Нет/15 | Вид операции: ~Реализация товаров/Возврат"
        " от покупателя/12 | Контрагент: person | Валюта: руб | Сумма: comma",
        "Контрагент",
        "Сумма",
        "Проведен, Вид операции",
    ),
    "yahoo japan": (
        "注文ID: number | 注文日時: time | 注文ステータス: ~5/4/12 | 支払いステータス: ~1/0/20 | "
        "会員ID: person | 商品コード: sku | 個数: "
        "pieces | 合計金額: value",
        "会員ID",
        "合計金額",
        "注文ステータス, 支払いステータス",
    ),
    "taobao": (
        "订单编号: number | 买家会员名: person | 买家实际支付金额: total | 订单状态: ~交易成功/交易关闭/12 | "
        "订单创建时间: time | 退款金额: 0.00 | "
        "宝贝标题: name",
        "买家会员名",
        "买家实际支付金额",
        "订单状态",
    ),
    "mercado libre": (
        "Número de venta: number | Fecha de venta: french | Estado: ~Entregado/Cancelada por el comprador/12 "
        "| Comprador: person | SKU: sku | Unidades: pieces | Ingresos por productos (EUR): value | "
        "Anulaciones y reembolsos (EUR): ?back | Cargo por venta: freight",
        "Comprador",
        "Ingresos por productos (EUR)",
        "Estado, Anulaciones y reembolsos (EUR)",
    ),
    "allegro": (
        "Numer zamówienia: number | Data zakupu: day | Kupujący: person | Status: ~Wysłane/Anulowane/12 | "
        "Oferta: sku | Liczba sztuk: pieces | Cena: price | Rodzaj dokumentu: ~FV/KOR/25",
        "Kupujący",
        "Cena",
        "Status, Rodzaj dokumentu",
    ),
    "superstore": (
        "Row ID: entry | Order ID: code | Order Date: us | Ship Date: us | Ship Mode: Second Class | Customer"
        " ID: person | Customer Name: person | Segment: Consumer | Country: United States | City: Town | "
        "State: ~Texas/Utah/6 | Product ID: sku | Sales: value | Quantity: pieces | Discount: ?share | "
        "Profit: tax | Returned: ~/Yes/12",
        "Customer ID",
        "Sales",
        "Returned",
    ),
    "northwind": (
        "OrderID: number | CustomerID: person | EmployeeID: store | OrderDate: time | RequiredDate: later | "
        "ShippedDate: later | Freight: freight | ProductID: sku | UnitPrice: price | Quantity: pieces | "
        "Discount: ?share",
        "CustomerID",
        "UnitPrice",
        "Discount",
    ),
    "zoho books": (
        "Invoice Date: day | Invoice ID: code | Invoice Number: number | Invoice Status: ~Closed/Void/12 | "
        "Customer ID: person | Customer Name: person | Is Inclusive Tax: false | Due Date: later | Currency "
        "Code: USD | Item Name: name | Quantity: pieces | Item Price: price | Item Total: value | SubTotal: "
        "net | Total: total | Balance: 0.00 | Discount Amount: 0.00",
        "Customer ID",
        "Item Total",
        "Invoice Status",
    ),
    "fortnox": (
        "Fakturanr: number | Kundnr: person | Fakturadatum: day | Förfallodatum: later | Totalt: comma | "
        "Valuta: SEK | Makulerad: ~Nej/Ja/15 | Kreditfaktura: ~Nej/Ja/12",
        "Kundnr",
        "Totalt",
        "Makulerad, Kreditfaktura",
    ),
    "bling": (
        "Número do pedido: number | Data: french | Situação: ~Atendido/Cancelado/12 | ID contato: person | "
        "Nome do contato: person | Valor total: comma | Desconto: ?discount comma | Código (SKU): sku",
        "Nome do contato",
        "Valor total",
        "Situação",
    ),
    "holded": (
        "Número: ^F/AB/12 | Fecha: french | Tipo: ~Factura/Abono/12 | Cliente: person | NIF: person | Base "
        "imponible: comma net | Total: comma | Estado: ~Pagado/Pendiente/9",
        "Cliente",
        "Total",
        "Tipo, Estado",
    ),
    "sage 50 audit trail": (
        "No: entry | Type: ~SI/SC/12 | A/C: person | N/C: 4000 | Date: french | Ref: number | Details: Goods "
        "| Net: net | Tax: tax | Paid: ~Y/N/9 | Deleted: ~/Y/40",
        "A/C",
        "Net",
        "Type, Paid, Deleted",
    ),
}
ONE_LINE_AN_ORDER = {
    "business central ledger",
    "netsuite",
    "squarespace",
    "gumroad",
    "adyen",
    "braintree",
    "loyverse",
    "lexware",
    "1c",
    "taobao",
    "fortnox",
    "bling",
    "holded",
    "sage 50 audit trail",
}
LEDGER = "Journal: SAJ | Entry Date: day | Account: 4000 | Reference: number | Partner: person | Balance: negative"


def written(columns: str, *, once: bool) -> str:
    headers = [column.rsplit(": ", 1) for column in columns.split(" | ")]
    comma = "comma" in columns
    chosen = [line for line in lines() if not once or line["line"] == 1]
    rows = [[_cell(what, i, line, comma=comma) for _, what in headers] for i, line in enumerate(chosen)]
    return as_csv([header for header, _ in headers], rows)


def _cell(what: str, i: int, line: Mapping[str, object], *, comma: bool) -> str:
    total = float(str(line["total"]))
    if what[0] in "~^@":
        usual, other, every = f"{what[1:]}".split("/") if what[0] != "@" else ("", *what[1:].split("/"))
        value = other if i % int(every) == 3 else usual
        if what[0] == "^":
            return f"{value}{500_000 + int(str(line['order']))}"
        return cell(value, line, comma=comma) if value and what[0] == "@" else value
    made = {
        "entry": f"{10_000_000 + 7 * i}",
        "german time": f"{line['at']:%d.%m.%Y %H:%M:%S}",
        "comma net": f"{total / 1.19:.2f}".replace(".", ","),
        "negative": f"{-total:.2f}",
        "?discount": f"{total / 10 if i % 4 == 1 else 0:.2f}",
        "?discount comma": f"{total / 10 if i % 4 == 1 else 0:.2f}".replace(".", ","),
        "?percent": "10" if i % 4 == 1 else "0",
        "?share": "0.2" if i % 4 == 1 else "0",
        "?back": f"{-total if i % 12 == 3 else 0:.2f}",
    }
    return made[what] if what in made else cell(what, line, comma=comma)


@pytest.mark.parametrize("name", EXPORTS)
def test_each_column_that_tells_of_no_sales_is_told(write, name):
    columns, customer, amount, told_of = EXPORTS[name]
    path = write("export.csv", written(columns, once=name in ONE_LINE_AN_ORDER))
    with duckdb.connect() as connection:
        table = read_table(connection, path, Hints())
        told = lines_that_count(connection, table).warnings
    assert (table.customer_id, table.orders.amount) == (customer, amount)
    sentences = [one for one in told if not one.startswith("to leave out all of these")]
    assert len(sentences) == len(told_of.split(", ")), told
    for column, sentence in zip(told_of.split(", "), sentences, strict=True):
        assert sentence.startswith((f"{column}:", f"{column!r}:", f"{column!r} is taken"))
        assert "--where" in sentence or "--amount" in sentence


def test_a_ledger_without_an_amount_that_is_called_so_is_no_file_of_customers(write):
    path = write("ledger.csv", written(LEDGER, once=True))
    with pytest.raises(QuestionError, match="is a row a customer, or an order"):
        table_of(path)
    table = table_of(path, customer_id="Partner", date="Entry Date", amount="0 - Balance")
    assert table.orders.amount == "0 - Balance"
