"""A Spark Connect server as the engine: how it is reached, and what is said where it cannot be.

Databricks, open Spark and Sail are spoken to alike, with a client in pure Python. It is imported here only, and only
when a statement goes there: it is an extra, and nobody who stays with DuckDB has it.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import signature
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from segment_pipeline.database.quoting import literal
from segment_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.connect.client.core import DefaultChannelBuilder
    from pyspark.sql.connect.dataframe import DataFrame

Done = TypeVar("Done")

PATIENCE = 60.0
"""Seconds until a server that does not answer is given up. A cluster is shared, and what runs on it starts anew at
times."""
TRIES, LONGEST_PAUSE = 8, 10_000
"""How often a statement is sent again while a server that has answered does not, and the longest pause between, in
milliseconds: a minute in all."""

QUIET, SIGN_OF_LIFE = 330.0, 20.0
"""Seconds without a word in the middle of a statement until the server is asked whether it lives, and until one that
says nothing to that has gone. Servers hang up on a client that asks more often than every five minutes."""

PORTION = 2**25
"""Bytes of rows that are sent in one message, and stand in one statement: servers take 128 MiB, and text may need more
there than here."""

OF_THE_CATALOGUE = "table of the catalogue: "
"""What stands in front of the name of a table that somebody else keeps there, where DuckDB's SQL names it: none of ours
is called so."""

SHOWN = 300
"""Characters of what the server says."""

PROJECT = "segment_pipeline_project"
"""The table of the database that says whose it is."""
OF_WAREHOUSE = ", warehouse "
"""What stands there between the project and the id of its warehouse: projects may be called alike, and their files
are."""

ALIVE = "segment_pipeline_alive"
"""The view by which a session is known again: a server that was started anew, or has forgotten a session, may begin
another of the same name without a word, which has none."""

MADE_BY_US = "Segments of customers, by month; made by segment_pipeline, which drops what it needs no longer."


class EngineError(PipelineError):
    """Spark cannot be reached, or does not do what it was asked; what was published stands."""


class SilentError(EngineError):
    """The server does not answer, or no longer: what was asked may be asked again, from the step's beginning."""


class RefusedError(EngineError):
    """Spark was reached, and did not do it."""


class ForeignSqlError(RefusedError):
    """A statement has something that Spark might understand otherwise than DuckDB; it was not asked."""


@dataclass(frozen=True)
class Spark:
    """A database of a Spark server, in which customer-level tables live.

    address : sc://HOST:PORT, with all that the client is to say after it. format : of the tables, such as parquet or
    delta, and location : where they lie, as the server can open it; None leaves either to its catalogue. minutes : how
    long a statement may take.
    """

    address: str
    database: str
    format: str | None
    location: str | None
    minutes: float = 60.0

    def session(self) -> "Session":
        """A session of its own. Raises EngineError."""
        _keep_the_client_quiet()
        try:
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession
        except ImportError as error:
            raise EngineError(
                "engine.spark needs the client of Spark Connect, which is not installed: pip install pyspark-client"
            ) from error
        with self.told():
            channel = self._channel()
            self._wait_for(channel)
            spark = SparkSession.Builder().channelBuilder(channel).create()
            session = Session(self, spark)
            # a cluster that is stopped begins with this: the client's own patience, ten minutes
            session.fetch("SELECT 1")
            spark.client.set_retry_policies([DefaultPolicy(max_retries=TRIES, max_backoff=LONGEST_PAUSE)])
            self.in_time(lambda: spark.conf.set("spark.sql.session.timeZone", "UTC"))
        where = f" LOCATION {literal(self.location)}" if self.location is not None else ""
        session.run(f"CREATE DATABASE IF NOT EXISTS {self.database} COMMENT '{MADE_BY_US}'{where}")
        return session

    def _channel(self) -> "DefaultChannelBuilder":
        """What makes connections, which notice where nobody is at the other end any more."""
        from pyspark.sql.connect.client.core import DefaultChannelBuilder

        seconds = {"keepalive_time": QUIET} | dict.fromkeys(
            ("keepalive_timeout", "http2.ping_timeout", "min_reconnect_backoff"), SIGN_OF_LIFE
        )
        options = [(f"grpc.{name}_ms", int(value * 1000)) for name, value in seconds.items()]
        return DefaultChannelBuilder(self._found(), [*options, ("grpc.http2.max_pings_without_data", 0)])

    def _wait_for(self, channel: "DefaultChannelBuilder") -> None:
        """Until the server takes a connection. Raises EngineError where it does not in time."""
        import grpc

        with closing(channel.toChannel()) as tried:
            try:
                grpc.channel_ready_future(tried).result(timeout=PATIENCE)
            except grpc.FutureTimeoutError as error:
                raise self._silent(f"for {PATIENCE:g} seconds") from error

    def try_out(self) -> None:
        """Write a table, and read it in another session, as every step of a month does. Raises EngineError."""
        name = f"tried__{uuid4().hex[:12]}"
        with closing(self.session()) as session:
            session.save(name, "SELECT 1 AS one")
        with closing(self.session()) as session:
            try:
                if self.location is not None:
                    session.run(self.found_again(name))
                session.fetch(f"SELECT one FROM {self.place(name)}")
            except RefusedError as error:
                raise EngineError(
                    f"The catalogue of Spark at {self.server} ends with a session, and a month's next step would not "
                    "find what one has written. Set engine.location to a folder that the server writes to."
                ) from error
            session.drop(name)

    def claim(self, session: "Session", project: str, warehouse: str | None, was_ours: Callable[[str], bool]) -> None:
        """Make the database this warehouse's, where it is nobody's: two that wrote into one would replace each other's
        views. Raises EngineError where it is another's.

        warehouse : its id; None while there is none, and then it is only looked whose the database is. was_ours :
        whether the project is this one that an earlier version, which kept no id, has called so.
        """
        owner = self._owner(session)
        if owner is not None and warehouse is not None and owner.endswith(f"{OF_WAREHOUSE}{warehouse}"):
            return
        if owner is not None and (OF_WAREHOUSE in owner or not was_ours(owner)):
            raise EngineError(
                f"The database {self.database} of Spark at {self.server} has the segments of {owner}, and this is "
                f"{project}{' without a warehouse yet' if warehouse is None else OF_WAREHOUSE + warehouse}. Set "
                "engine.database to one of its own (and engine.location, where it is set). If that one is no more, "
                f"drop its tables there, {PROJECT} the last; if this warehouse was put back from a backup, "
                "drop that one alone."
            )
        if warehouse is not None:
            if owner is None:
                session.run(self.unnamed(PROJECT))  # what was found may be a name without files
            session.save(PROJECT, f"SELECT {literal(project + OF_WAREHOUSE + warehouse)} AS project")

    def _owner(self, session: "Session") -> str | None:
        """Whose the database is; None where it is nobody's."""
        try:
            if self.location is not None:
                session.run(self.found_again(PROJECT))
            owners = session.fetch(f"SELECT project FROM {self.place(PROJECT)}").column(0).to_pylist()
        except RefusedError:  # there is none yet, or nothing can be written here, which is told where it is tried
            return None
        return str(owners[0]) if owners else None

    def place(self, table: str) -> str:
        """What a table is called in statements."""
        return ".".join(f"`{part}`" for part in [*self.database.split("."), table])

    def found_again(self, table: str) -> str:
        """A statement that tells a catalogue of a table that it may have forgotten, where it keeps none beyond a
        session."""
        lies = literal(f"{self.location}/{table}")
        return f"CREATE TABLE IF NOT EXISTS {self.place(table)} USING {self.format} LOCATION {lies}"

    def unnamed(self, table: str) -> str:
        """The statement after which the catalogue knows it no more; files whose place was named stay."""
        return f"DROP TABLE IF EXISTS {self.place(table)}"

    def _found(self) -> str:
        """The address, or that of the environment variable it names."""
        if not self.address.startswith("$"):
            return self.address
        found = os.environ.get(self.address[1:])
        if found is None:
            raise EngineError(f"engine.spark is {self.address}, and the environment has no such variable. Set it.")
        return found

    def in_time(self, ask: Callable[[], Done]) -> Done:
        """What is asked of the server, if it answers in time. Raises TimeoutError."""
        return within(self.minutes * 60, ask)

    @contextmanager
    def told(self, statement: str = "") -> Iterator[None]:
        """Whatever the client raises, in words."""
        from grpc import RpcError
        from pyspark.errors import PySparkException

        try:
            yield
        except (RpcError, PySparkException) as error:
            raise self._in_words(error, statement) from error
        except TimeoutError as error:
            raise EngineError(
                f"Spark at {self.server} has not done a statement in {self.minutes:g} minutes, which is what "
                "engine.statement_minutes gives one. See what the cluster is at; where it is only slow, give it more, "
                f"and run again: what is published stands.{_asked(statement)}"
            ) from error
        except ValueError:  # of an address, whose text may hold a token
            raise EngineError(
                "engine.spark is no address that the client can read; expected sc://HOST:PORT, or "
                "sc://HOST:PORT/;token=...;KEY=VALUE, with the slash."
            ) from None

    def _in_words(self, error: Exception, statement: str) -> EngineError:
        said = " ".join(str(error).split())
        if any(word in said for word in ("UNAVAILABLE", "RETRIES_EXCEEDED", "failed to connect", "Connection refused")):
            return self._silent(f"({said[:SHOWN]})")
        told = f"Spark at {self.server} refused ({type(error).__name__}: {said[:SHOWN]})."
        return RefusedError(told + _asked(statement))

    def _silent(self, how: str) -> "SilentError":
        return SilentError(
            f"Spark does not answer at {self.server} {how}. Start the server, or set engine.spark to where it is (with "
            "a token it is spoken to by TLS); then run again: what is published stands, and a month that was begun is "
            "begun again."
        )

    @property
    def server(self) -> str:
        """Where it is, without what follows in the address: that may be a token."""
        return self.address.partition(";")[0].rstrip("/")


class Session:
    """A session of the server: statements in its own SQL, tables in and out as Arrow.

    shown : the views of tables that it has, and of which writings each is; found : those that its catalogue knows.
    """

    def __init__(self, spark: Spark, session: Any) -> None:
        self._spark, self._session = spark, session
        self.shown: dict[str, Any] = {}
        self.found: set[str] = set()

    def run(self, statement: str) -> "pa.Table":
        """What a statement that is no query tells. Raises EngineError."""
        with self._asking(statement):
            return self._spark.in_time(lambda: self._session.sql(statement).toArrow())

    def fetch(self, query: str) -> "pa.Table":
        """The rows of a query. Raises EngineError."""
        with self._asking(query):
            return self._spark.in_time(self._rows_of(query).toArrow)

    def shape(self, query: str) -> "pa.Table":
        """The rows of a query without any: its columns, for which nothing is planned. Raises EngineError."""
        from pyspark.sql.pandas.types import to_arrow_schema

        with self._asking(query):
            rows = self._rows_of(query)
            # clients up to 4.1 take every moment for UTC, as sessions here are, and later ones have to be told
            told = {"timezone": "UTC"} if "timezone" in signature(to_arrow_schema).parameters else {}
            return to_arrow_schema(self._spark.in_time(lambda: rows.schema), **told).empty_table()

    def _rows_of(self, query: str) -> "DataFrame":
        """What the client's own `sql` gives of a query, but that sends it to be looked through first: a round trip
        more, and all of its names and views resolved twice."""
        from pyspark.sql.connect.dataframe import DataFrame
        from pyspark.sql.connect.plan import SQL

        return DataFrame(SQL(query, [], {}, []), self._session)

    def save(self, table: str, query: str) -> None:
        """Write the rows of a query as a new table; by the client, since that of Databricks refuses the statement.
        Raises EngineError."""
        spark = self._spark
        with self._asking(query):
            # one of its own name is there only where the answer of a first try was lost
            writer = self._rows_of(query).write.mode("overwrite")
            if spark.format is not None:
                writer = writer.format(spark.format)
            if spark.location is not None:
                writer = writer.option("path", f"{spark.location}/{table}")
            spark.in_time(lambda: writer.saveAsTable(spark.place(table)))

    def drop(self, table: str) -> None:
        """Make away with it and its rows. Of a table whose place was named the catalogue leaves the files, so that it
        is emptied first: by rows that are not read from it, which open Spark refuses. Raises EngineError."""
        spark = self._spark
        if spark.location is not None:
            with self._asking(table):
                fields = spark.in_time(lambda: self._rows_of(f"SELECT * FROM {spark.place(table)}").schema).fields
            nothing = ", ".join(f"CAST(NULL AS {one.dataType.simpleString()}) AS `{one.name}`" for one in fields)
            if nothing:
                self.run(f"INSERT OVERWRITE TABLE {spark.place(table)} SELECT {nothing} WHERE false")
        self.run(spark.unnamed(table))

    def upload(self, name: str, rows: "pa.Table") -> None:
        """Make the rows, of a PORTION at most, a temporary view. Raises EngineError."""
        from pyspark.sql.pandas.types import from_arrow_schema

        with self._asking():
            schema, sent = from_arrow_schema(rows.schema), self._session.createDataFrame
            self._spark.in_time(lambda: sent(rows, schema=schema).createOrReplaceTempView(name))

    def close(self) -> None:
        """Whatever the server makes of it: it forgets a session by itself."""
        with suppress(EngineError), self._spark.told():
            within(PATIENCE, self._session.stop)

    @contextmanager
    def _asking(self, statement: str = "") -> Iterator[None]:
        """What takes too long is not to go on there, where the server still hears that."""
        with self._spark.told(statement):
            try:
                yield
            except TimeoutError:
                with suppress(Exception):
                    within(PATIENCE, self._session.interruptAll)
                raise


class Sessions:
    """Who needs a session gets one of his own: while they are held, one that somebody has left, with all that it knows,
    for to begin one and to show it tables takes a dozen statements."""

    def __init__(self, spark: Spark) -> None:
        self.spark, self._held = spark, False
        self._idle: list[Session] = []

    def hold(self) -> None:
        """Until they are closed, keep what is left."""
        self._held = True

    def take(self) -> Session:
        """Raises EngineError."""
        while self._idle:
            session = self._idle.pop()
            try:
                within(PATIENCE, partial(session.fetch, f"SELECT * FROM {ALIVE}"))
            except TimeoutError:  # others would be as silent; whether the server is, the beginning of a new one finds
                self._idle.clear()
            except RefusedError:  # a server that was started anew, or has forgotten it
                session.close()
            else:
                return session
        session = self.spark.session()
        if self._held:
            session.run(f"CREATE OR REPLACE TEMPORARY VIEW {ALIVE} AS SELECT 1 AS one")
        return session

    def leave(self, session: Session) -> None:
        """What was taken is needed no longer."""
        if self._held:
            self._idle.append(session)
        else:
            session.close()

    def close(self) -> None:
        self._held = False
        while self._idle:
            self._idle.pop().close()


def within(seconds: float, work: Callable[[], Done]) -> Done:
    """What the work gives, if it is done in time; if not, it goes on, and nobody waits for it. Raises TimeoutError."""
    done: Future[Done] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)

    Thread(target=do, daemon=True).start()
    return done.result(seconds)


def _keep_the_client_quiet() -> None:
    """What there is to say is said here, in words; the client logs every refusal with its traces, also of what is only
    tried, and warns of what no user of ours can change."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name in ("SQLQueryContextLogger", "pyspark.sql.connect.logging"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pyspark\.")


def _asked(statement: str) -> str:
    return f" It was asked: {' '.join(statement.split())[:SHOWN]}" if statement else ""
