"""`compose train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.config.command_line import ParsedArgs
from composer.system import console

if TYPE_CHECKING:
    from composer.training.run import Trained


def run(line: ParsedArgs) -> int:
    """Run `compose train lora|textual_inversion data=FOLDER …`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met, or the training failed.
    """
    from composer.training.run import train
    from composer.training.settings import parse_training

    done = train(parse_training(line.overrides, line.config_dir), console.print_note, console.print_progress)
    from composer.cli.single_run import shown

    facts = {
        "folder": shown(done.folder), "config_key": done.config_key, "steps": done.steps, "resumed": done.resumed,
        "loss": done.loss, "seconds": done.seconds, "images": done.images, "sha256": done.sha256,
        "samples": [shown(path) for path in done.samples],
    }  # fmt: skip
    console.report_result(_text(done, shown(done.file)), [shown(done.file)], **facts)
    return 0


def _text(done: Trained, file: str) -> str:
    steps = f"{done.steps} steps" + (f", {done.resumed} of them earlier" if done.resumed else "")
    return (
        f"{file}  ({steps}, loss {done.loss:.4f}, {done.seconds:.0f} s)\n"
        f'try it: compose {done.config_key}={file} prompt="{done.prompt}"'
    )
