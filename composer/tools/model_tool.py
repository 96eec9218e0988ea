"""The base class of tools that have a model of transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

from composer.checkpoints.components import Component, find_component, parse_location
from composer.checkpoints.fingerprints import directory_fingerprint, file_states
from composer.checkpoints.headers import PICKLE_ADVICE
from composer.errors import ComposerError
from composer.loading.check_cache import recall_or
from composer.tools.base import Tool

SOURCE = "tool.source"
Dtype = Literal["fp32", "fp16", "bf16"]


class ModelTool(Tool):
    """A tool with a model of transformers. https://huggingface.co/docs/transformers/model_doc/auto

    Attributes:
        classes: Classes of models that it can use, and names of transformers' mappings that hold more.
        processor: Class of transformers that loads what prepares the model's inputs.
        component: Directory of the model in a checkpoint with several.
        example: A model that it can use, for messages.

    Args:
        source: A directory in transformers' format, `embedded:NAME`, or a hub id, `owner/name` or `owner/name/folder`.
        revision: Branch, tag or commit at the hub.
        dtype: What it computes in.
    """

    classes: ClassVar[tuple[str, ...]] = ()
    processor: ClassVar[str] = "AutoProcessor"
    component: ClassVar[str] = "model"
    example: ClassVar[str] = ""

    def __init__(self, source: str | None = None, revision: str | None = None, dtype: Dtype = "fp32") -> None:
        self.source, self.revision, self.dtype = source, revision, dtype

    def check(self) -> None:
        component = self._located

        def check() -> bool:
            from composer.loading.tool_models import check_model

            return check_model(SOURCE, component, self.classes, self.processor)

        states = file_states(component.folder.parent if component.subfolder else component.folder)
        recall_or("tool_model", [self.classes, self.processor, component.cls, component.commit, states], check)

    def fingerprint(self) -> str:
        try:
            backend = version("torchvision")  # transformers prepares images by it where it is installed
        except PackageNotFoundError:
            backend = "none"
        return f"{self._located.commit or directory_fingerprint(self._located.folder)} torchvision {backend}"

    def load(self, device: str) -> tuple[Any, Any]:
        """Load the model, or take it from memory.

        Args:
            device: Name of the device.

        Returns:
            What prepares the inputs, and the model. Both are shared: nothing may write to them.

        Raises:
            ComposerError: It can't be loaded.
        """
        from composer.loading.tool_models import load_model

        self.check()
        return load_model(SOURCE, self._located, self.processor, self.dtype, device)

    @cached_property
    def _located(self) -> Component:
        """Where the model is; of one at the hub, the JSON files are downloaded."""
        if not self.source:
            reason = f"a model is needed, a folder or a hub id such as {self.example}: {SOURCE}={self.example}"
            raise ComposerError(SOURCE, None, reason)
        location = parse_location(SOURCE, self.source)
        if self.revision is not None:
            location = replace(location, revision=self.revision)
        try:
            return find_component(self.component, location, key=SOURCE)
        except ComposerError as error:  # tools load no pickles
            reason = error.reason.replace(PICKLE_ADVICE, "use a .safetensors file")
            raise ComposerError(error.key, error.value, reason, error.allowed) from None
