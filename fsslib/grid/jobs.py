"""A job: one command of the kit that fills one folder, written down so that a person can type it."""

import functools
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ..basics.commands import job_digest, typed
from ..basics.errors import InputError
from ..basics.storage import read_json, sha256_json

RESULT, SECONDS, LOG = "result.json", "seconds.tsv", "log.txt"
STALE = "stale"          # in the folder of a job whose result here was of other options, files or data: no stored row stands for it
RESUMES = ("train", "pretrain")


@dataclass(frozen=True)
class Job:
    """``command``: train, evaluate, pretrain or probe · ``options``: dict of its options, without the dashes · ``needs``: dict
    option -> (Job, file): what it reads of other jobs. Its folder carries a digest of all that: another option is another
    folder, and tables share the jobs that they have in common."""
    command: str
    name: str
    options: dict = field(hash=False)
    needs: dict = field(hash=False)
    gpu: bool = False

    @property
    def folder(self):
        """Below the folder of all jobs."""
        reads = {option: [job.folder, file] for option, (job, file) in self.needs.items()}
        return f"{self.command}/{self.name}-{sha256_json([self.command, self.options, reads])[:10]}"

    def pairs(self, out):
        """What is given to the command but for --out, [option] or [option, value] each; other jobs' files lie under ``out``."""
        pairs = []
        for name, value in self.options.items():
            if isinstance(value, bool):
                pairs.append([f"--{name}" if value else f"--no-{name}"])
            else:
                pairs += [[f"--{name}", str(item)] for item in (value if isinstance(value, list) else [value])]
        return pairs + [[f"--{option}", str(Path(out) / job.folder / file)] for option, (job, file) in self.needs.items()]

    def line(self, out):
        """The whole command as it is run and typed."""
        resume = [["--resume"]] if self.command in RESUMES else []
        words = [word for pair in [*self.pairs(out), *resume, ["--out", str(Path(out) / self.folder)]] for word in pair]
        return shlex.join(["fsslib", self.command, *words])

    def chain(self):
        """This job and all that it needs, each once, the needed first."""
        found = {job.folder: job for need, _ in self.needs.values() for job in need.chain()}
        return [*found.values(), self]

    def result(self, out):
        """The content of its result.json under ``out``, or None where it is not whole."""
        path = Path(out) / self.folder / RESULT
        return read_json(path) if path.exists() else None

    def up_to_date(self, out):
        """Whether its result is there and made by this very command from the files and the data as they are now.

        A result whose needed files were cleared away, or whose data set is not here, is judged by its command alone.
        """
        stored, pairs = self.result(out), self.pairs(os.path.relpath(out))
        if stored is None:
            return False
        if all((Path(out) / job.folder / file).exists() for job, file in self.needs.values()):
            try:
                return stored["digests"].get("job") == job_digest(self.command, pairs, dataset_digest(*self.data))
            except InputError:               # the data set is elsewhere
                pass
        return sorted(shlex.split(stored["command"])) == sorted(shlex.split(typed(self.command, pairs)))

    @property
    def data(self):
        """(data set, split) that it reads."""
        if self.command != "evaluate":
            return self.options["dataset"], "train"
        from ..episodes.protocols import get_protocol
        return self.options["dataset"], self.options.get("split") or get_protocol(self.options["protocol"]).split

    def impossible(self, elsewhere):
        """Why it cannot run, or ""; ``elsewhere``: on other machines than this one, which may have a GPU."""
        try:
            dataset_digest(*self.data)
        except InputError as error:
            return f"{error.where}: {error.found}"
        if self.gpu and not elsewhere:
            import torch
            return "" if torch.cuda.is_available() else "no GPU here"
        return ""


@functools.cache
def dataset_digest(name, split):
    """The digest of a data set as it is opened here, looked up once."""
    from ..datasets import open_dataset
    return open_dataset(name, split=split).digest
