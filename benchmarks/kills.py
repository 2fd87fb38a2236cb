"""A hundred processes killed at random moments, the clock put up to two days ahead or back for each: what is left.

A small shop with three months published, without memory and with it. SIGKILL ends the command at a moment drawn from
the whole time that it takes undisturbed: a `run` that renews a month whose lines have changed, a `run` of a new month,
a `run` that only publishes, `forget` and `merge`. After each kill the published file must open, and be in all its
tables what it was before, or what it is afterwards. The same command is then given again, by another clock, and must
leave in both files what it leaves where nothing was ever killed.
"""

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from real_months import record

from segment_pipeline_tests.commands import Commands, Finished
from segment_pipeline_tests.shop import Shop, order_lines, published_content, write_parquet

Content = dict[str, list[tuple[object, ...]]]

SEED, DAYS = 20230301, 2.0
KILLS = 10  # of each way, without memory and with it
RUN = ("run", "--quiet")
# what is drawn at random, and the logs of what was tried
NOT_COMPARED = {"pipeline_runs", "former_customers", "people_operations"}


@dataclass(frozen=True)
class Way:
    """A command to kill. prepare : what makes a shop with three months ready for it."""

    name: str
    arguments: Sequence[str]
    prepare: Callable[[Shop, Commands], object] = lambda shop, commands: None

    def run(self, shop: Shop, commands: Commands, days_ahead: float = 0, kill_after: float | None = None) -> Finished:
        config = "--config", str(shop.config_path)
        started = commands.start(*self.arguments, *config, days_ahead=days_ahead)
        if kill_after is not None:
            time.sleep(kill_after)
            started.kill()
        return started.wait()


def change_may(shop: Shop, _: Commands) -> None:
    """Take what thirty customers bought in May out of the export."""
    lines = order_lines()
    pairs = zip(lines["customer"], lines["ordered_at"], strict=True)
    kept = [i for i, (who, at) in enumerate(pairs) if str(who) >= "c00030" or f"{at:%Y-%m}" != "2023-05"]
    write_parquet({name: [values[i] for i in kept] for name, values in lines.items()}, shop.orders_path)


def close_june(shop: Shop, _: Commands) -> None:
    shop.config_path.write_text(shop.config_path.read_text().replace("last_month: 2023-05", "last_month: 2023-06"))


def leave_to_publish(shop: Shop, commands: Commands) -> None:
    """Renew May in the warehouse, and die before the published file is replaced."""
    change_may(shop, commands)
    ended = commands.run(shop, "--quiet", moment="draft is on disk")
    assert ended.code == -signal.SIGKILL


WAYS = (
    Way("run, a month renewed", RUN, change_may),
    Way("run, a new month", RUN, close_june),
    Way("run, publishing alone", RUN, leave_to_publish),
    Way("forget", ("forget", "c00001")),
    Way("merge", ("merge", "c00004", "into", "c00007")),
)


def three_months(folder: Path, commands: Commands, *, memory: bool) -> Shop:
    folder.mkdir()
    shop = Shop(folder).configure(last_month="2023-05", memory=memory)
    text = shop.config_path.read_text()
    shop.config_path.write_text(text.replace("source:\n", "source:\n  late_data: renew\n"))
    write_parquet(order_lines(), shop.orders_path)
    assert commands.run(shop, "--quiet").code == 0
    return shop


def compared(path: Path) -> Content:
    return {table: rows for table, rows in published_content(path).items() if table not in NOT_COMPARED}


def kill(way: Way, begun: Shop, commands: Commands, moments: random.Random) -> list[object]:
    """Kill it KILLS times, each in a copy of `begun`; returns a row of the table."""
    ready = Shop(Path(shutil.copytree(begun.folder, begun.folder.with_name("ready"))))
    way.prepare(ready, commands)
    whole = Shop(Path(shutil.copytree(ready.folder, ready.folder.with_name("whole"))))
    clock = time.monotonic()
    assert way.run(whole, commands).code == 0
    seconds = time.monotonic() - clock
    before, after, warehouse = compared(ready.published), compared(whole.published), compared(whole.warehouse)
    assert before != after
    kills = changed = harmed = unequal = 0
    while kills < KILLS:
        shop = Shop(Path(shutil.copytree(ready.folder, ready.folder.with_name("killed"))))
        ended = way.run(shop, commands, moments.uniform(-DAYS, DAYS), moments.uniform(0, seconds))
        if ended.code == -signal.SIGKILL:  # else it had come to its end
            kills += 1
            left = compared(shop.published)
            changed += left == after
            harmed += left not in (before, after)
            again = way.run(shop, commands, moments.uniform(-DAYS, DAYS))
            ends = (again.code, compared(shop.published), compared(shop.warehouse))
            unequal += ends != (0, after, warehouse)
        shutil.rmtree(shop.folder)
    for folder in (ready.folder, whole.folder):
        shutil.rmtree(folder)
    return [way.name, begun.folder.name, kills, changed, harmed, unequal]


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = Commands(folder)
        for number, name in enumerate(("without memory", "with memory")):
            moments = random.Random(SEED + number)  # noqa: S311 - a seed, not a secret
            begun = three_months(folder / name, commands, memory=name == "with memory")
            for way in WAYS:
                rows.append(kill(way, begun, commands, moments))
                print(rows[-1], flush=True)
        commands.close()
    header = ["what is killed", "model", "kills", "file new already", "file harmed", "not equal after the next"]
    record("kills", "Killed at random moments, clocks two days ahead or back", header, rows)


if __name__ == "__main__":
    main()
