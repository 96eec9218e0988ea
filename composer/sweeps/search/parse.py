"""`hydra/sweeper=optuna`: the settings for which something is least, such as the cheapest near an image.
https://optuna.readthedocs.io

A search of our own, since Hydra's Optuna plugin needs optuna<3 and generates each trial as a run from nothing. Here
they are generated in
this process with what is loaded already, and kept as a sweep's jobs are. What is asked for is `search.*`; see
conf/search.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from composer.config import overrides as argv
from composer.config.command_line import ParsedArgs
from composer.config.hydra_errors import explained
from composer.config.hydra_loader import loader
from composer.config.hydra_settings import OUT, SEARCH, SWEEP_DIR
from composer.errors import ComposerError
from composer.sweeps.grammar import Grammar, Job
from composer.sweeps.job_configs import Composer
from composer.sweeps.job_id import identity
from composer.sweeps.parse import MANNER, SWEEPS, folder_of, manner_and_own
from composer.sweeps.plan import Entry
from composer.sweeps.search.metrics import KEY, Reference
from composer.sweeps.search.space import Point, Space
from composer.sweeps.settings import read_search, read_sweep
from composer.sweeps.spec import SearchSpec, SheetSpec, SweepSpec
from composer.sweeps.worker import Worker, drop_progress_callback

#: Settings of a sweep that a search has a use for.
SHARED = ("name", "fresh")


@dataclass
class Search:
    """What was asked for, parsed. own: overrides that make the trials. manner: those that say how. typed: as they were
    typed, by
    what they were made."""

    line: ParsedArgs
    own: list[str]
    manner: list[str]
    typed: dict[str, str]
    spec: SearchSpec
    fresh: bool
    folder: Path
    compose: Composer
    space: Space
    worker: Worker = field(default_factory=Worker)

    def entry(self, words: Sequence[str], number: int = 0, axes: tuple[str, ...] = ()) -> Entry:
        """What is fixed with these overrides: its config, its checkpoint, its id.

        Raises:
            ComposerError: it can't work.
        """
        job = Job(number, self.space.settings(words), axes)
        with explained(job.overrides, self.line.config_dir):
            tree = drop_progress_callback(self.compose(job.settings))
        checked = self.worker.checked(tree)
        return Entry(job, identity(checked), tree, checked)

    def trial(self, point: Point, number: int = 0) -> Entry:
        return self.entry(self.space.words(point), number, tuple(self.space.values(point)))

    def reference(self) -> Reference | Entry | None:
        """An image, or what is to be generated to compare with."""
        text = self.spec.reference
        if text is None:
            return None
        words = _words(text)
        if words is None:
            return Reference.read(text)
        for word in argv.prepare(words):
            override = self.space.grammar.parse(word)
            if override.is_sweep_override() or re.split(r"[./]", override.key_or_group)[0] in MANNER:
                raise ComposerError(
                    KEY, text, f"`{word}` is not for one run: it takes overrides such as steps=50 scheduler=ddim"
                )
        return self.entry(argv.prepare(words))

    def command(self, point: Point) -> str:
        """The single run that generates a point's images again."""
        fixed = [self.typed.get(text, text) for text in self.space.fixed]
        flags = [] if self.line.config_dir is None else ["--config-dir", self.line.config_dir]
        return shlex.join(["compose", *flags, *fixed, *self.space.words(point)])


def asked_for(line: ParsedArgs) -> Search:
    """Parse a command line."""
    overrides = argv.prepare(line.overrides, multirun=True)
    with explained(overrides, line.config_dir):
        return _parsed(line, overrides)


def _parsed(line: ParsedArgs, overrides: list[str]) -> Search:
    manner, own = manner_and_own(overrides)
    of_hydra = [text for text in manner if argv.split(text)[1].startswith(("hydra", OUT))]
    for _, key, value in (argv.split(text) for text in of_hydra if text != SEARCH):
        if key not in (SWEEP_DIR, OUT):
            raise ComposerError(
                key, value, f"has no say in a search, which generates in this process: leave it out, or {SEARCH}"
            )
    grammar = Grammar(loader(line.config_dir))
    folder = folder_of([text for text in manner if text != SEARCH])
    settings = grammar.loader.settings([text for text in manner if text not in of_hydra])
    spec, (sweep, sheet) = read_search(settings), read_sweep(settings)
    for name, given, plain in (("sweep", sweep, SweepSpec()), ("sheet", sheet, SheetSpec())):
        for key, value in vars(given).items():
            if key not in SHARED and value != getattr(plain, key):
                raise ComposerError(f"{name}.{key}", value, "has no say in a search: leave it out")
    space = Space(grammar, own)
    folder = folder or SWEEPS / (sweep.name or _name(own, spec, space))
    kept = [text for text in manner if argv.split(text)[1].startswith("search.") or text == SEARCH]
    typed = {
        text: word for text, word in zip(overrides, line.overrides) if not (argv.split(word)[2] or "").startswith("@")
    }
    return Search(line, own, kept, typed, spec, sweep.fresh, folder, Composer(grammar), space)


def _name(own: Sequence[str], spec: SearchSpec, space: Space) -> str:
    """Of the folder: the keys, and a sum over what was asked, so that the same command with more trials finds it again."""
    what = [*own, json.dumps([spec.metric, spec.reference, spec.within, spec.seed])]
    keys = "-".join(axis.key.lstrip("+").replace(".", "_") for axis in space.axes)[:60]
    return f"search-{keys}-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:8]}"


def _words(text: str) -> list[str] | None:
    """A reference's overrides; None where it is a file's name."""
    try:
        words = shlex.split(text)
        is_file = Path(text).expanduser().exists()
    except (ValueError, OSError, RuntimeError):  # an odd quote; no name that a file could have
        return None
    return words if words and not is_file and all("=" in word for word in words) else None
