"""Every table and view, declared once: hence the DDL, the comments, the UI's column schemas and `data_dictionary`.

A column's description is what an analyst reads in the published file, so it says what one value means and in which
direction it is good. What belongs here: names, types, units, words. What does not: how a table is filled.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from segment_pipeline.database.quoting import identifier, literal


class UnfitRowsError(Exception):
    """Rows lack a column of their table, or have one that it has not: a defect of what writes them."""


@dataclass(frozen=True)
class Column:
    """One column: DuckDB type, unit ("" where there is none) and a sentence for the people who query it. before : what
    it says in rows that are older than the column, as SQL; None for NULL. now : of a column that once meant something
    else, what it says in the rows of then, as SQL; they are told by its comment of then."""

    name: str
    type: str
    unit: str
    description: str
    before: str | None = None
    now: str | None = None


@dataclass(frozen=True)
class Table:
    """One table. `key` orders its rows; `published` tables are the contract with SQL consumers.

    A table with `features` carries, after its own columns, one DOUBLE column per configured feature.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    published: bool = True
    features: bool = False
    month_column: str = "month"
    """The column that says which month's run has written a row."""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def require_fit(self, columns: Iterable[str], features: Collection[str] = ()) -> None:
        """Raise UnfitRowsError unless rows with these columns, in whatever order, are rows of this table.

        features : the features that the rows carry, of a table that has `features`. It may have more of them, from
        another state of the user's file, or that the model leaves out; of those the rows say nothing.
        """
        if self.features != bool(features):
            raise UnfitRowsError(
                f"{self.name}: found rows {'with' if features else 'without'} features; the table is declared "
                f"{'with' if self.features else 'without'} them. Say which features the rows carry, or none."
            )
        found, expected = Counter(list(columns)), Counter([*self.column_names, *features])
        problems = [
            f"{what} {', '.join(names)}"
            for what, names in (("with", found - expected), ("without", expected - found))
            if names
        ]
        if problems:
            raise UnfitRowsError(
                f"{self.name}: found rows {' and '.join(problems)}; a row of it has each declared column once, and no "
                "other. Say NULL where there is no value, and declare a column that is new in the table."
            )

    def with_features(self, features: Iterable[str]) -> tuple[Column, ...]:
        """Its columns, and one for each of these features where it has them."""
        return (*self.columns, *map(feature_column, features)) if self.features else self.columns

    def ddl(self, features: Iterable[str] = ()) -> list[str]:
        """The statements that create the table and comment all of it."""
        comments = (self.comment_on(column) for column in self.with_features(features))
        return [self.creation(features), self.comment_on_table, *comments]

    def creation(self, features: Iterable[str] = ()) -> str:
        """The statement that creates the table, without a comment."""
        declared = ", ".join(f"{identifier(column.name)} {column.type}" for column in self.with_features(features))
        return f"CREATE TABLE {self.sql_name} ({declared})"

    @property
    def sql_name(self) -> str:
        return f"main.{identifier(self.name)}"

    @property
    def comment_on_table(self) -> str:
        return f"COMMENT ON TABLE {self.sql_name} IS {literal(self.description)}"

    def comment_on(self, column: Column) -> str:
        return f"COMMENT ON COLUMN {self.sql_name}.{identifier(column.name)} IS {literal(comment(column))}"


@dataclass(frozen=True)
class View:
    """A view of the published file; `sql` names published tables only."""

    name: str
    description: str
    columns: tuple[Column, ...]
    sql: str

    def ddl(self) -> list[str]:
        name = identifier(self.name)
        return [
            f"CREATE OR REPLACE VIEW {name} AS {self.sql}",
            f"COMMENT ON VIEW {name} IS {literal(self.description)}",
            *(
                f"COMMENT ON COLUMN {name}.{identifier(column.name)} IS {literal(comment(column))}"
                for column in self.columns
            ),
        ]


def feature_column(feature: str) -> Column:
    """The column of a feature, in a table or view that has one for each."""
    about = f"The feature {feature}, see feature_limits; NULL in months without it, and where it is not known."
    return Column(feature, "DOUBLE", "the feature's unit", about)


def comment(column: Column) -> str:
    """The column's description with its unit, as it stands in the database."""
    return f"{column.description} Unit: {column.unit}." if column.unit else column.description


MONTH = Column("month", "DATE", "month", "First day of the closed month.")
CUSTOMER_ID = Column("customer_id", "VARCHAR", "", "The customer, as the source identifies it.")
SEGMENT_ID = Column("segment_id", "INTEGER", "", "Stable segment id; it keeps its meaning over months and refits.")
MODEL_VERSION = Column("model_version", "INTEGER", "", "The champion that gave these figures; see model_versions.")
