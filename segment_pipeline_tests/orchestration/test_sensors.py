"""The sensors, driven tick by tick on a real instance with real runs, against a real webhook on this machine."""

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from segment_pipeline.orchestration.resources import Notifier
from segment_pipeline.orchestration.webhook import NotSentError, send
from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.shop import Shop, query

SENSORS = ("notify_drift_alerts", "notify_month", "notify_run_failure")


@dataclass
class Webhook:
    """A server that keeps what it is sent; `answers` are statuses in turn, the last for ever; `delay` in seconds."""

    answers: tuple[int, ...] = (200,)
    delay: float = 0
    texts: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def webhook(*answers: int, delay: float = 0) -> Iterator[Webhook]:
    state = Webhook(answers or (200,), delay)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == "application/json"
            state.texts.append(body["text"])
            time.sleep(state.delay)
            status = state.answers[min(len(state.texts), len(state.answers)) - 1]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def tick(name: str, instance: dg.DagsterInstance, cursor: str | None, url: str | None = None) -> tuple[str | None, str]:
    """One evaluation as the daemon does it; returns the cursor that it keeps, and why no run was asked for."""
    from segment_pipeline.definitions import defs

    notifier = Notifier(webhook_url=url, timeout_seconds=0.5)
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, sensor_name=name, resources={"notifier": notifier}
    ) as context:
        found = defs.resolve_sensor_def(name).evaluate_tick(context)
    assert not found.run_requests
    return found.cursor, found.skip_message or ""


@pytest.fixture(scope="module")
def history(
    commands: Commands, three_months: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, object]]:
    """An instance before and after news: months 2023-03..05, then 2023-04 and 2023-05 again with an alert, then a
    failed and a killed run. `cursors` are those of the sensors before the news."""
    shop = Shop(tmp_path_factory.mktemp("sensors") / "copy")
    shutil.copytree(three_months.folder, shop.folder)
    with dg.DagsterInstance.from_config(str(shop.folder / "dagster_home")) as instance:
        cursors = {name: tick(name, instance, None)[0] for name in SENSORS}
        shop.configure(last_month="2023-05", more="quality: {max_row_count_change: 0.000001}")
        assert commands.run(shop, "--force", "--months", "2023-04..2023-05").code == 0
        killed = commands.run(shop, "--force", "--months", "2023-05", moment="after raw_customers")
        assert killed.code == -signal.SIGKILL
        shop.orders_path.unlink()
        assert commands.run(shop, "--force", "--months", "2023-05").code == 1
        yield {"instance": instance, "cursors": cursors}


def test_drift_alerts_are_told_once_for_each_month_and_in_one_message(history):
    with webhook() as hook:
        cursor, _ = tick(
            "notify_drift_alerts", history["instance"], history["cursors"]["notify_drift_alerts"], hook.url
        )
        (text,) = hook.texts
        assert text.count("Drift alerts of 2023-04:") == 1
        assert text.count("Drift alerts of 2023-05:") == 1
        assert "2023-03" not in text
        assert text.count("customers_change") == 2
        again, said = tick("notify_drift_alerts", history["instance"], cursor, hook.url)
        assert len(hook.texts) == 1
        assert again == cursor
        assert said.startswith("0 month(s)")


def test_the_first_tick_of_the_drift_sensor_tells_nothing_of_the_past(history):
    with webhook() as hook:
        cursor, said = tick("notify_drift_alerts", history["instance"], None, hook.url)
        assert said == "Watching from now on."
        tick("notify_drift_alerts", history["instance"], cursor, hook.url)
        assert hook.texts == []


def test_a_drift_sensor_switched_on_before_the_first_month_misses_none(history):
    with dg.DagsterInstance.ephemeral() as instance, webhook() as hook:
        cursor, _ = tick("notify_drift_alerts", instance, None, hook.url)
        for month in ("2023-03", "2023-04", "2023-05"):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "drift_alerts",
                    partition=month,
                    metadata={"fired_alerts": dg.MetadataValue.json([] if month == "2023-04" else ["a is 2, limit 1"])},
                )
            )
        tick("notify_drift_alerts", instance, cursor, hook.url)
        assert hook.texts == [
            "Drift alerts of 2023-03:\n- a is 2, limit 1\n\nDrift alerts of 2023-05:\n- a is 2, limit 1"
        ]


def test_a_published_month_is_told_once_in_figures_and_without_customers(history, three_months):
    with webhook() as hook:
        cursor, said = tick("notify_month", history["instance"], history["cursors"]["notify_month"], hook.url)
        assert said.startswith("2 month(s)")  # the runs that failed and were killed published nothing
        tick("notify_month", history["instance"], cursor, hook.url)
    (text,) = hook.texts
    april, may = text.split("shop 2023-05 is published: ")
    assert april.startswith("shop 2023-04 is published: ")
    customers, new, to_contact, moved, lapsed = query(
        three_months.published,
        """
        SELECT (SELECT count(*) FROM monthly_assignments WHERE month = '2023-05-01'),
            (SELECT count(*) FROM early_warnings WHERE month = '2023-05-01' AND status = 'new'),
            (SELECT count(DISTINCT customer_id) FROM early_warnings WHERE month = '2023-05-01' AND within_budget),
            count(*) FILTER (from_segment_id <> to_segment_id), count(*) FILTER (to_state = 'lapsed')
        FROM transition_deltas WHERE month = '2023-05-01'
        """,
    )[0]
    assert may.startswith(f"{customers} customers.\nMoved: {moved} changed segment (")
    for told in (
        f" {lapsed} lapsed.\n",
        f"\nWarnings: {new} new, ",
        f" {to_contact} customers to contact (there is no churn risk yet, ",
        "\nDrift alerts fired: 1.",
    ):
        assert told in may
    assert "without an action" not in may  # none is configured
    assert "c00" not in text


def test_the_first_tick_of_the_digest_tells_nothing_of_the_past(history):
    with webhook() as hook:
        cursor, said = tick("notify_month", history["instance"], None, hook.url)
        assert said == "Watching from now on."
        tick("notify_month", history["instance"], cursor, hook.url)
        assert hook.texts == []


def test_the_digest_says_what_the_contact_list_stands_on_and_who_has_no_action():
    from segment_pipeline.publishing.summary import digest

    movement = dict.fromkeys(("stayed", "moved", "new", "returned", "lapsed"), 0)
    warnings = {"new": 410, "ongoing": 52, "resolved": 9, "to_contact": 300, "left_out": 110, "left_alone": 40}
    stands_on = "by churn risk alone: no warning has proven to find more"
    assert digest("shop", date(2017, 12, 1), 2_327, movement, "", warnings, stands_on, 4, 0) == (
        "shop 2017-12 is published: 2,327 customers.\n"
        f"Warnings: 410 new, 52 ongoing; 300 customers to contact ({stands_on}), 110 with a warning are not among "
        "them, 40 left alone by a campaign.\n"
        "Customers without an action: 4.\n"
        "Drift alerts fired: 0."
    )


def test_a_run_that_failed_and_one_that_was_killed_are_told_with_month_and_reason(history):
    with webhook() as hook:
        cursor = history["cursors"]["notify_run_failure"]
        for _ in range(3):  # the daemon hands out one failure a tick
            cursor, _ = tick("notify_run_failure", history["instance"], cursor, hook.url)
    assert len(hook.texts) == 2
    assert all(text.startswith("Segmentation of 2023-05 failed; the published file is whole.") for text in hook.texts)
    assert "It was ended from outside." in hook.texts[0]
    assert "The source cannot be read, or is not what the configuration says in raw_customers." in hook.texts[1]
    assert all("Why stands in the log of run " in text for text in hook.texts)
    # the message itself may quote a line of somebody's data
    assert not any("orders.parquet" in text for text in hook.texts)


def test_other_projects_runs_on_the_same_instance_are_none_of_our_business():
    @dg.op
    def breaks() -> None:
        raise ValueError("boom")

    @dg.job
    def somebody_elses() -> None:
        breaks()

    with dg.DagsterInstance.ephemeral() as instance, webhook() as hook:
        cursor, _ = tick("notify_run_failure", instance, None, hook.url)
        assert not somebody_elses.execute_in_process(instance=instance, raise_on_error=False).success
        tick("notify_run_failure", instance, cursor, hook.url)
        assert hook.texts == []


@contextmanager
def nobody() -> Iterator[str]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}/"  # bound, and nobody listens


@contextmanager
def refusing() -> Iterator[str]:
    with webhook(500) as hook:
        yield hook.url


@contextmanager
def slow() -> Iterator[str]:
    with webhook(delay=2) as hook:
        yield hook.url


@contextmanager
def gibberish() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def dripping() -> Iterator[str]:
    """A byte now and then, so that no read ever waits for long."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            with suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.1)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def redirecting() -> Iterator[str]:
    with webhook(302) as hook:
        yield hook.url


@contextmanager
def no_address() -> Iterator[str]:
    yield "http://[not an address/"


@contextmanager
def not_http() -> Iterator[str]:
    yield "file:///etc/passwd"


@pytest.mark.parametrize("broken", [nobody, refusing, slow, dripping, redirecting, gibberish, no_address, not_http])
def test_a_webhook_that_is_broken_does_not_fail_the_tick(history, broken):
    with broken() as url:
        started = time.monotonic()
        cursor, said = tick("notify_drift_alerts", history["instance"], history["cursors"]["notify_drift_alerts"], url)
    assert said.startswith("2 month(s)")
    assert cursor != history["cursors"]["notify_drift_alerts"]  # told in the log, and not told again
    assert time.monotonic() - started < 5


def test_a_server_that_is_busy_is_tried_again() -> None:
    with webhook(500, 503, 200) as hook:
        send(hook.url, "once", 5)
    assert hook.texts == ["once"] * 3
    with webhook(500) as hook, pytest.raises(NotSentError, match="500"):
        send(hook.url, "never", 5)
    assert len(hook.texts) == 3
    with webhook(404) as hook, pytest.raises(NotSentError, match="it answered 404"):
        send(hook.url, "no", 5)
    assert len(hook.texts) == 1


def test_a_redirect_is_reported_and_not_followed_as_a_get() -> None:
    with (
        webhook(302) as hook,
        pytest.raises(NotSentError, match=r"302 and sends on to http://127\.0\.0\.1:9/elsewhere"),
    ):
        send(hook.url, "there", 5)
    assert hook.texts == ["there"]


def test_the_webhooks_address_is_taken_from_the_environment_and_not_shown(monkeypatch, tmp_path):
    from segment_pipeline.definitions import resources
    from segment_pipeline.orchestration.resources import WEBHOOK_VARIABLE

    monkeypatch.setenv(WEBHOOK_VARIABLE, "https://example.org/secret")
    notifier = resources(Path("segmentation.yaml"))["notifier"]
    assert isinstance(notifier, Notifier)
    assert "secret" not in str(notifier._resolved_config_dict)
    with dg.build_resources({"notifier": notifier}) as ready:
        assert ready.notifier.webhook_url == "https://example.org/secret"
