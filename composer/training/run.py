"""`compose train`: plan, load, train, and write the result. Heavy imports wait until the plan is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from composer.config.output_folder import leave_nothing, make
from composer.system import loading_line
from composer.system.files import exclusive_lock, write_atomically
from composer.system.library_logs import silenced_libraries
from composer.system.run_lock import in_turn
from composer.training.plan import Plan, plan_training
from composer.training.settings import Requested

#: Name of the file with the settings.
SETTINGS = "train.json"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training.

    Attributes:
        file: The file that a run takes.
        config_key: Node of a run that takes it: ``lora`` or ``embedding``.
        folder: Directory of all files.
        steps: Steps that it has.
        resumed: Steps that an earlier process had done.
        loss: Mean loss of the last tenth of the steps.
        seconds: Seconds of this process's steps, with checkpoints and samples.
        images: Images of the data.
        sha256: SHA-256 of the data, in hexadecimal.
        samples: Sheets of sample images, in their order.
        prompt: A prompt that shows what was learnt.
    """

    file: Path
    config_key: str
    folder: Path
    steps: int
    resumed: int
    loss: float
    seconds: float
    images: int
    sha256: str
    samples: tuple[Path, ...]
    prompt: str


@in_turn
def train(requested: Requested, say: Callable[[str], None], progress: Callable[[str], None]) -> Trained:
    """Train, or go on with a training that was stopped.

    Args:
        requested: The command line.
        say: Receives each note for the user.
        progress: Receives lines about how far it is.

    Returns:
        The result.

    Raises:
        ComposerError: It can't work, or the directory holds another training.
    """
    with TemporaryDirectory(prefix="composer-") as scratch:
        plan = plan_training(requested, Path(scratch))
        new = make(plan.folder)
        try:
            with exclusive_lock(plan.folder), silenced_libraries():
                return _train(plan, say, progress)
        finally:
            leave_nothing(new)  # where nothing was written


def _train(plan: Plan, say: Callable[[str], None], progress: Callable[[str], None]) -> Trained:
    """Load the models, and train with the weights of the method among them."""
    from composer.pipelines.build import build_pipeline
    from composer.training.encoding import check_caption_length, encode_images
    from composer.training.methods import METHODS
    from composer.training.session import Session, made_loop
    from composer.training.state import load_state

    spec, dataset = plan.requested.spec, plan.dataset
    earlier = None if spec.fresh else load_state(plan.folder, plan.settings)
    pipeline = build_pipeline(plan.checked)
    loading_line.stop()
    for note in (*pipeline.notes, *plan.notes):
        say(note)
    method = METHODS[plan.requested.method]
    check_caption_length(pipeline, dataset, say)
    images = encode_images(pipeline.family, dataset.examples, plan.sizes, spec.seed)
    write_atomically(plan.folder / SETTINGS, json.dumps(plan.describe(), indent=1).encode())
    with method.attached(pipeline, spec) as learned, made_loop(pipeline, plan, images, learned) as loop:
        session = Session(plan, pipeline, learned, loop, progress)
        seconds = session.run(earlier)
        file = session.write(plan.folder / method.file_name)
    done = earlier.step if earlier else 0
    return Trained(
        file=file, config_key=method.config_key, folder=plan.folder, steps=spec.steps, resumed=done,
        loss=session.log.mean(max(1, spec.steps // 10)), seconds=seconds, images=len(dataset.examples),
        sha256=dataset.sha256, samples=session.samples, prompt=plan.checked.request.prompts[0],
    )  # fmt: skip
