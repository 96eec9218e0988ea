"""The models of a hosted pipeline, with the interface of a family as far as composer calls it."""

from __future__ import annotations

from typing import Any, NoReturn

from composer.checks.pipeline_arguments import max_length
from composer.errors import ComposerError
from composer.families.components import DiffusersFamily


def unavailable(*_: object, **__: object) -> NoReturn:
    """Refuse what a pipeline does only inside of its own call.

    Args:
        *_: Ignored.
        **__: Ignored.

    Raises:
        ComposerError: Always.
    """
    reason = "a hosted pipeline encodes its texts, masks and images by itself, and can't do so for a callback"
    raise ComposerError("callbacks", None, reason)


class HostedModels(DiffusersFamily):
    """Models of a pipeline that runs its own loop; it lends none of its methods."""

    encode = tokens = encode_image = scale_mask = start_noise = predict = decode = unavailable
    set_timesteps: Any = classmethod(unavailable)

    @property
    def takes_guidance_scale(self) -> bool:
        config = getattr(self.denoiser, "config", {})
        return bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None

    @property
    def denoiser_name(self) -> str:
        names = [name for name in ("unet", "transformer", "prior", "decoder") if name in self.modules]
        return names[0] if names else next(iter(self.modules))

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        """The last of its tokenizers, which reads furthest, with the pipeline's own limit."""
        components = self.pipe.components.items()
        tokenizers = [part for name, part in components if name.startswith("tokenizer") and part is not None]
        length = max_length(type(self.pipe))
        if not tokenizers or length is None:
            return super().prompt_tokenizer
        return tokenizers[-1], min(length, tokenizers[-1].model_max_length)
