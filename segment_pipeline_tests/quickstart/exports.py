"""Exports as shops, payment services and ledgers write them, by their public descriptions: headers, and what is in each
column. The lines are made here, so that what is right is known."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

LINES = 1500
CUSTOMERS = 150

CUSTOMER, ORDER, DATE, AMOUNT, QUANTITY, PRODUCT = "customer", "order", "date", "amount", "quantity", "product"

# name of the export -> columns in their order, each "header: what is in it"; a star marks what plays the role
EXPORTS: Mapping[str, str] = {
    "shopify": (
        "Name: #order* | Email: email* | Financial Status: once paid | Paid at: once date | Accepts Marketing: "
        "once yes | Currency: once EUR | Subtotal: once total | Shipping: once freight | Taxes: once tax | Total: "
        "once total* | Discount Code: empty | Discount Amount: once 0.00 | Created at: time* | Lineitem quantity: "
        "pieces | Lineitem name: name | Lineitem price: price | Lineitem sku: sku* | Billing Name: once person | "
        "Billing Zip: once 12345 | Vendor: Example | Id: once number | Tags: empty | Receipt Number: empty | "
        "Phone: empty"
    ),
    "woocommerce": (
        "Order Number: number* | Order Status: wc-completed | Order Date: time* | Customer Note: empty | First "
        "Name (Billing): person | Company (Billing): empty | Postcode (Billing): 12345 | Email (Billing): email* |"
        " Payment Method Title: PayPal | Cart Discount Amount: 0.00 | Order Subtotal Amount: total | Order "
        "Shipping Amount: freight | Order Refund Amount: 0.00 | Order Total Amount: total | Order Total Tax "
        "Amount: tax | SKU: sku* | Item #: line | Item Name: name | Quantity (- Refund): pieces* | Item Cost: "
        "price* | Coupon Code: empty"
    ),
    "magento": (
        "ID: number* | Purchase Point: Main Store | Purchase Date: time* | Bill-to Name: person | Ship-to Name: "
        "person | Grand Total (Base): total | Grand Total (Purchased): euros* | Status: complete | Customer Email:"
        " email* | Customer Group: General | Subtotal: total | Shipping and Handling: 5.00 | Customer Name: person"
        " | Payment Method: checkmo | Total Refunded: 0.00"
    ),
    "amazon": (
        "amazon-order-id: number* | merchant-order-id: empty | purchase-date: zulu* | last-updated-date: later | "
        "order-status: Shipped | sales-channel: Amazon.de | product-name: name | sku: sku* | asin: B0000 | "
        "quantity: pieces | currency: EUR | item-price: value* | item-tax: tax | shipping-price: freight | "
        "buyer-email: email* | buyer-phone-number: empty"
    ),
    "olist items": (
        "order_id: number* | order_item_id: line | product_id: sku* | seller_id: store | shipping_limit_date: "
        "later | price: value* | freight_value: freight | customer_unique_id: person* | order_purchase_timestamp: "
        "time*"
    ),
    "olist payments": (
        "order_id: number* | customer_unique_id: person* | order_purchase_timestamp: time* | payment_sequential: 1"
        " | payment_type: credit_card | payment_installments: pieces | payment_value: total*"
    ),
    "stripe": (
        "id: charge* | Created (UTC): time* | Amount: total* | Amount Refunded: 0.00 | Currency: eur | Captured: "
        "true | Converted Amount: total | Decline Reason: empty | Description: Subscription | Fee: tax | Status: "
        "Paid | Card Last4: last4 | Customer ID: person* | Customer Email: email"
    ),
    "square": (
        "Date: day* | Time: clock | Category: Drinks | Item: name | Qty: pieces | SKU: sku* | Gross Sales: value* "
        "| Discounts: 0.00 | Tax: tax | Transaction ID: number* | Payment ID: charge | Device Name: Till | "
        "Location: store | Customer ID: person* | Customer Name: person"
    ),
    "etsy": (
        "Sale Date: us* | Order ID: number* | Buyer User ID: person* | Full Name: person | Number of Items: pieces"
        " | Date Shipped: us | Ship City: Town | Currency: EUR | Order Value: total | Shipping Discount: 0.00 | "
        "Shipping: freight | Sales Tax: tax | Order Total: total* | Card Processing Fees: tax | SKU: empty"
    ),
    "ebay": (
        "Sales Record Number: charge | Order Number: number* | Buyer Username: person | Buyer Email: email* | "
        "Buyer Note: empty | Ship To Zip: 12345 | Item Number: sku* | Item Title: name | Quantity: pieces | "
        "Shipping And Handling: freight | Seller Collected Tax: tax | Total Price: value* | Sale Date: day* | Paid"
        " On Date: day | Shipped On Date: later"
    ),
    "bigcommerce": (
        "Order ID: number* | Customer ID: person* | Customer Name: person | Customer Email: email | Order Date: "
        "day* | Order Status: Completed | Subtotal (inc tax): total | Tax Total: tax | Shipping Cost (inc tax): "
        "freight | Order Total (inc tax): total* | Total Quantity: pieces | Total Shipped: pieces | Coupon "
        "Details: empty"
    ),
    "prestashop": (
        "ID: number* | Référence: code | Nouveau client: 0 | Livraison: France | Client: person* | Total: total* |"
        " Paiement: Carte | État: Livré | Date: time*"
    ),
    "shopware": (
        "orderNumber: number* | customerNumber: person* | customerEmail: email | orderDateTime: time* | amountNet:"
        " net | amountTotal: total* | shippingTotal: freight | currencyIsoCode: EUR | stateMachineState: open"
    ),
    "paypal": (
        "Date: us* | Time: clock | TimeZone: CET | Name: person | Type: Payment | Status: Completed | Currency: "
        "EUR | Gross: total* | Fee: tax | From Email Address: email* | Transaction ID: charge* | Shipping Address:"
        " Street 1"
    ),
    "sap": (
        "VBELN: number* | POSNR: line | ERDAT: compact* | KUNNR: person* | MATNR: sku* | KWMENG: pieces | NETWR: "
        "value* | WAERK: EUR"
    ),
    "datev": (
        "Belegnummer: number* | Belegdatum: german* | Debitor: person* | Betrag: comma* | Währung: EUR | "
        "Steuerschlüssel: 9 | Buchungstext: Rechnung"
    ),
    "xero": (
        "*ContactName: person | EmailAddress: email* | *InvoiceNumber: number* | *InvoiceDate: us* | *DueDate: us "
        "| Description: name* | *Quantity: pieces | *UnitAmount: price | LineAmount: value* | TaxAmount: tax"
    ),
    "quickbooks": (
        "Invoice No: number* | Customer: person* | Invoice Date: us* | Due Date: us | Terms: Net 30 | Amount: "
        "total* | Balance: 0.00"
    ),
    "odoo": (
        "Order Reference: number* | Creation Date: time* | Customer: person* | Salesperson: Anna | Activities: "
        "empty | Company: Example | Total: total* | Status: Sales Order"
    ),
    "salesforce": (
        "Opportunity ID: number* | Account ID: person* | Account Name: person | Close Date: day* | Created Date: "
        "earlier | Stage: Closed Won | Amount: total* | Probability (%): 100 | Owner: Anna"
    ),
    "google analytics": (
        "Transaction ID: number* | Date: compact* | Client ID: person* | Source / Medium: google | Item revenue: "
        "value* | Item quantity: pieces"
    ),
    "online retail": (
        "InvoiceNo: number* | StockCode: sku* | Description: name | Quantity: pieces* | InvoiceDate: us time* | "
        "UnitPrice: price* | CustomerID: pointed* | Country: France"
    ),
    "klaviyo": (
        "Event: Placed Order | $event_id: code* | Timestamp: unix* | Profile ID: person* | Email: email | $value: "
        "total* | Item Count: pieces | Source Name: web | Campaign: empty"
    ),
    "hubspot": (
        "Record ID: number* | Deal Name: Renewal | Deal Stage: closedwon | Close Date: time* | Amount: total* | Deal "
        "owner: Anna | Associated Contact: person | Associated Contact IDs: person* | Last Activity Date: later"
    ),
    "lightspeed": (
        "Sale ID: number* | Completed: us* | Register: Till 1 | Customer Number: person* | Item: name* | System ID: "
        "sku | Qty: pieces | Retail: price | Subtotal: value | Discount: 0.00 | Tax: tax | Total: value*"
    ),
    "wix": (
        "Order number: number* | Date created: long day* | Contact email: email* | Item: name | Qty: pieces* | SKU: "
        "sku* | Price: price* | Refunded qty: 0 | Fulfillment status: Fulfilled | Shipping label: empty | Tip: 0.00"
    ),
    "cdnow": "customer: person* | date: compact* | pieces: pieces | spent: total*",
    "polish": "Nr klienta: person* | Nr zamówienia: number* | Data zamówienia: german* | Produkt: sku* | Kwota: comma*",
    "french": (
        "N° client: person* | N° commande: number* | Date de commande: french* | Montant: comma* | Frais de port: "
        "freight"
    ),
    "italian": (
        "Codice cliente: person* | Numero ordine: number* | Data ordine: french* | Spedizione: freight | Importo: "
        "comma*"
    ),
    "dutch": "Klantnummer: person* | Ordernummer: number* | Besteldatum: french* | Aantal: pieces | Bedrag: comma*",
    "swedish": "Kundnummer: person* | Ordernummer: number* | Orderdatum: day* | Frakt: freight | Belopp: comma*",
    "portuguese": (
        "id_cliente: person* | id_pedido: number* | data_pedido: french* | frete: freight | valor_total: comma*"
    ),
    "toast": (
        "Location: Main St | Order Id: number* | Checks: 1 | Opened: toast time* | # of Guests: pieces | Tab "
        "Names: empty "
        "| Server: Anna | Table: store | Discount Amount: 0.00 | Amount: net | Tax: tax | Tip: 0.00 | Total: total* | "
        "Voided: false | Paid: toast time | Order Source: In store | Customer Phone: person*"
    ),
    "recurly": (
        "invoice_number: number* | account_code: person* | invoice_state: paid | line_item_uuid: charge | "
        "line_item_description: name* | line_item_quantity: pieces | line_item_unit_amount: price | line_item_total: "
        "value* | line_item_currency: USD | line_item_start_date: day | invoice_created_at: utc*"
    ),
    "chargebee": (
        "Invoice Number: number* | Customer Id: person* | Customer Company: empty | Status: Paid | Start Date: "
        "named time* "
        "| Currency: EUR | Amount: total* | Amount Paid: total | Amount Due: 0.00 | Paid On: named time | Refunded "
        "Amount: 0.00 | Recurring: true"
    ),
    "clover": (
        "Order Date: eastern* | Order ID: code* | Order Number: empty | Order Employee ID: store | Customer ID: "
        "person* | "
        "Currency: USD | Tax Amount: tax | Tip: 0.00 | Service Charge: 0.00 | Discount: 0.00 | Order Total: total* | "
        "Payments Total: total | Refunds Total: 0.00 | Tender: Credit Card"
    ),
    "sage": (
        "Tran No: number* | Type: SI | A/C: person* | Date: french* | Details: Goods | Net: net | T/C: T1 | Tax: tax | "
        "Gross: total*"
    ),
    "google analytics 4": (
        "event_date: compact* | event_name: purchase | user_pseudo_id: client* | ecommerce.transaction_id: number* | "
        "ecommerce.purchase_revenue: total* | geo.country: Germany | device.category: mobile"
    ),
    "zettle": (
        "Datum: day* | Tid: clock | Kvittonummer: number* | Kund: person* | Produkt: name* | Antal: pieces | Pris "
        "(SEK): "
        "price | Moms (SEK): tax | Slutpris (SEK): value*"
    ),
    "booking": (
        "Book number: number* | Booked by: person | Guest name(s): person* | Check-in: later | Booked on: time* | "
        "Status: "
        "ok | Price: with currency* | Commission %: 15 | Commission amount: tax | Booker country: nl | Device: Mobile"
    ),
    "raiser's edge": (
        "Constituent ID: person* | Gift ID: number* | Gift Date: us* | Gift Amount: dollars* | Fund ID: Annual | Gift "
        "Type: Cash | Payment Method: Check"
    ),
    "bol": (
        "Bestelnummer: number* | Besteldatum: dashed time* | EAN: sku* | Titel: name | Aantal: pieces* | Prijs: "
        "price* | "
        "Commissie: tax | E-mailadres klant: email* | Land: NL | Leverstatus: VERZONDEN"
    ),
    "eventbrite": (
        "Order #: number* | Order Date: time* | Surname: person | Email: email* | Quantity: 1 | Ticket Type: General | "
        "Attendee #: charge | Currency: GBP | Total Paid: value* | Fees Paid: 0.00 | Attendee Status: Attending"
    ),
    "mews": (
        "Number: number* | Customer: person* | Created: slashed time* | Arrival: later | Departure: later | Status: "
        "Checked out | Canceled: empty | Nights: pieces | Rate: Flexible | Total amount: total* | Average rate "
        "(nightly): net"
    ),
    "swiss": "Kunden-Nr.: person* | Auftrag: number* | Datum: german* | Betrag CHF: swiss*",
    "adventure works": (
        "CustomerKey: person* | SalesOrderNumber: number* | SalesOrderLineNumber: line | OrderDateKey: compact* | "
        "ProductKey: sku* | OrderQuantity: pieces | UnitPrice: price | SalesAmount: value* | TaxAmt: tax"
    ),
    "tally": (
        "Voucher Date: dashed time* | Party: person* | Voucher Type: Sales | Voucher No: number* | Gross Total: total* "
        "| GST: tax | Narration: empty"
    ),
    "rakuten": (
        "受注番号: number* | 注文日時: time* | 会員ID: person* | 商品番号: sku* | 個数: pieces | 合計金額: value* | "
        "送料: freight"
    ),
    "loyalty till": (
        "store_id: store | receipt_no: number* | card_holder: person* | tran_date: day* | basket_value: total*"
    ),
}


def lines(seed: int = 3) -> list[dict[str, object]]:
    """LINES order lines of CUSTOMERS, in the order of time; up to three lines an order."""
    random = np.random.default_rng(seed)
    favourites = random.integers(0, CUSTOMERS, LINES)
    found: list[dict[str, object]] = []
    at, order = datetime(2025, 1, 1, 8), 0
    while len(found) < LINES:
        order += 1
        at += timedelta(minutes=int(random.integers(30, 700)))
        of = [
            {"pieces": int(random.integers(1, 5)), "price": round(float(np.exp(random.normal(3, 0.8))), 2)}
            for _ in range(int(random.integers(1, 4)))
        ]
        total = round(sum(one["pieces"] * one["price"] for one in of), 2)
        for line, one in enumerate(of, 1):
            found.append({**one, "order": order, "who": int(favourites[order]), "at": at, "line": line, "total": total})
    return found


ONE_LINE_AN_ORDER = {
    *("magento", "stripe", "etsy", "bigcommerce", "prestashop", "shopware", "paypal", "datev", "quickbooks", "odoo"),
    *("salesforce", "cdnow", "polish", "french", "italian", "dutch", "swedish", "portuguese", "loyalty till"),
    *("olist payments", "klaviyo", "hubspot", "toast", "chargebee", "clover", "sage", "google analytics 4", "booking"),
    *("raiser's edge", "mews", "swiss", "tally"),
}
"""Those that have no products, so that a row is an order."""


def export(name: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows, and the headers that play a role, of one of EXPORTS; a day and its time of day play it together."""
    columns = [tuple(column.rsplit(": ", 1)) for column in EXPORTS[name].split(" | ")]
    header = [called for called, _ in columns]
    clock = "".join(f", {called}" for called, what in columns if what == "clock")
    roles = [called + (clock if what in ("day*", "us*") else "") for called, what in columns if what.endswith("*")]
    comma = any(what == "comma*" for _, what in columns)
    rows = [
        [cell(what.rstrip("*"), line, comma=comma) for _, what in columns]
        for line in lines()
        if name not in ONE_LINE_AN_ORDER or line["line"] == 1
    ]
    return header, rows, roles


def truth(name: str, day: date) -> dict[str, tuple[int, float, int]]:
    """customer -> orders, spend, and days between the last order and this day, of one of EXPORTS, by hand."""
    columns = [column.rsplit(": ", 1)[1] for column in EXPORTS[name].split(" | ")]
    what_for = {what.rstrip("*").removeprefix("once ") for what in columns if what.endswith("*")}
    (customer,) = what_for & {"person", "email", "pointed", "client"}
    of_order = bool(what_for & {"total", "euros", "comma", "with currency", "dollars", "swiss"})
    counted: dict[str, tuple[set[object], Decimal, date]] = {}
    for line in lines():
        who, first = cell(customer, line, comma=False).removesuffix(".0"), line["line"] == 1
        if not who or (name in ONE_LINE_AN_ORDER and not first):
            continue
        amount = Decimal(0)
        if of_order and first:
            amount = Decimal(f"{line['total']:.2f}")
        elif not of_order:
            amount = int(str(line["pieces"])) * Decimal(f"{line['price']:.2f}")
        at = line["at"]
        assert isinstance(at, datetime)
        orders, spend, last = counted.get(who, (set(), Decimal(0), at.date()))
        order = at.date() if name == "cdnow" else line["order"]
        counted[who] = (orders | {order}, spend + amount, max(last, at.date()))
    return {who: (len(orders), float(spend), (day - last).days) for who, (orders, spend, last) in counted.items()}


def cell(what: str, line: Mapping[str, object], *, comma: bool) -> str:
    """What a line has in a column of which this is said."""
    if what.startswith("once "):
        return cell(what.removeprefix("once "), line, comma=comma) if line["line"] == 1 else ""
    at, who, number = line["at"], int(str(line["who"])), int(str(line["order"]))
    assert isinstance(at, datetime)
    pieces, price, total = int(str(line["pieces"])), float(str(line["price"])), float(str(line["total"]))
    made = {
        "#order": f"#{10_000 + number}",
        "number": f"{500_000 + number}",
        "charge": f"ch_{number * 7919 % 100_003:06}{line['line']}",
        "code": f"X{number * 7919 % 100_003:06}",
        "line": f"{line['line']}",
        "person": f"{70_000 + who}",
        "pointed": "" if who % 9 == 0 else f"{70_000 + who}.0",
        "client": f"{1_000_000_000 + who}.{1_600_000_000 + who}",
        "email": f"c{who}@example.org",
        "store": f"{who % 12}",
        "last4": f"{1000 + who % 40}",
        "time": f"{at:%Y-%m-%d %H:%M:%S}",
        "zulu": f"{at:%Y-%m-%dT%H:%M:%S+00:00}",
        "date": f"{at:%Y-%m-%d %H:%M:%S}",
        "day": f"{at:%Y-%m-%d}",
        "clock": f"{at:%H:%M:%S}",
        "later": f"{at + timedelta(days=4):%Y-%m-%d}",
        "earlier": f"{at - timedelta(days=40):%Y-%m-%d}",
        "us": f"{at:%m/%d/%Y}",
        "us time": f"{at:%m/%d/%Y %H:%M}",
        "german": f"{at:%d.%m.%Y}",
        "french": f"{at:%d/%m/%Y}",
        "compact": f"{at:%Y%m%d}",
        "toast time": f"{at:%m/%d/%y %I:%M %p}",
        "utc": f"{at:%Y-%m-%d %H:%M:%S} UTC",
        "named time": f"{at:%d-%b-%Y %H:%M}",
        "eastern": f"{at:%d-%b-%Y %I:%M %p} {'EDT' if 4 <= at.month <= 10 else 'EST'}",
        "dashed time": f"{at:%d-%m-%Y %H:%M:%S}",
        "slashed time": f"{at:%d/%m/%Y %H:%M:%S}",
        "long day": f"{at:%b %d, %Y}",
        "unix": f"{at.replace(tzinfo=UTC).timestamp():.0f}",
        "total": f"{total:.2f}",
        "euros": f"€{total:.2f}",
        "with currency": f"{total:.2f} EUR",
        "dollars": f"${total:,.2f}",
        "swiss": f"{total:,.2f}".replace(",", "'"),
        "net": f"{total / 1.19:.2f}",
        "comma": f"{total:.2f}".replace(".", ","),
        "freight": f"{3 + number % 7 * 0.9:.2f}".replace(".", "," if comma else "."),
        "tax": f"{total * 0.19:.2f}",
        "pieces": f"{pieces}",
        "price": f"{price:.2f}",
        "value": f"{pieces * price:.2f}",
        "sku": f"SKU-{number * 31 % 60}",
        "name": f"Thing {number * 31 % 60}",
        "empty": "",
    }
    return made.get(what, what)
