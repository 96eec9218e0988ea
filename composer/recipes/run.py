"""Running the steps of a recipe, one after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from composer.callbacks.base import StepCallback
from composer.checks.compatibility import Checked
from composer.config.recipes import TOOL, errors_of_step
from composer.errors import ComposerError
from composer.pipelines.run import execute_checked
from composer.recipes import store
from composer.recipes.check import CheckedRecipe, CheckedTool, check_step, prompts_after, references_in_errors
from composer.recipes.record import tool_record, with_steps
from composer.recipes.spec import Output
from composer.records.measured import measured
from composer.records.result import Result
from composer.system import loading_line
from composer.system.files import scratch_directory
from composer.system.run_lock import in_turn

#: Modes of images that tools can make.
MODES = ("RGB", "RGBA", "L")
Say = Callable[[str], None]
#: Makes the result of a run: name of the step, the run, a directory for files of callbacks, and a receiver of notes.
Generate = Callable[[str, Checked, Path, Say], Result]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How the steps of a recipe are run.

    Attributes:
        generate: Makes the result of a run.
        reuse: Whether results are stored, and those that were made before are used again.
    """

    generate: Generate
    reuse: bool

    def run(self, name: str, checked: Checked | CheckedTool, folder: Path | None, say: Say) -> Result:
        """Run one step, or find its result.

        Args:
            name: Name of the step.
            checked: The step with its real inputs.
            folder: Directory for files of callbacks; None to write none.
            say: Receives notes.

        Returns:
            The result.

        Raises:
            ComposerError: The step failed.
        """
        key = store.step_key(checked) if self.reuse else ""
        stored = store.find(key) if self.reuse else None
        if stored is not None:
            loading_line.stop()
            say("made before with the same settings, and used again")
            _copy(stored[1], folder)
            return stored[0]
        with scratch_directory() as temporary:
            scratch = temporary()
            if isinstance(checked, CheckedTool):
                result = run_tool(checked)
            else:
                result = self.generate(name, checked, scratch, say)
            if self.reuse:
                store.put(key, result, scratch)
            _copy(scratch, folder)
        return result


def runner_for(checked: CheckedRecipe, more: Sequence[StepCallback] = (), watching: bool = False) -> Runner:
    """Choose how the steps of a recipe are run.

    Args:
        checked: The recipe.
        more: Callbacks from Python, which follow those of the config of each run.
        watching: Whether these callbacks change no image. With others, no result is reused.

    Returns:
        A runner that generates, and reuses results unless the recipe says otherwise.
    """

    def generate(name: str, run: Checked, folder: Path, say: Say) -> Result:
        return execute_checked(run, folder, say, more)

    return Runner(generate=generate, reuse=checked.spec.reuse and (watching or not more))


@in_turn
def run_recipe(
    checked: CheckedRecipe,
    folder: Path | None = None,
    say: Say = lambda note: None,
    runner: Runner | None = None,
) -> Result:
    """Run the steps of a recipe.

    Args:
        checked: The recipe.
        folder: Directory that callbacks may write to, those of earlier steps into one of the step's name; None to write
            nothing.
        say: Receives each note for the user as soon as it is known.
        runner: How steps are run; None as `runner_for`.

    Returns:
        The result of the last step. `steps` has those of the others, and its record describes all.

    Raises:
        ComposerError: A step was refused, or failed; the key begins with its name.
    """
    runner = runner or runner_for(checked)
    for metric in (metric for step in checked.steps for metric in step.checked.metrics.values()):
        metric.load()
    results: dict[str, Result] = {}
    prompts: tuple[str, ...] = ()
    complete: dict[str, Result] = {}
    last = checked.steps[-1].step.name
    for step in (checked_step.step for checked_step in checked.steps):
        outputs = {name: output_of(result) for name, result in results.items()}
        with errors_of_step(step.name, (), ()), references_in_errors(step):
            settings = check_step(step.with_outputs(outputs), checked.find, checked.lenient, prompts)
            prompts = prompts_after(settings)
            where = None if folder is None else folder if step.name == last else folder / step.name
            results[step.name] = runner.run(step.name, settings, where, _named(say, step.name))
            if isinstance(settings, CheckedTool):
                results[step.name] = _measured(results[step.name], settings)
        complete[step.name] = with_steps(checked, results)
    final = complete.pop(last)
    notes = (f"{name}: {note}" for name, result in results.items() for note in result.notes)
    return replace(final, notes=tuple(dict.fromkeys(notes)), steps=complete)


def run_tool(checked: CheckedTool) -> Result:
    """Run a tool for each of its images.

    Args:
        checked: The tool with its inputs.

    Returns:
        Images or texts, with the tool's record.

    Raises:
        ComposerError: The tool failed, or made something else than it declares.
    """
    from composer.loading.precision import resolve_device

    started, device = time.perf_counter(), str(resolve_device(checked.spec.device))
    results = [
        _made(checked, {key: _copied(several[index]) for key, several in checked.inputs.items()}, device)
        for index in range(checked.count)
    ]
    result = Result(
        media=[image for image in results if isinstance(image, Image.Image)],
        texts=tuple(text for text in results if isinstance(text, str)),
        seeds=(0,) * len(results),
        seconds=time.perf_counter() - started,
        iterations=0,
        batches=(len(results),),
    )
    return replace(result, record=tool_record(checked, result))


def output_of(result: Result) -> Output:
    """Get the results of a step as inputs of later ones.

    Args:
        result: The result.

    Returns:
        Its images or texts; of clips and sounds none.
    """
    kind = result.kind
    if kind == "text":
        return Output(kind="text", texts=result.texts)
    return Output(kind=kind, images=tuple(result.images) if kind == "image" else ())


def _copied(value: Image.Image | str) -> Image.Image | str:
    return value.copy() if isinstance(value, Image.Image) else value


def _made(checked: CheckedTool, inputs: Mapping[str, Image.Image | str], device: str) -> Image.Image | str:
    """One result of a tool, of the kind that it declares."""
    name, kind = checked.spec.choice.name, str if checked.tool.makes == "text" else Image.Image
    try:
        result = checked.tool.run(inputs, device)
    except (ComposerError, KeyboardInterrupt):
        raise
    except Exception as error:  # tools of plugins may fail in any way
        raise ComposerError(TOOL, name, f"failed: {type(error).__name__}: {error}") from error
    if not isinstance(result, kind):
        raise ComposerError(
            TOOL, name, f"made a {type(result).__name__}, and declares that it makes {checked.tool.makes}"
        )
    if isinstance(result, str):
        return result
    keeps = result.mode in MODES and checked.spec.output.format != "jpeg"
    return result if keeps else result.convert("RGB")


def _measured(result: Result, checked: CheckedTool) -> Result:
    """Measure the images of a tool; the stored result of a step does not depend on its metrics."""
    from composer.loading.precision import resolve_device

    device = str(resolve_device(checked.spec.device)) if checked.metrics else ""
    return measured(result, checked.metrics, checked.prompts, device)


def _named(say: Say, name: str) -> Say:
    return lambda note: say(f"{name}: {note}")


def _copy(files: Path, folder: Path | None) -> None:
    """Copy what callbacks wrote into the directory of the step."""
    if folder is None or not files.is_dir() or not any(files.iterdir()):
        return
    shutil.copytree(files, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
