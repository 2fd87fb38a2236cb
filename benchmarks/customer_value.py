"""Expected spend of the next three months, as `customer_value` serves it, beside each method alone: how far off, how
much too much in all, how often the interval of 80 % holds what came. And what a contact list of 100 places keeps: money
of those who then fell silent, by revenue at risk, by churn risk and at random.

Out of time: both shops are run by the pipeline, and the last three months are judged whose spend is known. The method
of each was chosen, and its interval made, from months that were over before. Which methods there are was decided with
these shops in sight; the halves of the blend, the bins and the levels are not tuned.

`python customer_value.py [NAME=FOLDER ...]` writes the tables; folders are of finished runs (real_months.shops).
"""

import sys
from pathlib import Path

import duckdb
from real_months import record, shops

HORIZON = 3
JUDGED = 3

QUALITY = f"""
    WITH judged AS (
        SELECT *, mean_spend * customers AS spent FROM customer_value_quality WHERE horizon_months = {HORIZON}
        QUALIFY dense_rank() OVER (ORDER BY month DESC) <= {JUDGED}
    )
    SELECT method, CAST(sum(customers) AS BIGINT), sum(spent) / sum(customers),
        sum(mean_absolute_error * customers) / sum(customers), sum(bias * spent) / sum(spent),
        sum(coverage * customers) / sum(customers)
    FROM (
        SELECT * FROM judged
        UNION ALL SELECT * REPLACE ('as served' AS method) FROM judged WHERE is_served
    ) GROUP BY method ORDER BY method <> 'as served', 4
"""

LIST = """
    SELECT months, alerts, base_rate, churn_risk_precision, revenue_at_risk_precision, random_money_lost,
        churn_risk_money_lost, revenue_at_risk_money_lost
    FROM warning_backtest WHERE month IS NULL AND judged = 'within_budget' AND warning = 'any'
"""


def main() -> None:
    quality: list[list[object]] = []
    kept: list[list[object]] = []
    for shop, folder in shops(sys.argv[1:]):
        with duckdb.connect(str(Path(folder) / "segments.duckdb"), read_only=True) as connection:
            quality += [[shop, *row] for row in connection.execute(QUALITY).fetchall()]
            kept += [[shop, *row] for row in connection.execute(LIST).fetchall()]
    header = ("data", "method", "forecasts", "spent, mean", "mean absolute error", "bias", "in the 80 % interval")
    record("customer_value", "Spend of the next three months, the last three months judged", header, quality)
    listed = ("data", "months", "listed", "silent at random", "by churn risk", "by revenue at risk")
    money = ("money a year at random", "by churn risk, money", "by revenue at risk, money")
    record("customer_value-list", "Of 100 places on the contact list, who fell silent", (*listed, *money), kept)


if __name__ == "__main__":
    main()
