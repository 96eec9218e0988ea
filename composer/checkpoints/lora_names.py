"""Names of tensors in LoRA files: which component and layer a tensor belongs to, and its role there.

Three ways of naming are in use: diffusers' and PEFT's (``unet.….to_q.lora_A.weight``), that of kohya's sd-scripts with
underscores (``lora_unet_…_to_q.lora_down.weight``), which LyCORIS shares, and that of the models' original authors.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: End of a tensor's name → its role in the layer; longer ends first.
ROLES = {
    "lora_linear_layer.down.weight": "down", "lora_linear_layer.up.weight": "up",
    "lora_magnitude_vector.weight": "dora", "lora_magnitude_vector": "dora", "dora_scale": "dora",
    "lora_A.weight": "down", "lora_down.weight": "down", "lora.down.weight": "down",
    "lora_B.weight": "up", "lora_up.weight": "up", "lora.up.weight": "up",
    "lora_mid.weight": "mid", "lora_B.bias": "bias", "alpha": "alpha", "diff_b": "diff_b", "diff": "diff",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1_a", "lokr_w1_b", "lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_w2", "lokr_t2")},
}  # fmt: skip
#: Prefix of kohya's names → component; None for the denoiser.
_KOHYA = {
    "lora_unet_": None, "lora_transformer_": None, "lora_te_": "text_encoder", "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2", "lora_te3_": "text_encoder_3",
}  # fmt: skip
#: Prefix of names with dots → component; None for the denoiser.
_DOTTED = {
    "unet.": None, "transformer.": None, "diffusion_model.": None, "model.diffusion_model.": None,
    "text_encoder.": "text_encoder", "text_encoder_2.": "text_encoder_2", "text_encoder_3.": "text_encoder_3",
}  # fmt: skip
#: Prefix of PEFT's own files, which do not name the component.
PEFT_PREFIX = "base_model.model."
#: Beginnings of layers as the authors of SDXL, SD3 and Flux name them.
_ORIGINAL = re.compile(
    r"(input_blocks|middle_block|output_blocks|double_blocks|single_blocks|joint_blocks|time_embed_|label_emb|out_2)"
)
#: Projections of attention in diffusers' former names → those of a text encoder.
_TEXT_PROJECTIONS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
#: Parts of a residual block in SDXL's original names → diffusers' names.
_RESNET = {
    "in_layers_2": "conv1", "out_layers_3": "conv2", "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}  # fmt: skip
#: Layers outside of SDXL's blocks in its original names → diffusers' names.
_OUTSIDE = {
    "input_blocks_0_0": "conv_in", "out_2": "conv_out", "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2", "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
}  # fmt: skip
_SGM = re.compile(r"(input_blocks|output_blocks)_(\d+)_(\d+)_(.+)|(middle_block)_(\d+)_(.+)")


class LayerName(NamedTuple):
    """A layer as a file names it.

    Attributes:
        component: Its component; None for the denoiser, an empty text if the file does not say.
        path: The rest of the name.
        underscored: Whether dots are written as underscores.
        prefix: What the name begins with, and is no part of the path.
    """

    component: str | None
    path: str
    underscored: bool
    prefix: str

    @property
    def original(self) -> bool:
        """Whether the layer is named as in the authors' own code, and not in diffusers'."""
        return _ORIGINAL.match(self.path) is not None


def split_tensor(name: str) -> tuple[str, str] | None:
    """Split a tensor's name into its layer and its role.

    Args:
        name: Key of a LoRA file.

    Returns:
        Layer as written and role, or None for a name that no LoRA format has.
    """
    for end, role in ROLES.items():
        for separator in "._" if end.startswith("lora.") else ".":
            if name.endswith(separator + end):
                return name[: -len(end) - 1], role
    return None


def parse_layer(written: str) -> LayerName:
    """Find which component a layer belongs to.

    Args:
        written: Layer as `split_tensor` returns it.
    """
    for prefix, component in _KOHYA.items():
        if written.startswith(prefix):
            return LayerName(component, written.removeprefix(prefix), True, prefix)
    for prefix, component in _DOTTED.items():
        if written.startswith(prefix):
            return LayerName(component, written.removeprefix(prefix), False, prefix)
    if written.startswith(PEFT_PREFIX):
        return LayerName("", written.removeprefix(PEFT_PREFIX), False, PEFT_PREFIX)
    return LayerName("", written, False, "")


def layer_key(name: LayerName, text_encoder: bool, layers_per_block: int = 2) -> str:
    """Return a layer's path as `model_key` returns those of a model.

    Args:
        name: The layer.
        text_encoder: Whether it is looked for in a text encoder.
        layers_per_block: Residual blocks of a UNet's block, which the original names count through.
    """
    path = name.path
    if name.underscored:
        path = _from_sgm(path, layers_per_block) if not text_encoder else path
        return path.removeprefix("text_model_")
    path = path.replace(".processor.", ".")
    head, _, last = path.rpartition(".")
    if text_encoder and head.endswith("self_attn"):
        path = f"{head}.{_TEXT_PROJECTIONS.get(last, last)}"
    elif last == "to_out":
        path = f"{path}.0"
    return model_key(path, False)


def model_key(path: str, underscored: bool) -> str:
    """Return a module's path in the form that `layer_key` has.

    Args:
        path: Path of a module, such as ``text_model.encoder.layers.0.mlp.fc1``.
        underscored: Whether to write dots as underscores.
    """
    path = path.removeprefix("text_model.")
    return path.replace(".", "_") if underscored else path


def _from_sgm(path: str, layers_per_block: int) -> str:
    """SDXL's original name of a layer → diffusers' name; others stay as they are."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    match = _SGM.fullmatch(path)
    if match is None:
        return path
    if match[5]:
        number = int(match[6])
        inner = (
            f"attentions_0_{match[7]}" if number == 1 else f"resnets_{number // 2}_{_RESNET.get(match[7], match[7])}"
        )
        return f"mid_block_{inner}"
    down, number, part, rest = match[1] == "input_blocks", int(match[2]), int(match[3]), match[4]
    block, layer = divmod(number - 1 if down else number, layers_per_block + 1)
    above = f"{'down' if down else 'up'}_blocks_{block}"
    if rest in ("op", "conv"):
        return f"{above}_{'downsamplers' if down else 'upsamplers'}_0_conv"
    inner = _RESNET.get(rest, rest) if part == 0 else rest
    return f"{above}_{('resnets', 'attentions')[part] if part < 2 else 'upsamplers'}_{layer}_{inner}"
