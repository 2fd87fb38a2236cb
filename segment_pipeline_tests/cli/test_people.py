"""Who asks to be forgotten leaves no trace and does not come back; who gets another id is neither gone nor new."""

import shutil
import sqlite3
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.cli.traces import TracesLeftError, clear_history, names_of
from segment_pipeline.database import store
from segment_pipeline.database.store import RunLock
from segment_pipeline.publishing.agreement import disagreements
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.commands import Commands, Finished
from segment_pipeline_tests.conftest import made_once
from segment_pipeline_tests.shop import Shop, order_lines, published_content, query, write_parquet
from segment_pipeline_tests.traces import left_beside, rows_in
from segment_pipeline_tests.traces import traces as found_traces

ANA, NUMBER = "ana.novak@example.com", "730451"
OLD, NEW = "c00020", "c90020"
MAY = "2023-05-01"
CHANGED = "The source has changed"
BY_CUSTOMER = {table.name for table in TABLES if "customer_id" in table.column_names}


def renamed(number: str, month: int) -> str:
    """Customers by recognisable ids; one changes it in May."""
    given = {"c00003": ANA, "c00010": NUMBER}.get(number, number)
    return NEW if given == OLD and month >= 5 else given


@pytest.fixture(scope="module", params=[False, True], ids=["without memory", "with memory"])
def two_months(request, tmp_path_factory, commands) -> Shop:
    """A shop with March and April published, and with exports. Read it only."""

    def run(folder: Path) -> None:
        lines = order_lines()
        months = [at.month for at in lines["ordered_at"]]
        lines["customer"] = [renamed(one, month) for one, month in zip(lines["customer"], months, strict=True)]
        write_parquet(lines, folder / "orders.parquet")
        shop = Shop(folder).configure(last_month="2023-04", memory=request.param)
        ended = commands.run(shop, "--quiet")
        assert ended.code == 0, ended
        for kind in ([], ["--delta"]):
            assert commands.start("export", "--config", str(shop.config_path), *kind).wait().code == 0

    return Shop(made_once(tmp_path_factory, f"people_{request.param}", run))


@pytest.fixture
def people(two_months, tmp_path) -> Shop:
    """`two_months`, to write in."""
    return Shop(shutil.copytree(two_months.folder, tmp_path / "people"))


def traces(shop: Shop, *ids: str) -> list[str]:
    """Files of the project that hold one of the ids; not those of the user's."""
    return found_traces(shop.folder, *ids, but={shop.config_path, shop.orders_path})


def rows_of(shop: Shop, customer: str) -> dict[str, int]:
    """As `rows_in` the warehouse."""
    return rows_in(shop.warehouse, customer)


def told(shop: Shop) -> dict[str, list[tuple]]:  # type: ignore[type-arg]
    """What the published file says of segments, models and all customers."""
    content = published_content(shop.published)
    return {table: rows for table, rows in content.items() if table not in BY_CUSTOMER | {"removed_rows"}}


def may_of(shop: Shop, commands: Commands) -> Finished:
    """The next month, run."""
    shop.configure(last_month="2023-05", memory="memory: true" in shop.config_path.read_text())
    ended = commands.run(shop)
    assert ended.code == 0, ended
    return ended


@pytest.mark.process
def test_who_is_forgotten_leaves_no_trace_and_does_not_come_back(people, two_months, commands):
    assert "warehouse.duckdb" in traces(people, ANA)
    assert "customers.parquet" in traces(people, NUMBER)
    page = (people.folder / "reports" / "2023-04.html").read_text()
    customers = [row[0] for row in query(people.published, "SELECT DISTINCT customer_id FROM monthly_assignments")]
    shown = next(one for one in sorted(customers) if f">{one}<" in page)
    command = "forget", ANA, NUMBER, shown, "nobody@example.com", "--config", str(people.config_path)
    ended = commands.start(*command).wait()
    assert ended.code == 0, ended
    assert "rows of 3 customers; 1 ids of which there was no row" in ended.out
    assert "2023-04.html is written again" in ended.out
    assert traces(people, ANA, NUMBER, shown, "nobody@example.com") == []
    assert told(people) == told(two_months)
    with duckdb.connect(str(people.warehouse), read_only=True) as connection:
        assert disagreements(connection) == {}
        assert connection.execute("SELECT kind, customers, known, finished FROM people_operations").fetchall() == [
            ("forget", 4, 3, True)
        ]
    gone = query(
        people.published, "SELECT sum(rows) FROM removed_rows WHERE table_name = 'monthly_assignments' GROUP BY month"
    )
    assert gone == [(3,), (3,)]

    again = commands.run(people)
    assert again.code == 0
    assert "Nothing to do" in again.err
    assert CHANGED not in again.err

    assert CHANGED not in may_of(people, commands).err
    assert traces(people, ANA, NUMBER) == []
    # and the one whose id has changed, of whom nobody was told, looks like a newcomer
    deltas = f"SELECT from_state FROM transition_deltas WHERE month = '{MAY}' AND customer_id = '{NEW}'"
    assert query(people.published, deltas) == [("new",)]


@pytest.mark.parametrize("command", [["forget", ANA, NUMBER], ["merge", ANA, "into", NUMBER]], ids=" ".join)
def test_both_files_are_written_anew_and_hold_nobody_who_left_in_any_byte(people, monkeypatch, command):
    """Written without compression, so that their bytes show all that is in them: whoever stays is found in each."""
    monkeypatch.setitem(store.NO_EXTENSIONS, "force_compression", "uncompressed")
    assert main([*command, "--config", str(people.config_path)]) == 0
    for file in (people.warehouse, people.published):
        held = file.read_bytes()
        assert b"c00006" in held
        assert ANA.encode() not in held
        assert rows_in(file, ANA) == {}
        with duckdb.connect(str(file), read_only=True) as connection:
            assert connection.execute("SELECT free_blocks FROM pragma_database_size()").fetchall() == [(0,)]
    assert left_beside(people.folder) == []


def test_a_forgotten_customer_is_counted_where_the_source_goes_on_to_deliver_it(people, materialize):
    assert main(["forget", NUMBER, "--config", str(people.config_path)]) == 0
    result = materialize(people, "2023-04", selection=["raw_customers"])
    (raw,) = result.asset_materializations_for_node("raw_customers")
    assert raw.metadata["forgotten"].value == 1
    assert rows_of(people, NUMBER) == {}
    assert query(people.warehouse, "SELECT count(*) FROM removed_rows WHERE month = '2023-04-01'") == [(0,)]


def test_who_is_forgotten_leaves_the_files_that_were_kept_when_a_loss_was_accepted(people, capsys):
    kept = people.folder / "segments.kept_1.duckdb"
    shutil.copy2(people.published, kept)
    customers = "SELECT DISTINCT customer_id FROM monthly_assignments"
    before, everybody = published_content(kept), set(query(kept, customers))
    arguments = "--config", str(people.config_path)
    assert main(["merge", ANA, "into", "ana@today", *arguments]) == 0
    assert (ANA,) in query(kept, customers)
    assert main(["forget", "ana@today", NUMBER, *arguments]) == 0
    assert "segments.kept_1.duckdb: " in capsys.readouterr().out
    assert traces(people, ANA, "ana@today", NUMBER) == []
    left = published_content(kept)
    assert {table: len(rows) for table, rows in before.items() if table not in BY_CUSTOMER} == {
        table: len(rows) for table, rows in left.items() if table not in BY_CUSTOMER
    }
    assert everybody - set(query(kept, customers)) == {(ANA,), (NUMBER,)}
    assert query(kept, "SELECT count(*) > 0 FROM membership") == [(True,)]
    assert not kept.stat().st_mode & 0o222
    assert main(["forget", NUMBER, *arguments]) == 0
    assert "segments.kept_1.duckdb: " not in capsys.readouterr().out
    assert not list(people.folder.glob(".segments.kept*"))


@pytest.mark.process
def test_a_backup_of_before_brings_nobody_back_without_a_word(people, commands, tmp_path):
    backup = shutil.copy2(people.warehouse, tmp_path / "backup.duckdb")
    forget = "forget", ANA, "--config", str(people.config_path)
    assert main([*forget]) == 0
    before = people.published.read_bytes()
    shutil.copy2(backup, people.warehouse)
    ended = commands.run(people)
    assert ended.code == 1
    assert "people of 2023-03..2023-04 were forgotten or merged" in ended.err
    assert people.published.read_bytes() == before
    assert main([*forget]) == 0
    assert traces(people, ANA) == []
    assert "Nothing to do" in commands.run(people).err


def test_a_dry_run_says_how_many_rows_would_go_and_changes_nothing(people, capsys):
    before = {path: path.read_bytes() for path in people.folder.rglob("*.duckdb")}
    assert main(["forget", ANA, "--dry-run", "--config", str(people.config_path)]) == 0
    rows = sum(rows_of(people, ANA).values())
    assert capsys.readouterr().out == f"Would go: {rows} rows of 1 customers. Nothing was changed.\n"
    assert {path: path.read_bytes() for path in people.folder.rglob("*.duckdb")} == before


@pytest.mark.process
@pytest.mark.parametrize("moment", ["rows are taken out", "warehouse is rewritten", "file is replaced"])
def test_killed_in_the_middle_nothing_is_half_and_the_same_command_goes_on(people, two_months, commands, moment):
    command = "forget", ANA, "--config", str(people.config_path)
    assert commands.start(*command, moment=moment).wait().code == -9
    assert rows_of(people, ANA) == {}
    with duckdb.connect(str(people.published), read_only=True) as connection:  # the old one, or the new one
        counts = "SELECT count(*) FROM monthly_assignments WHERE month = '2023-04-01'"
        customers = query(two_months.published, counts)[0][0]
        assert connection.execute(counts).fetchone()[0] in (customers, customers - 1)
    assert "segment-pipeline forget has not come to its end" in commands.run(people).err
    assert commands.start(*command).wait().code == 0
    assert traces(people, ANA) == []
    assert told(people) == told(two_months)
    assert "has not come to its end" not in commands.run(people).err


def test_forget_waits_for_a_run_and_says_for_which(people, capsys):
    text = people.config_path.read_text() + "operation: {lock_timeout_minutes: 0}\n"
    people.config_path.write_text(text)
    held = RunLock(people.folder / ".run.lock", 0, "a long run")
    with held:
        held._held.clear()  # as another process would see it
        assert main(["forget", ANA, "--config", str(people.config_path)]) == 1
        held._held[held.path] = 1
    assert "Another run, process" in capsys.readouterr().err
    assert rows_of(people, ANA)


@pytest.mark.process
def test_a_merged_customer_is_neither_gone_nor_new(people, two_months, commands):
    command = ["merge", OLD, "into", NEW, "--config", str(people.config_path)]
    assert main(command) == 0
    assert rows_of(people, OLD) == {}
    assert traces(people, OLD) == []
    assert told(people) == told(two_months)
    assert main(command) == 0  # a second time there is nothing left to do
    assert "Nothing to do" in commands.run(people).err
    assert CHANGED not in may_of(people, commands).err
    states = f"SELECT customer_id, from_state FROM transition_deltas WHERE month = '{MAY}'"
    movement = dict(query(people.published, states))
    assert OLD not in movement
    assert movement[NEW].isdigit()  # a segment
    april = query(two_months.published, "SELECT count(*) FROM monthly_assignments WHERE month = '2023-04-01'")
    assert query(people.published, "SELECT count(*) FROM monthly_assignments WHERE month = '2023-04-01'") == april


@pytest.mark.process
def test_a_source_that_has_given_the_old_lines_to_the_new_id_has_not_changed(people, commands):
    other = people.folder / "other.parquet"
    duckdb.execute(f"""
        COPY (SELECT * REPLACE (CASE customer WHEN '{OLD}' THEN '{NEW}' ELSE customer END AS customer)
            FROM '{people.orders_path}') TO '{other}'
    """)
    other.replace(people.orders_path)
    assert CHANGED in commands.run(people).err
    assert main(["merge", OLD, "into", NEW, "--config", str(people.config_path)]) == 0
    assert CHANGED not in commands.run(people).err


def drop_at_the_source(shop: Shop, *customers: str) -> None:
    """Delete their lines in the export."""
    other = shop.folder / "other.parquet"
    listed = ", ".join(f"'{one}'" for one in customers)
    duckdb.execute(f"COPY (FROM '{shop.orders_path}' WHERE customer NOT IN ({listed})) TO '{other}' (FORMAT parquet)")
    other.replace(shop.orders_path)


@pytest.mark.process
def test_a_source_that_dropped_the_person_before_has_not_changed_once_it_is_forgotten(people, commands):
    drop_at_the_source(people, ANA)
    assert CHANGED in commands.run(people).err
    forgotten = commands.start("forget", ANA, "--config", str(people.config_path)).wait()
    assert "The source had dropped them before" in forgotten.out
    again = commands.run(people).err
    assert CHANGED not in again
    assert "Nothing to do" in again


@pytest.mark.process
def test_what_a_source_has_lost_besides_is_told_after_the_person_is_forgotten(people, commands):
    drop_at_the_source(people, ANA, "c00006")
    forgotten = commands.start("forget", ANA, "--config", str(people.config_path)).wait()
    assert "had dropped them before" not in forgotten.out
    assert CHANGED in commands.run(people).err


@pytest.mark.parametrize(
    "command", [["forget", ANA], ["merge", NUMBER, "into", ANA]], ids=["forgotten", "merged with another customer"]
)
def test_a_month_may_be_made_again_from_its_accepted_customers_on(people, materialize, command):
    """As the UI does from an asset on: what the source held of who has gone is a part of the account."""
    assert main([*command, "--config", str(people.config_path)]) == 0
    account = "SELECT sum(lines), sum(money) FROM source_reconciliation WHERE month = '2023-04-01'"
    before = query(people.published, account)
    assets = query(people.warehouse, "SELECT DISTINCT asset FROM pipeline_runs WHERE asset <> 'raw_customers'")
    assert materialize(people, "2023-04", selection=[name for (name,) in assets]).success
    assert query(people.published, account) == before
    gone = "SELECT customers, lines > 0 FROM source_reconciliation WHERE reason = 'forgotten or merged'"
    assert query(people.published, gone) == [(1, True)]
    with duckdb.connect(str(people.warehouse), read_only=True) as connection:
        assert disagreements(connection) == {}


def test_merging_keeps_the_row_of_the_new_id_where_both_have_one_and_counts_the_other(people, two_months):
    before = query(people.warehouse, f"SELECT * FROM monthly_assignments WHERE customer_id = '{ANA}' ORDER BY month")
    assert main(["merge", NUMBER, "into", ANA, "--config", str(people.config_path)]) == 0
    after = query(people.warehouse, f"SELECT * FROM monthly_assignments WHERE customer_id = '{ANA}' ORDER BY month")
    assert after == before
    removed = "SELECT month, rows FROM removed_rows WHERE table_name = 'monthly_assignments' AND why = 'merged'"
    assert sorted(query(people.published, removed)) == [(date(2023, 3, 1), 1), (date(2023, 4, 1), 1)]
    assert told(people) == told(two_months)
    with duckdb.connect(str(people.warehouse), read_only=True) as connection:
        assert disagreements(connection) == {}


def test_an_id_that_was_merged_is_forgotten_with_the_person(people, capsys):
    config = ["--config", str(people.config_path)]
    assert main(["merge", NUMBER, "into", ANA, *config]) == 0
    assert main(["forget", NUMBER, *config]) == 1
    assert f"{NUMBER} has been {ANA} since they were merged; nothing was forgotten" in capsys.readouterr().err
    assert main(["forget", ANA, *config]) == 0
    assert query(people.warehouse, "SELECT count(*), count(customer_id) FROM former_customers") == [(2, 0)]
    assert traces(people, ANA, NUMBER) == []
    assert main(["merge", "c00001", "into", ANA, *config]) == 1
    assert f"{ANA} is forgotten; nothing was merged" in capsys.readouterr().err


def test_a_month_leaves_no_customer_in_dagsters_history(two_months):
    ids = [row[0] for row in query(two_months.warehouse, "SELECT DISTINCT customer_id FROM raw_customers")]
    assert len(ids) > 600
    names = names_of(ids)
    for file in (two_months.folder / "dagster_home").rglob("*.db"):
        assert not names.search(file.read_bytes().decode("latin-1")), file


@pytest.fixture
def history(tmp_path, monkeypatch) -> Path:
    """A Dagster instance whose events tell of customers, as those of older versions and of failures do."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    places = enumerate((ANA, NUMBER, "c00001"))
    rows = [dg.TableRecord({"priority": place, "customer_id": one}) for place, one in places]
    metadata = {
        "head": dg.MetadataValue.table(rows),
        "rows": dg.MetadataValue.int(int(NUMBER)),
        "text": dg.MetadataValue.text(f"worst: {NUMBER}, not 1{NUMBER} nor 0.{NUMBER}"),
        "observed": dg.MetadataValue.json({"such as": [f"{ANA}: -3"]}),
    }
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("queue", metadata=metadata, partition="2023-04"))
    return tmp_path


def test_dagsters_history_no_longer_names_who_is_forgotten_and_still_loads(history):
    logs = history / "storage" / "run" / "compute_logs" / "step.err"
    logs.parent.mkdir(parents=True)
    logs.write_text(f"could not convert '{ANA}'\n")
    said = list(clear_history(history, [ANA, NUMBER]))
    assert any("step.err: 1 entries" in sentence for sentence in said)
    held = b"".join(path.read_bytes() for path in history.rglob("*") if path.is_file())
    assert ANA.encode() not in held
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("queue"))
    metadata = event.asset_materialization.metadata
    assert [record.data["customer_id"] for record in metadata["head"].records] == ["c00001"]
    assert metadata["rows"].value == int(NUMBER)  # a count is no customer
    assert metadata["text"].value == f"worst: (former customer), not 1{NUMBER} nor 0.{NUMBER}"
    assert metadata["observed"].value == {"such as": ["(former customer): -3"]}


def test_a_setting_is_no_customer_though_it_may_be_called_like_one(history):
    settings = history / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n")
    before = settings.read_text()
    list(clear_history(history, ["1", "false"]))
    assert settings.read_text() == before
    with dg.DagsterInstance.get() as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("queue")) is not None


def test_a_history_that_another_program_holds_is_told(history, monkeypatch):
    monkeypatch.setattr("segment_pipeline.cli.traces.PATIENCE", 0.1)
    file = next(path for path in history.rglob("*.db") if b"novak" in path.read_bytes())
    with sqlite3.connect(file) as reader:
        reader.execute("BEGIN IMMEDIATE")
        with pytest.raises(TracesLeftError, match=r"cannot be cleared.*Close Dagster's UI and daemon"):
            list(clear_history(history, [ANA]))


def test_a_history_for_which_the_disk_is_full_is_told_so(history, monkeypatch):
    made = sqlite3.connect

    def with_little_room(*arguments, **options):
        connection = made(*arguments, **options)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr("segment_pipeline.cli.traces.sqlite3.connect", with_little_room)
    monkeypatch.setattr("segment_pipeline.cli.traces.WORD", "a former customer " * 5_000)
    with pytest.raises(TracesLeftError, match=r"disk is full\. Free disk space there, and run the same"):
        list(clear_history(history, [ANA]))
