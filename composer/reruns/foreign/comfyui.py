"""ComfyUI's graph of nodes: the text ``prompt`` of an image, in the format of its API.

A graph is id → ``class_type`` and ``inputs``; an input is a value, or a link to another node: id and number of its
output. Only graphs of the common samplers are read. https://docs.comfy.org/development/core-concepts/workflow
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from composer.reruns.foreign.facts import MAX_SEED, MAX_SIDE, MAX_STEPS, Facts, read_json

#: Nodes that are followed one after the other at most.
MAX_LINKS = 50
#: Inputs that lead from a node of conditioning to what it changes.
_CONDITIONING = ("conditioning", "positive", "conditioning_1", "conditioning_to")
#: Inputs of nodes that encode a text, and of nodes that hold a value.
_TEXTS = ("text", "text_g", "t5xxl", "clip_l", "text_l", "prompt", "string", "value")
_VALUES = ("value", "int", "float", "seed", "noise_seed", "number", "string", "text")
#: Nodes that take no part in what is generated, or say what others say too.
_IGNORED = ("VAEDecode", "VAEDecodeTiled", "SaveImage", "PreviewImage", "VAELoader", "CLIPLoader", "DualCLIPLoader",
            "TripleCLIPLoader", "Note", "MarkdownNote", "Reroute", "PrimitiveNode")  # fmt: skip
_LOADERS = ("ckpt_name", "unet_name", "model_name", "gguf_name")


def read(texts: Mapping[str, str]) -> Facts | None:
    """Read the record of an image.

    Args:
        texts: Texts of the image.

    Returns:
        What it says; ``None`` if it is of another form, or its graph has none of the common samplers.
    """
    content = read_json(texts.get("prompt", ""))
    nodes = {
        str(name): node
        for name, node in (content or {}).items()
        if isinstance(node, Mapping)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), Mapping)
    }
    graph = _Graph(nodes, Facts("ComfyUI", weights="()"))
    return graph.facts if graph.read() else None


@dataclass
class _Graph:
    """Nodes of a graph, and what was read of them.

    Attributes:
        nodes: Id → node.
        facts: Receives what the graph says.
        read_nodes: Ids of the nodes that were followed.
    """

    nodes: Mapping[str, Mapping[str, Any]]
    facts: Facts
    read_nodes: set[str] = field(default_factory=set)

    def read(self) -> bool:
        samplers = [name for name, node in self.nodes.items() if node["class_type"] in _SAMPLERS]
        if not samplers:
            return False
        first = next((name for name in samplers if self._begins(name)), samplers[0])
        self.read_nodes.add(first)
        _SAMPLERS[self.nodes[first]["class_type"]](self, self.nodes[first]["inputs"])
        if len(samplers) > 1:
            self.facts.leave("further samplers", f"{len(samplers) - 1}, such as a second pass")
        for name, node in self.nodes.items():
            kind = node["class_type"]
            if name not in self.read_nodes and kind not in (*_IGNORED, *_SAMPLERS):
                self.facts.leave(f"node {kind}", node["inputs"])
        return True

    def simple(self, inputs: Mapping[str, Any]) -> None:
        """Read a KSampler, or the advanced one."""
        facts = self.facts
        facts.set_integer("seed", self.value(inputs, "seed", "noise_seed"), MAX_SEED)
        facts.set_integer("steps", self.value(inputs, "steps"), MAX_STEPS, 1)
        facts.set_guidance(self.value(inputs, "cfg"))
        self.sampler(self.value(inputs, "sampler_name"), self.value(inputs, "scheduler"))
        self.denoise(self.value(inputs, "denoise"))
        self.prompts(inputs.get("positive"), inputs.get("negative"))
        self.latent(inputs.get("latent_image"))
        self.model(inputs.get("model"))
        if self.value(inputs, "start_at_step") not in (None, 0):
            facts.leave("start_at_step", inputs["start_at_step"])

    def custom(self, inputs: Mapping[str, Any]) -> None:
        """Read a SamplerCustomAdvanced, whose parts are nodes of their own."""
        facts = self.facts
        noise, guider = self.node(inputs.get("noise")), self.node(inputs.get("guider"))
        select, sigmas = self.node(inputs.get("sampler")), self.node(inputs.get("sigmas"))
        facts.set_integer("seed", self.value(noise, "noise_seed", "seed"), MAX_SEED)
        facts.set_integer("steps", self.value(sigmas, "steps"), MAX_STEPS, 1)
        self.sampler(self.value(select, "sampler_name"), self.value(sigmas, "scheduler"))
        self.denoise(self.value(sigmas, "denoise"))
        facts.set_guidance(self.value(guider, "cfg"))
        self.prompts(guider.get("positive", guider.get("conditioning")), guider.get("negative"))
        self.latent(inputs.get("latent_image"))
        self.model(guider.get("model", sigmas.get("model")))

    def sampler(self, name: Any, schedule: Any) -> None:
        self.facts.sampler = name if isinstance(name, str) else None
        self.facts.schedule = schedule if isinstance(schedule, str) else None

    def denoise(self, value: Any) -> None:
        if value not in (None, 1):
            self.facts.leave("denoise", f"{value} (task=img2img image=FILE strength={value}: it has no image)")

    def prompts(self, positive: Any, negative: Any) -> None:
        self.facts.set_text("prompt", self.text(positive))
        self.facts.set_text("negative_prompt", self.text(negative))

    def text(self, link: Any) -> str | None:
        """The text that a conditioning is encoded from."""
        for node in self.chain(link, _CONDITIONING):
            inputs, kind = node["inputs"], node["class_type"]
            if kind == "ConditioningZeroOut":
                return None
            if "guidance" in inputs:  # of FLUX
                self.facts.set_guidance(self.value(inputs, "guidance"))
            if "Combine" in kind or "Concat" in kind or "ControlNet" in kind:
                self.facts.leave(f"node {kind}", inputs)
            for name in _TEXTS:
                value = self.value(inputs, name)
                if isinstance(value, str):
                    return value
        return None

    def latent(self, link: Any) -> None:
        for node in self.chain(link, ("samples", "latent", "latent_image")):
            inputs = node["inputs"]
            if "width" in inputs and "height" in inputs:
                self.facts.set_integer("width", self.value(inputs, "width"), MAX_SIDE, 8)
                self.facts.set_integer("height", self.value(inputs, "height"), MAX_SIDE, 8)
                if self.value(inputs, "batch_size") not in (None, 1):
                    self.facts.leave("batch_size", inputs["batch_size"])
                return
            if "pixels" in inputs:
                self.facts.leave("image", "the sampling begins from an image, which is not in the file")
                return

    def model(self, link: Any) -> None:
        for node in self.chain(link, ("model",)):
            inputs = node["inputs"]
            if isinstance(inputs.get("lora_name"), str):
                strength = self.value(inputs, "strength_model")
                self.facts.leave_lora(inputs["lora_name"], strength)
            loaded = next((inputs[name] for name in _LOADERS if isinstance(inputs.get(name), str)), None)
            if loaded is not None:
                self.facts.model = loaded
                return

    def chain(self, link: Any, names: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        """Nodes from a link on, along inputs of these names; a circle ends it."""
        seen: set[str] = set()
        while (name := _target(link)) in self.nodes and name not in seen and len(seen) < MAX_LINKS:
            seen.add(name)
            self.read_nodes.add(name)
            node = self.nodes[name]
            yield node
            link = next((node["inputs"][key] for key in names if key in node["inputs"]), None)

    def node(self, link: Any) -> Mapping[str, Any]:
        """Inputs of the node that a link leads to; none if it leads nowhere."""
        return next((node["inputs"] for node in self.chain(link, ())), {})

    def value(self, inputs: Mapping[str, Any], *names: str) -> Any:
        """Value of an input, also of one that comes from a node which holds a value; ``None`` if there is none."""
        for name in names:
            value = inputs.get(name)
            if not isinstance(value, (list, Mapping)):
                if value is not None:
                    return value
                continue
            held = self.node(value)
            plain = [held[key] for key in _VALUES if isinstance(held.get(key), (str, int, float))]
            if plain:
                return plain[0]
        return None

    def _begins(self, name: str) -> bool:
        """Whether a sampler begins from an empty latent image."""
        read_before, self.read_nodes = self.read_nodes, set()
        nodes = list(self.chain(self.nodes[name]["inputs"].get("latent_image"), ("samples", "latent", "latent_image")))
        self.read_nodes = read_before
        return bool(nodes) and "width" in nodes[-1]["inputs"] and nodes[-1]["class_type"] not in _SAMPLERS


def _target(link: Any) -> str:
    """Id of the node that a link leads to; empty for a value."""
    is_link = isinstance(link, list) and len(link) == 2 and isinstance(link[0], (str, int))
    return str(link[0]) if is_link else ""


_SAMPLERS = {"KSampler": _Graph.simple, "KSamplerAdvanced": _Graph.simple, "SamplerCustomAdvanced": _Graph.custom}
