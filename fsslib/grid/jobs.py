"""A job: one command of the kit that fills one folder, written down so that a person can type it."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ..basics.errors import InputError
from ..basics.storage import read_json, sha256_json

RESULT, SECONDS, LOG = "result.json", "seconds.tsv", "log.txt"
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

    def words(self, out):
        """The command's words but for --out; other jobs' files lie under ``out``."""
        words = [self.command]
        for name, value in self.options.items():
            if isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            else:
                for item in value if isinstance(value, list) else [value]:
                    words += [f"--{name}", str(item)]
        for option, (job, file) in self.needs.items():
            words += [f"--{option}", str(Path(out) / job.folder / file)]
        return words

    def line(self, out):
        """The whole command as it is run and typed."""
        resume = ["--resume"] if self.command in RESUMES else []
        return shlex.join(["fsslib", *self.words(out), *resume, "--out", str(Path(out) / self.folder)])

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

        A result whose needed files were cleared away is judged by its command alone.
        """
        from ..cli import cli
        from ..cli.options import about, typed
        stored = self.result(out)
        if stored is None:
            return False
        context = cli.commands[self.command].make_context(self.command, self.words(out)[1:])
        if not all((Path(out) / job.folder / file).exists() for job, file in self.needs.values()):
            return stored.get("command") == shlex.join(["fsslib", *typed(context)])
        return stored["digests"].get("job") == about(context, dataset_digest(*self.data))["job"]

    @property
    def data(self):
        """(data set, split) that it reads."""
        if self.command != "evaluate":
            return self.options["dataset"], "train"
        from ..episodes.protocols import get_protocol
        return self.options["dataset"], self.options.get("split") or get_protocol(self.options["protocol"]).split

    def impossible(self):
        """Why it cannot run on this machine, or ""."""
        try:
            dataset_digest(*self.data)
        except InputError as error:
            return f"{error.where}: {error.found}"
        if self.gpu:
            import torch
            return "" if torch.cuda.is_available() else "no GPU here"
        return ""


_digests = {}


def dataset_digest(name, split):
    """The digest of a data set as it is opened here, looked up once."""
    from ..datasets import open_dataset
    if (name, split) not in _digests:
        _digests[name, split] = open_dataset(name, split=split).digest
    return _digests[name, split]
