"""``accel=[openvino]``: UNet or transformer and VAE computed by OpenVINO, which uses a CPU's 16-bit units well.

See https://docs.openvino.ai.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
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
    package = "openvino"

    def convert(self, module: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
        import openvino

        example = tuple(inputs.values())
        traced = torch.jit.trace(module, example, strict=False, check_trace=False)
        model = openvino.convert_model(traced, example_input=example)
        model.validate_nodes_and_infer_types()
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    def compile(self, folder: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
        settings = {
            # each sum as torch would: bf16 throughout blurs the timestep, five times as far off
            "INFERENCE_PRECISION_HINT": "dynamic",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # or workers beside one another would share a core
        }  # fmt: skip
        compiled = _core().compile_model(folder / "model.xml", "CPU", settings)
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


class OpenVINO(Converted):
    """Compute models with OpenVINO.

    Args:
        precision: ``bf16``, ``fp32``, or ``auto`` for the dtype of the run.
        components: Components to convert; None for the denoiser and the VAE.
    """

    name, packages, engine = "openvino", ("openvino",), Vino

    def __init__(
        self,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        components: Annotated[Sequence[str], MinLen(1)] | None = None,
    ) -> None:
        super().__init__(components)
        self.precision = precision

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if self.precision == "bf16" and fastest_dtype(context.device, MIN_BYTES_FOR_16_BITS) != torch.bfloat16:
            raise ComposerError(
                "accel.openvino.precision", "bf16", "this CPU has no units for it, so it would do nothing: use auto"
            )

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype if self.precision == "auto" else DTYPES[self.precision]
