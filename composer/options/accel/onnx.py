"""``accel=[onnx]``: UNet or transformer and VAE computed by ONNX Runtime in fp32. See https://onnxruntime.ai/docs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from composer.options.accel.converted import Converted
from composer.options.accel.converted_forward import Engine
from composer.options.base import OptionContext

#: Axes of an input that are left open, by its number of them: images, sides, tokens; channels are the model's.
OPEN = {4: (0, 2, 3), 3: (0, 1), 2: (0,), 1: (0,), 0: ()}
#: Of ONNX's operators; the first with all that diffusers' models are made of.
OPSET = 18


class Runtime(Engine):
    package = "onnxruntime"

    def convert(self, module: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
        torch.onnx.export(
            module, tuple(inputs.values()), str(folder / "model.onnx"),
            dynamo=False, input_names=list(inputs), opset_version=OPSET,
            dynamic_axes={name: [*OPEN[tensor.dim()]] for name, tensor in inputs.items() if tensor.dim()},
        )  # fmt: skip

    def compile(self, folder: Path, shapes: list[tuple[int, ...]]) -> Callable[[list[np.ndarray]], np.ndarray]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]

        def run(inputs: list[np.ndarray]) -> np.ndarray:
            outputs: Any = session.run(None, dict(zip(names, inputs)))  # annotated as all that ONNX has
            return outputs[0]

        return run


class ONNX(Converted):
    name, packages, engine = "onnx", ("onnx", "onnxruntime"), Runtime
    why = "torch can't write a {} as ONNX: use accel=[openvino]"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        other = [name for name in self.selected if context.dtypes.of(name) != torch.float32]
        if other:
            self.refuse(f"computes in fp32 alone, and the {other[0]} would not: precision=fp32, or accel=[openvino]")
