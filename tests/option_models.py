"""Tiny checkpoints of families of flow transformers on which options are tried; a new family is one line."""

from __future__ import annotations

#: Sides that each of them takes.
IMAGE, CLIP = ("height=64", "width=64"), ("task=text2video", "frames=9", "height=64", "width=64")
#: Family, and what is special where it has two kinds of models → name in the zoo, and words of its runs.
FLOW_MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "z_image": ("zimage", IMAGE),
    "qwen_image": ("qwen", IMAGE),
    "flux2": ("klein", IMAGE),
    "chroma": ("chroma", IMAGE),
    "sana": ("sana", IMAGE),
    "lumina2": ("lumina2", IMAGE),
    "ltx": ("ltx", CLIP),
    "wan": ("wan", CLIP),
    "wan22": ("wan_two_experts", CLIP),
}
