"""Where the image encoder of an IP-Adapter is: given, beside its file, or in its repository at the hub. No torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.config.adapter_nodes import is_hub_file
from composer.errors import ComposerError
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from composer.config.spec import IpAdapterSpec

#: Name of the directory beside the files of IP-Adapters, as their authors publish them.
USUAL_FOLDER = "image_encoder"
_FILES = ("config.json", "model.safetensors")


def find_encoder(key: str, spec: IpAdapterSpec, file: Path) -> Path:
    """Find the image encoder of an IP-Adapter; one at the hub is downloaded.

    Args:
        key: Config key of the encoder, for errors.
        spec: Settings of the IP-Adapter.
        file: Its file.

    Returns:
        A directory in transformers' format.

    Raises:
        ComposerError: There is none.
    """
    if spec.encoder is not None:
        folder = expand_user(spec.encoder)
        if folder.is_dir():
            return _complete(key, spec.encoder, folder)
        if (is_hub_file(spec.encoder) or spec.encoder.count("/") == 1) and not folder.exists():
            return _fetch(key, spec.encoder, None)
        raise ComposerError(
            key,
            spec.encoder,
            "there is no such directory, and it is none at the hub (owner/name/folder)",
        )
    beside = file.parent / USUAL_FOLDER
    if beside.is_dir():
        return _complete(key, str(beside), beside)
    if not expand_user(spec.file).exists() and spec.file.count("/") > 1:
        return _fetch(key, f"{spec.file.rpartition('/')[0]}/{USUAL_FOLDER}", spec.revision)
    raise ComposerError(key, None, f"there is no {USUAL_FOLDER} beside {file.name}: name its directory, {key}=FOLDER")


def _complete(key: str, value: str, folder: Path) -> Path:
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ComposerError(key, value, f"is no image encoder in transformers' format: it has no {missing[0]}")
    return folder


def _fetch(key: str, folder: str, revision: str | None) -> Path:
    """Download the files of an encoder, or find them in the hub's cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    weights = locate(AdapterSource(key=key, file=f"{folder}/{_FILES[1]}", revision=revision))
    owner, name, *rest = folder.split("/")
    hf_hub_download(f"{owner}/{name}", "/".join([*rest, _FILES[0]]), revision=revision)
    with suppress(EntryNotFoundError):  # those that read CLIP have none
        hf_hub_download(f"{owner}/{name}", "/".join([*rest, "preprocessor_config.json"]), revision=revision)
    return _complete(key, folder, weights.parent)
