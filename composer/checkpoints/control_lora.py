"""Control LoRA of FLUX.1, recognised by the header of a file. No torch.

It widens the first layer of a transformer, which then reads an image to follow beside the latents.
https://huggingface.co/black-forest-labs/FLUX.1-Canny-dev-lora
"""

from __future__ import annotations

from pathlib import Path

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import SAFETENSORS, read_header
from composer.errors import ComposerError

#: Names of the first layer, in diffusers' words and in those of the original repository.
_FIRST_LAYERS = ("x_embedder", "img_in")
_DOWN = (".lora_A.weight", ".lora_down.weight")
_REASON = (
    "is a control LoRA, which widens {layer} from {ours} to {theirs} channels and is not supported: "
    "use a complete control checkpoint, as task=control model.source=black-forest-labs/FLUX.1-Canny-dev"
)


def refuse_control_lora(key: str, path: Path, checkpoint: Checkpoint) -> None:
    """Refuse a file that is a control LoRA.

    Args:
        key: Config key that names it.
        path: A local file of an adapter.
        checkpoint: The checkpoint of the run.

    Raises:
        ComposerError: It is one.
    """
    channels = checkpoint.denoiser.get("in_channels")
    if path.suffix != SAFETENSORS or checkpoint.family != "flux" or not isinstance(channels, int):
        return
    for name, entry in read_header(path, key).items():
        layer = next((layer for layer in _FIRST_LAYERS if layer in name), None)
        if layer is not None and name.endswith(_DOWN) and (read := entry["shape"][-1]) > channels:
            raise ComposerError(key, path.name, _REASON.format(layer=layer, ours=channels, theirs=read))
