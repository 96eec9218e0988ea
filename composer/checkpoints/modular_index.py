"""``modular_model_index.json``, the index of checkpoints that exist only as blocks of Modular Diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.errors import ComposerError

#: Name of the file.
MODULAR = "modular_model_index.json"
#: Entry of the index with the class of the blocks.
BLOCKS = "_blocks_class_name"
#: Entry with code of the checkpoint's own, which diffusers would run.
CODE = "auto_map"
#: Key of `plain_index` with the components of other repositories.
REFERENCES = "_references"
#: Classes that only name a kind of component; the class that was saved is more exact.
_GENERAL = ("PreTrainedModel", "PreTrainedTokenizerBase", "ProcessorMixin", "SchedulerMixin", "ModelMixin", "AutoModel")


def plain_index(key: str, source: str, folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """Write a modular index in the form of ``model_index.json``.

    Args:
        key: Config key that named the checkpoint, for errors.
        source: The key's value.
        folder: Directory of the checkpoint.
        index: Content of ``modular_model_index.json``.

    Returns:
        Component → library and class; nulls for a component that is not in the directory. Those that the index finds in
        another repository are under `REFERENCES`, as values of ``model.components``. Other entries are settings.

    Raises:
        ComposerError: The index names code of its own, or a component is to be in the directory and is not.
    """
    if CODE in index:
        reason = f"its {MODULAR} names code of its own ({CODE}), and a checkpoint can choose only classes of diffusers"
        raise ComposerError(key, source, reason)
    plain: dict[str, Any] = {}
    references: dict[str, dict[str, Any]] = {}
    for name, entry in index.items():
        if not _is_component(entry):
            plain[name] = entry
            continue
        loading = entry[2]
        where, subfolder = loading.get("pretrained_model_name_or_path"), loading.get("subfolder") or ""
        local = (folder / name).is_dir() and subfolder in ("", name)
        plain[name] = _class(entry) if local else [None, None]
        if not local and where:
            references[name] = _reference(key, source, folder, name, loading)
    return {BLOCKS: str(index.get("_class_name")), **plain, REFERENCES: references}


def _is_component(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], dict)


def _class(entry: list[Any]) -> list[Any]:
    """Library and class of a component: those that diffusers loads it by; of tokenizers, whose files are the same for
    several classes, the class that was saved.
    """
    saved, hint = entry[:2], list(entry[2].get("type_hint") or (None, None))
    if not all(hint) or (all(saved) and (hint[1] in _GENERAL or "Tokenizer" in str(hint[1]))):
        return saved
    return hint


def _reference(key: str, source: str, folder: Path, name: str, loading: Mapping[str, Any]) -> dict[str, Any]:
    where, subfolder = str(loading["pretrained_model_name_or_path"]), loading.get("subfolder") or ""
    if where in (source, str(folder)) and not (folder / subfolder).is_dir():
        reason = f"the folder {subfolder} named in {MODULAR} is missing: the checkpoint is incomplete"
        raise ComposerError(key, source, reason)
    chosen = {"revision": loading.get("revision"), "variant": loading.get("variant")}
    return {"source": where, "subfolder": subfolder, **{word: value for word, value in chosen.items() if value}}
