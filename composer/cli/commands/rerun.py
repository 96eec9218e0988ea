"""compose rerun FILE [overrides] and compose info FILE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError, printable, shorten
from composer.media.file_texts import read_file_texts
from composer.records import metadata
from composer.system import console
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from composer.reruns.foreign.mapping import ForeignRecord


def rerun(line: ParsedArgs) -> int:
    """Run `compose rerun FILE`: generate an image, clip or sound again from its record, or a variation of it.

    Args:
        line: The command line.

    Returns:
        The exit code; 1 if it should be the same and is not.

    Raises:
        ComposerError: The record cannot be read, or not be generated on this machine.
    """
    path, overrides = _record_path(line)
    try:
        record = metadata.read(path)
    except ComposerError:
        foreign = _foreign(path)
        if foreign is None:
            raise
        return _rerun_foreign(path, foreign, overrides, line)
    from composer.cli.single_run import finished
    from composer.reruns.compare import compare_with_record
    from composer.reruns.describe import describe_run
    from composer.reruns.recipes import regenerate_any, replay_of

    replay = replay_of(path, record, overrides, line.config_dir, line.trust)
    if not line.quiet:
        print(printable(f"compose: {describe_run(record, replay.tree, replay.same)}"), file=sys.stderr)
    folder = replay.folder
    assert folder is not None  # only a call from Python has none
    result = finished(lambda: regenerate_any(record, replay, console.print_note), folder)
    if not replay.same:
        return 0
    same, words = compare_with_record(path, record, result)
    if not same:
        print(printable(f"compose: {words}"), file=sys.stderr)
    else:
        console.print_progress(words)
    return 0 if same else 1


def info(line: ParsedArgs) -> int:
    """Run `compose info FILE`: print the record of an image, clip or sound, or the text in another tool's file.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The file has neither.
    """
    from composer.reruns.describe import format_foreign_texts, format_report

    path, more = _record_path(line)
    if path.suffix == ".safetensors" and not more:
        return _lora_info(path)
    if more:
        raise ComposerError("info", " ".join(more), "say `compose info FILE`, with one image, clip, sound or run.json")
    try:
        record = metadata.read(path)
    except ComposerError:
        inside = None if line.json or path.suffix == ".json" else read_file_texts(path)
        if inside is None or not inside.texts:
            raise
        print(format_foreign_texts(path.name, inside))
        if (foreign := _foreign(path)) is not None:
            print(
                "\n".join(
                    ["", "in composer's words", f"  {foreign.command()}", *(f"  {note}" for note in foreign.notes())]
                )
            )
        return 0
    console.report_facts(record, format_report(path.name, record))
    return 0


def _foreign(path: Path) -> ForeignRecord | None:
    """The record of another tool in an image, a clip or a sound."""
    from composer.reruns.foreign.mapping import read_foreign

    try:
        return None if path.suffix == ".json" else read_foreign(read_file_texts(path).texts)
    except ComposerError:
        return None


def _rerun_foreign(path: Path, foreign: ForeignRecord, overrides: list[str], line: ParsedArgs) -> int:
    """Generate by the settings of another tool's record. Names of files are only shown."""
    from composer.config.compose import compose_with_hydra_node, without_hydra
    from composer.config.output_folder import folder_of
    from composer.config.overrides import split

    typed = {split(word)[1] for word in overrides}
    if not typed & {"model", "model.source", "preset"}:
        whose = f"was made by {foreign.tool} with the model {shorten(foreign.model or 'that it does not name', 60)}"
        raise ComposerError(
            path.name, None, f"{whose}: name one of yours, model=…; `compose info {path.name}` shows all"
        )
    config = compose_with_hydra_node([*foreign.words(overrides), *overrides], line.config_dir)
    folder = folder_of(config)
    if not line.quiet:
        words = (
            f"by the record of {foreign.tool}, whose noise is another: a similar image, not the same",
            *foreign.notes(),
        )
        print("\n".join(printable(f"compose: {text}") for text in words), file=sys.stderr)
    from composer.cli.single_run import run_job

    run_job(without_hydra(config), folder)
    return 0


def _lora_info(path: Path) -> int:
    """Print what a LoRA file is for."""
    from composer.checkpoints.lora_file import read_lora
    from composer.checkpoints.lora_report import format_lora, lora_facts

    file = read_lora(path, "info")
    console.report_facts(lora_facts(file), format_lora(file))
    return 0


def _record_path(line: ParsedArgs) -> tuple[Path, list[str]]:
    if not line.overrides or "=" in line.overrides[0]:
        raise ComposerError(
            str(line.command),
            None,
            f"say `compose {line.command} FILE`, with an image, clip or sound of composer's or its run.json",
        )
    path = expand_user(line.overrides[0])
    return metadata.record_file(path), line.overrides[1:]
