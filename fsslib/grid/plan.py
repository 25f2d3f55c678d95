"""What a call will do before it does anything: rows done, stored, to run, impossible here; hours and room."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json
from ..results.schema import check_table
from .cost import Rates, features
from .jobs import STALE

DONE, STORED, RUN, IMPOSSIBLE, WAITING = "done", "stored", "to run", "impossible here", "waiting"


@dataclass(frozen=True)
class Plan:
    """``states``: dict Row -> one of the five words above · ``why``: dict Row -> reason where it is impossible · ``stored``: dict
    Row.key -> row of the committed table that
    was made by the same commands · ``jobs``: to run, the needed first · ``seconds``: dict folder -> estimate ·
    ``features``: (GB, seconds) of what is computed once and kept."""
    table: object
    states: dict
    why: dict
    stored: dict
    jobs: list
    seconds: dict
    features: tuple

    def rows(self, *states):
        return [row for row, state in self.states.items() if state in states]

    def unpaired(self):
        """Pairs of lines of which one is to run and the other is stored without its episodes: no difference can be made."""
        found = []
        for label, minus in self.table.differences:
            states = {name: {self.states[row] for row in self.table.rows if row.label == name} for name in (label, minus)}
            if any(RUN in states[a] and STORED in states[b] for a, b in ((label, minus), (minus, label))):
                found.append((label, minus))
        return found

    def text(self, cores):
        """The plan as lines for a terminal."""
        count = {state: len(self.rows(state)) for state in (DONE, STORED, RUN, IMPOSSIBLE, WAITING)}
        lines = [f"{self.table.name}: {len(self.states)} rows: " + ", ".join(f"{n} {state}" for state, n in count.items() if n)]
        for row in self.rows(IMPOSSIBLE):
            lines.append(f"  {row.name}: {self.why[row]}")
        for label, minus in self.unpaired():
            lines.append(f"  the difference {label} - {minus} needs both rows run here: add --again, or leave it as it is stored")
        if self.jobs:
            hours = (sum(self.seconds.values()) + self.features[1]) / 3600
            kinds = ", ".join(f"{sum(job.command == kind for job in self.jobs)} x {kind}"
                              for kind in dict.fromkeys(job.command for job in self.jobs))
            lines.append(f"  {kinds}: about {hours:.2f} hours of computing ({hours / cores:.2f} on {cores} cores), "
                         f"{self.features[0]:.1f} GB of features")
        return "\n".join(lines)


def make_plan(table, out, results, only=None, again=False, elsewhere=False):
    """The Plan of a Table: ``out`` holds the jobs' folders, ``results`` the stored tables · ``only``: regular expression; rows
    whose name does not match wait · ``again``: stored rows are run, too · ``elsewhere``: the jobs run on other machines.

    A stored row that the table no longer has raises InputError: a table is never replaced by less.
    """
    path = Path(results) / f"{table.name}.json"
    kept = {stored_key(row): row for row in check_table(read_json(path), path)["rows"]} if path.exists() else {}
    if lost := {*kept} - {row.key for row in table.rows}:
        raise InputError(path, f"{len(lost)} stored rows that the table no longer has, such as {min(lost)[0]!r}", "all of them",
                         "Give another folder with --results, or put the rows back.")
    kept = {row.key: kept[row.key] for row in table.rows if row.key in kept and not _gone(table.job(row), out)
            and kept[row.key]["commands"] == [job.line("runs/grid") for job in table.job(row).chain()]}
    states, why, jobs = {}, {}, {}
    for row in table.rows:
        last = table.job(row)
        stored = kept.get(row.key)
        if valid(last, out):
            states[row] = DONE
        elif only and not re.search(only, row.name):
            states[row] = STORED if stored else WAITING
        elif stored and not again:
            states[row] = STORED
        elif reason := next(filter(None, (job.impossible(elsewhere) for job in last.chain())), ""):
            states[row], why[row] = STORED if stored else IMPOSSIBLE, reason
        else:
            states[row] = RUN
            jobs |= {job.folder: job for job in last.chain() if not valid(job, out)}
    rates = Rates(out, results)
    order = sorted(jobs.values(), key=lambda job: ("pretrain", "probe", "train", "evaluate").index(job.command))
    return Plan(table, states, why, kept, order, {job.folder: rates.seconds(job) for job in order}, features(order))


def _gone(job, out):
    """Whether a result was here that no longer fits what the job is now: then no number from elsewhere stands for it."""
    return (Path(out) / job.folder / STALE).exists() or (job.result(out) is not None and not valid(job, out))


def valid(job, out):
    """Whether a job and all that it was made from are as they would be made now; files that were cleared away do not count."""
    return job.up_to_date(out) and all(need.result(out) is None or valid(need, out) for need, _ in job.needs.values())


def stored_key(row):
    """What finds a stored row: its label, fold and seed."""
    return row.get("row", row["label"]), row.get("fold", 0), row["seed"]
