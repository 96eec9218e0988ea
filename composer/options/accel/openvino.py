"""``accel=[openvino]``: UNet or transformer and VAE computed by OpenVINO, which uses a CPU's 16-bit units well.

See https://docs.openvino.ai.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from composer.errors import ComposerError
from composer.loading.precision import DTYPES, MIN_BYTES_FOR_16_BITS, fastest_dtype
from composer.options.accel.converted import Converted
from composer.options.accel.converted_forward import Engine
from composer.options.base import OptionContext
from composer.system.constraints import MinLen


class Vino(Engine):
    """OpenVINO's converter and CPU plugin.

    Args:
        static: Whether to compile for the very shapes of the inputs.
        weights: ``int8`` to keep the weights of linear and convolution layers in 8 bits; None for the compute dtype.
    """

    package = "openvino"

    def __init__(self, static: bool = False, weights: str | None = None) -> None:
        self.fixed_shapes, self.weights = static, weights
        self.variant = f"{weights}-nncf-{version('nncf')}" if weights else ""

    def convert(self, module: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
        import openvino

        example = tuple(inputs.values())
        traced = torch.jit.trace(module, example, strict=False, check_trace=False)
        model = openvino.convert_model(traced, example_input=example)
        model.validate_nodes_and_infer_types()
        if self.weights:
            model = _in_8_bits(model)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    def compile(self, folder: Path, shapes: list[tuple[int, ...]]) -> Callable[[list[np.ndarray]], np.ndarray]:
        settings = {
            # each sum as torch would: bf16 throughout blurs the timestep, five times as far off
            "INFERENCE_PRECISION_HINT": "dynamic",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # or workers beside one another would share a core
        }  # fmt: skip
        model = _core().read_model(folder / "model.xml")
        if self.fixed_shapes:
            model.reshape(dict(enumerate(shapes)))
        compiled = _core().compile_model(model, "CPU", settings)
        request = compiled.create_infer_request()

        def run(inputs: list[np.ndarray]) -> np.ndarray:
            request.infer(inputs)
            return request.get_output_tensor(0).data.copy()

        return run


@cache
def _core() -> Any:
    """Return the only core of the process.

    When a second one ends, it restores signal memory that is freed already, and the next Ctrl-C would crash.
    """
    import openvino

    return openvino.Core()


def _in_8_bits(model: Any) -> Any:
    """Keep the weights of linear and convolution layers in 8 bits, by rounding alone: no data is needed.

    See https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/weight-compression.html.
    """
    nncf = import_module("nncf")  # an extra of its own

    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)  # its tables of layers
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    finally:
        logger.setLevel(before)


class OpenVINO(Converted):
    """Compute models with OpenVINO.

    Args:
        precision: ``bf16``, ``fp32``, or ``auto`` for the dtype of the run.
        components: Components to convert; None for the denoiser and the VAE.
        static: Compile for the very shapes of a run: faster steps, but another size, batch or length of text compiles
            again.
        weights: ``int8`` to keep weights in 8 bits, rounded by NNCF: a fourth of fp32's memory, and images that differ
            a little; None for the dtype of ``precision``.
    """

    name, packages, engine = "openvino", ("openvino",), Vino

    def __init__(
        self,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        components: Annotated[Sequence[str], MinLen(1)] | None = None,
        static: bool = False,
        weights: Literal["int8"] | None = None,
    ) -> None:
        super().__init__(components)
        self.precision, self.static, self.weights = precision, static, weights

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if self.precision == "bf16" and fastest_dtype(context.device, MIN_BYTES_FOR_16_BITS) != torch.bfloat16:
            raise ComposerError(
                "accel.openvino.precision", "bf16", "this CPU has no units for it, so it would do nothing: use auto"
            )

        if self.weights and find_spec("nncf") is None:
            raise ComposerError(
                "accel.openvino.weights", self.weights, "needs the package nncf: pip install 'diffusion-composer[nncf]'"
            )

    def make_engine(self) -> Engine:
        return Vino(self.static, self.weights)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype if self.precision == "auto" else DTYPES[self.precision]
