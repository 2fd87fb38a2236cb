"""How many small faults the tests notice: one character or word of a module is changed, and its tests are run.

A fault is one that a hand slips into, in Python (the operators of cosmic-ray) or in the text of SQL (`SqlSlip`): a
comparison that takes in its limit, a sum for a difference, a join that loses rows. Of each group of modules PLACES
places are drawn, and at each of them one fault, by a seed: a place in long arithmetic counts no more than a comparison.
A fault is noticed when a test fails, or does not come to its end.

Run as `python benchmarks/mutants.py [--draw N] [GROUP ...]`: each draw has faults of its own, and a table. What became
of each fault is written down in .cache/; those that were noticed are not tried again, so after a new test only those
are that went by. `--anew` forgets them.
"""

import argparse
import ast
import difflib
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider

ROOT = Path(__file__).parents[1]
OUTCOMES = ROOT / ".cache" / "mutants.json"
SEED, PLACES = 2026, 40  # of the first draw; the next has the next


OF_THE_CHAIN = ("mixture/test_panel.py", "mixture/test_markov.py", "mixture/test_memory_candidates.py")
OF_TRANSITIONS = ("segments/test_transitions.py", "segments/test_journeys.py", "segments/test_memory.py")
OF_WARNINGS = (
    "early_warnings/test_warning_rules.py",
    "early_warnings/test_early_warnings.py",
    "early_warnings/test_contact_list.py",
)
OF_PUBLISHING = ("publishing/test_passing_over.py", "publishing/test_publish.py")
OF_THE_SOURCE = ("sources/test_over_time.py", "sources/test_folded.py")

# Group -> module of segment_pipeline/ -> files of segment_pipeline_tests/, the quickest first.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "mixture": {
        "mixture/em.py": ("mixture/test_em.py", "mixture/test_estimator.py", "mixture/test_candidates.py"),
        "mixture/degeneracy.py": ("mixture/test_candidates.py",),
        "mixture/chain/candidates.py": ("mixture/test_memory_candidates.py",),
        "mixture/chain/customer_months.py": OF_THE_CHAIN,
        "mixture/chain/forward_backward.py": OF_THE_CHAIN,
        "mixture/chain/markov.py": OF_THE_CHAIN,
        "mixture/chain/memory.py": (*OF_THE_CHAIN, "segments/test_silence.py"),
        "mixture/chain/panel.py": OF_THE_CHAIN,
    },
    "scoring": {
        "models/scoring.py": ("models/test_scoring.py",),
        "models/alignment.py": ("models/test_alignment.py",),
    },
    "transitions": {
        "segments/month_before_store.py": ("segments/test_journeys.py",),
        "segments/journeys_store.py": ("segments/test_journeys.py",),
        "segments/assignments_store.py": OF_TRANSITIONS,
        "segments/soft_moves.py": (*OF_TRANSITIONS, "segments/test_silence.py"),
    },
    "warnings": {
        "config/warning_rules.py": OF_WARNINGS,
        "early_warnings/rules_store.py": OF_WARNINGS,
        "early_warnings/contact_list.py": OF_WARNINGS,
    },
    "alerts": {
        "segments/drift.py": ("segments/test_drift.py", "segments/test_audience_sizes.py"),
        "segments/drift_store.py": ("segments/test_alert_states.py", "segments/test_audience_sizes.py"),
    },
    "publishing": {
        "publishing/publish.py": OF_PUBLISHING,
        "publishing/draft.py": OF_PUBLISHING,
        "publishing/agreement.py": OF_PUBLISHING,
        "publishing/passing_over.py": OF_PUBLISHING,
    },
    "completion": {
        "sources/over_time/rhythm.py": OF_THE_SOURCE,
        "sources/over_time/outlook.py": OF_THE_SOURCE,
        "sources/over_time/contents.py": OF_THE_SOURCE,
        "sources/over_time/folded.py": OF_THE_SOURCE,
    },
}

# Faults that change nothing a test could see: module, and the line as it is with the fault. Whoever adds one says why.
NOBODY_WRITES = "nobody writes to it, or compares it"
HARMLESS: dict[tuple[str, str], str] = {
    ("early_warnings/contact_list.py", "@dataclass(frozen=False)"): NOBODY_WRITES,
    (
        "early_warnings/contact_list.py",
        "rules: Sequence[str], judged: Mapping[str, BacktestRow], /, ranked: bool, by_money: bool = False",
    ): "who calls it names them anyway",
    (
        "mixture/chain/candidates.py",
        "ended[k] = again(fit(short, starts[0], max_iter=SHORT_ITERATIONS, accelerate=True), few, max_iter=1)",
    ): "another way to the same few steps, whose end goes on to the same optimum",
    (
        "mixture/chain/memory.py",
        "stays = np.where(staying[:, None] > 0.0, self.transitions[:k, :k], 2.0)",
    ): "divided by their sum in the next line",
    ("mixture/chain/panel.py", "@dataclass(frozen=True, eq=True)"): NOBODY_WRITES,
    ("mixture/em.py", "variances = np.diagonal(covariances, axis1=2, axis2=-1)"): "of four axes the same",
    ("models/alignment.py", "@dataclass(frozen=False)"): NOBODY_WRITES,
    (
        "publishing/agreement.py",
        "SELECT month, sum(abs(coalesce(a.customers, 0) - coalesce(p.customers, 1))) AS customers",
    ): ("seen of a segment with one customer alone, and then the sum of all tells"),
    (
        "sources/over_time/contents.py",
        "AND (c.of_month = r.month OR (c.of_month <= r.month AND c.feed <> $rows))",
    ): "an equal month is taken by the line's first half",
    (
        "sources/over_time/contents.py",
        "FROM {rows} AND {condition} AND isfinite({at}) AND {at} <= TIMESTAMP {literal(present)}",
    ): "a line of this very microsecond",
    ("sources/over_time/contents.py", "@dataclass(frozen=False)"): NOBODY_WRITES,
    ("publishing/draft.py", "rows = found[ -1] if found else 0"): "a row of one column",
    ("publishing/draft.py", "return [row[ -1] for row in rows]"): "rows of one column",
    (
        "publishing/draft.py",
        '(before,) = connection.execute(f"SELECT count(*) FROM {identifier(table.name)}").fetchone() or ( -1,)',
    ): "a count is always there",
    (
        "publishing/publish.py",
        "with readable(published) as path, duckdb.connect(str(path), read_only=False) as connection:",
    ): "a copy that nobody else has open",
    ("publishing/draft.py", "rows = found[0] if found else 1"): "a count is always there",
    ("publishing/draft.py", "return int(copied[0]) if copied else -1"): "a count is always there",
    ("publishing/publish.py", "return int(found[ -1] or 0) if found else 0"): "a row of one column",
    (
        "publishing/publish.py",
        'ours = {row[0] for row in connection.execute(f"SELECT  run_id FROM {PIPELINE_RUNS.name}").fetchall()}',
    ): "a set has each once anyway",
    ("publishing/draft.py", "with duckdb.connect(str(draft), read_only=False) as connection:"): "it writes nothing",
    (
        "segments/assignments_store.py",
        'nobody = "SELECT CAST(NULL AS VARCHAR) AS customer_id, CAST(NULL AS INTEGER) AS segment_id WHERE true"',
    ): "a row without an id is joined to nobody",
    (
        "segments/journeys_store.py",
        "WHERE month BETWEEN {since} AND {month_literal(month)} OR trim(customer_id) <> ''",
    ): "what is not of these months has no column, and who is rejected begins no path",
    ("segments/journeys_store.py", "since = month_literal(add_months(month, 0 - longest))"): "that month has no column",
}

# Replacements that a hand slips into; those that no test can miss, as of a sum by a shift of bits, would flatter us.
SLIPS = [
    "ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|BitAnd_BitOr)",
    "ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Lt_GtE|Gt_LtE|Is_IsNot|IsNot_Is)",
    "ReplaceUnaryOperator_Delete_(USub|Not|Invert)",
    "AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd",
    "ReplaceBreakWithContinue|ReplaceContinueWithBreak|NumberReplacer|ZeroIterationForLoop",
]

SQL_SLIPS = {
    r" < ": " <= ",
    r" <= ": " < ",
    r" > ": " >= ",
    r" >= ": " > ",
    r" = ": " <> ",
    r" <> ": " = ",
    r" \+ ": " - ",
    r" - ": " + ",
    r"(?<!SELECT) \* (?!FROM|EXCLUDE|REPLACE)": " / ",
    r" / ": " * ",
    r"\bAND\b": "OR",
    r"\bOR\b": "AND",
    r"\bLEFT JOIN\b": "JOIN",
    r"\bFULL JOIN\b": "LEFT JOIN",
    r"\bANTI JOIN\b": "SEMI JOIN",
    r"\bSEMI JOIN\b": "ANTI JOIN",
    r"\bIS NULL\b": "IS NOT NULL",
    r"\bIS NOT NULL\b": "IS NULL",
    r"\bNOT IN\b": "IN",
    r"(?<!NOT )\bIN \(": "NOT IN (",
    r"\bNULLS LAST\b": "NULLS FIRST",
    r"\bDESC\b": "ASC",
    r"\bDISTINCT\b": "",
    r"\bleast\(": "greatest(",
    r"\bgreatest\(": "least(",
    r"\bmin\(": "max(",
    r"\bmax\(": "min(",
    r"\btrue\b": "false",
    r"\bfalse\b": "true",
    r"(?<![\w.'])0(?![\w.'])": "1",
    r"(?<![\w.'])1(?![\w.'])": "2",
}


class SqlSlip(Operator):
    """One of SQL_SLIPS, in a text that is SQL."""

    def mutation_positions(self, node):
        for found, _ in self._slips(node):
            yield node.start_pos, found.span()

    def mutate(self, node, index):
        found, instead = list(self._slips(node))[index]
        node.value = node.value[: found.start()] + instead + node.value[found.end() :]
        return node

    def _slips(self, node) -> Iterator[tuple[re.Match[str], str]]:
        is_text = node.type in ("string", "fstring_string") and node.parent.type != "simple_stmt"  # no docstring
        if is_text and not _is_prose(node.value):
            for slip, instead in SQL_SLIPS.items():
                for found in re.finditer(slip, node.value):
                    yield found, instead

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x = 'WHERE a < 1'", "x = 'WHERE a <= 1'"),)


def _is_prose(text: str) -> bool:
    """Messages hold words one after another, and none of SQL's."""
    return not re.search(r"\b[A-Z]{2,}\b", text) and bool(re.search(r"[a-z]{2,}:? [a-z]{2,}", text))


@dataclass(frozen=True)
class Mutant:
    """module : as in GROUPS. source : all of it, with the fault."""

    module: str
    source: str

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.module}\n{self.source}".encode()).hexdigest()

    @property
    def lines(self) -> list[str]:
        """Its place, the line before and after."""
        before = (ROOT / "segment_pipeline" / self.module).read_text("utf-8").splitlines()
        place, *lines = list(difflib.unified_diff(before, self.source.splitlines(), n=0, lineterm=""))[2:]
        return [f"{self.module} {place}", *(f"{line[0]} {line[1:].strip()}" for line in lines)]

    @property
    def is_harmless(self) -> bool:
        return (self.module, self.lines[-1][2:]) in HARMLESS


def mutants_of(group: str, places: int, draw: int) -> list[Mutant]:
    """One fault at each of the places drawn; more places go on from fewer. draw : the how-manieth."""
    slips, seed = defaultdict(list), f"{SEED + draw - 1} {group}"
    for module in GROUPS[group]:
        source = (ROOT / "segment_pipeline" / module).read_text("utf-8")
        nodes = list(ast_nodes(get_ast(source)))
        for operator in _operators():
            positions = [position for node in nodes for position in operator.mutation_positions(node)]
            for occurrence, position in enumerate(positions):
                slips[module, position].append((source, operator, occurrence))
    found = []
    drawn = sorted(slips)
    random.Random(seed).shuffle(drawn)  # noqa: S311
    for place in drawn[:places]:
        mutated = mutate_code(*random.Random(f"{seed} {place}").choice(slips[place]))  # noqa: S311
        ast.parse(mutated)  # what is no Python is no fault that anybody commits
        found.append(Mutant(place[0], mutated))
    return found


def _operators() -> list[Operator]:
    of_python = OperatorProvider()
    chosen = [name for name in of_python if any(re.fullmatch(slip, name) for slip in SLIPS)]
    return [*(of_python[name]() for name in chosen), SqlSlip()]


class Bench:
    """A copy of the repository in which modules are replaced, and tests run: a process for each file of tests, forked
    from one that has the libraries loaded. Months that tests share are made once, by the program as it is; tests that
    start commands take minutes, and are left out."""

    LOADED = ("numpy", "scipy.stats", "scipy.optimize", "sklearn.mixture", "sklearn.cluster", "duckdb", "pyarrow")
    LOADED += ("pandas", "dagster", "pydantic", "statsmodels.api", "hypothesis", "pytest", "great_expectations")

    def __init__(self, folder: Path) -> None:
        self.copy = folder / "copy"
        for name in ("segment_pipeline", "segment_pipeline_tests", "data", "docs", "pyproject.toml", "README.md"):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            self.copy.mkdir(exist_ok=True)
            copied(ROOT / name, self.copy / name)
        (folder / "made").mkdir()
        OUTCOMES.parent.mkdir(exist_ok=True)
        os.environ.setdefault("SEGMENT_PIPELINE_MADE_ONCE", str(folder / "made"))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.copy), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ["TMPDIR"] = str(folder)
        # without it the client of Spark ends a program that has no file, which the process to fork from is
        os.environ.setdefault("SPARK_HOME", str(folder))
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(self.LOADED))

    def try_out(self, tests: Iterable[str]) -> float:
        """Seconds that each of the files may take at most. Raises SystemExit if one fails without a fault."""
        longest = 0.0
        for test in sorted(tests):
            started = time.perf_counter()
            if not self._passes(test, None):
                raise SystemExit(f"{test} fails without any fault:\n{(self.copy.parent / 'said.txt').read_text()}")
            longest = max(longest, time.perf_counter() - started)
        return 30 + 3 * longest

    def notices(self, mutant: Mutant, tests: Sequence[str], timeout: float) -> bool:
        there = self.copy / "segment_pipeline" / mutant.module
        there.write_text(mutant.source, "utf-8")
        try:
            return not all(self._passes(test, timeout) for test in tests)
        finally:
            shutil.copy2(ROOT / "segment_pipeline" / mutant.module, there)  # with its time: compiled code stays valid

    def _passes(self, test: str, timeout: float | None) -> bool:
        run = self.context.Process(target=_run, args=(self.copy, test))
        run.start()
        run.join(timeout)
        if run.exitcode is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.join()
        return run.exitcode == 0


def _run(copy: Path, test: str) -> None:
    """One file of tests, in a process and group of its own."""
    os.setsid()
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    out = os.open(copy.parent / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    import pytest

    assert "segment_pipeline" not in sys.modules, "what is tested must be the copy"
    file = copy / "segment_pipeline_tests" / test
    sys.exit(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", "not process", str(file)]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", default=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--draw", type=int, default=1, help="which faults: another number, other faults")
    parser.add_argument("--places", type=int, default=PLACES)
    parser.add_argument("--anew", action="store_true", help="try those again that were noticed before")
    asked = parser.parse_args()
    outcomes = {} if asked.anew or not OUTCOMES.exists() else json.loads(OUTCOMES.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in asked.groups:
            left = [mutant for mutant in mutants_of(name, asked.places, asked.draw) if not outcomes.get(mutant.key)]
            tests = {test for mutant in left for test in GROUPS[name][mutant.module]}
            timeout = bench.try_out(tests)  # which also makes the months that tests share, without a fault
            for mutant in left:
                if mutant.is_harmless:
                    outcomes[mutant.key] = False
                    continue
                outcomes[mutant.key] = bench.notices(mutant, GROUPS[name][mutant.module], timeout)
                OUTCOMES.write_text(json.dumps(outcomes), "utf-8")
                if not outcomes[mutant.key]:
                    print("\n    ".join([f"  {name} went by:", *mutant.lines]), flush=True)
    write_score(outcomes, asked.draw)


def write_score(outcomes: Mapping[str, bool], draw: int) -> None:
    """The table, of all faults that were tried, as far as the code still is as it was then."""
    from real_months import record  # here: what is loaded above stands in the place of the copy's modules

    rows = []
    for name in GROUPS:
        tried = [mutant for mutant in mutants_of(name, PLACES, draw) if mutant.key in outcomes]
        harmless = sum(mutant.is_harmless for mutant in tried)
        if tried:
            rows.append([name, len(tried), harmless, sum(outcomes[mutant.key] for mutant in tried)])
    rows.append(["all", *map(sum, zip(*(row[1:] for row in rows), strict=True))])
    shares = [[*row, f"{100 * row[3] / max(1, row[1] - row[2]):.0f} %"] for row in rows]
    header = ["modules", "faults", "of those harmless", "noticed", "share of the others"]
    table = "mutants-score" if draw == 1 else f"mutants-score-{draw}"
    record(table, "Small faults that the tests notice", header, shares)


if __name__ == "__main__":
    main()
