"""The interface of options that change loaded models: ``memory=[…]``, ``accel=[…]`` and adapters such as ``lora=FILE``.

Options without an effect are refused: before weights load where settings show it, otherwise when they find nothing
to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.system.constraints import Validated

if TYPE_CHECKING:
    import torch

    from composer.callbacks.base import Conditioning, StepCallback
    from composer.callbacks.request import Request
    from composer.loading.precision import DtypePlan


@dataclass(frozen=True, kw_only=True)
class OptionContext:
    """Facts about a run that are known before weights are loaded.

    Attributes:
        checked: The settings of the run, its checkpoint and its request.
        device: Device of the run.
        dtypes: Compute and storage dtype of each component.
        active: ``group.name`` of all options of the run, including the option itself.
    """

    checked: Checked
    device: torch.device
    dtypes: DtypePlan
    active: frozenset[str] = field(default_factory=frozenset)


class NoEffect(ComposerError):
    """An option that would have no effect.

    A single run is refused. A sweep omits the option with a note, so that its other jobs run.
    """


class ModelOption(Validated):
    """Base of options that change how loaded models run.

    Attributes:
        group: Config group or node: ``memory``, ``accel`` or ``lora``.
        name: Name of the option in the group.
        component: Component that the option changes, which the checkpoint must have; ``denoiser`` for the UNet or
            transformer, None for any.
        excludes: ``group.name`` of options that can't be combined with this one.
        families: Families that the option supports; None for all.
        devices: Types of devices that the option has an effect on; None for all.
        offloads: Whether models stay in the CPU's memory until they are used.
        base_only: Whether the option is for the base model alone, and a refiner runs without it.
        storage: Storage dtype that the option gives the denoiser's weights, such as ``fp8``; None to keep it.
        supports_quantised: Whether the option can be combined with weights that are stored in fewer bits.
    """

    group: ClassVar[str]
    name: ClassVar[str]
    component: ClassVar[str | None] = None
    excludes: ClassVar[frozenset[str]] = frozenset()
    families: ClassVar[frozenset[str] | None] = None
    devices: ClassVar[frozenset[str] | None] = None
    offloads: ClassVar[bool] = False
    base_only: ClassVar[bool] = False
    storage: ClassVar[str | None] = None
    supports_quantised: ClassVar[bool] = True

    @classmethod
    def config_key(cls) -> str:
        """Return group and name of the option, such as ``memory.auto``."""
        return f"{cls.group}.{cls.name}"

    def check(self, context: OptionContext) -> None:
        """Refuse the option before weights are loaded.

        Args:
            context: Facts about the run.

        Raises:
            NoEffect: The option would have no effect.
            ComposerError: The option can't be combined with another one, or does not support the model.
        """
        checkpoint = context.checked.checkpoint
        component = checkpoint.family_info.denoiser[0] if self.component == "denoiser" else self.component
        if component is not None and component not in checkpoint.classes:
            self.refuse_no_effect(f"{checkpoint.family} models have no {component}, so it would do nothing")
        if self.families is not None and checkpoint.family not in self.families:
            self.refuse_no_effect(
                f"can't reach into {checkpoint.family} models, so it would do nothing", sorted(self.families)
            )
        if self.devices is not None and context.device.type not in self.devices:
            self.refuse_no_effect(
                f"does nothing on {context.device.type}: it is for {' and '.join(sorted(self.devices))}"
            )
        if not self.supports_quantised and (context.dtypes.stored or "memory.layerwise_casting" in context.active):
            self.refuse(
                "needs the weights as they compute, and here they are stored in fewer bits: omit one of the two"
            )
        clash = sorted(self.excludes & context.active)
        if clash:
            self.refuse(f"can't be together with {clash[0].replace('.', '=')}: choose one of them")

    def attach_key(self) -> Any:
        """Return what `attach` depends on, as data with a complete ``repr``; all settings, unless overridden.

        While it is the same, the option stays attached, and only `active` runs again.
        """
        return sorted(vars(self).items())

    def embedding_key(self) -> Any:
        """Return what embeddings of prompts depend on, as data with a complete ``repr``.

        Embeddings that were computed under another key are not reused. All settings, unless overridden: an option that
        leaves the text encoders alone returns None.
        """
        return sorted(vars(self).items())

    def callbacks(self) -> Mapping[str, StepCallback]:
        """Return callbacks that the option adds to each run, under names with a dot such as ``lora.schedule``.

        They are called after those of the task and before those of the user.
        """
        return {}

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        """Return the options that this one stands for, and a note that explains the choice.

        Args:
            context: Facts about the run.

        Returns:
            Options by ``group.name``, and the note; the option itself without a note, unless overridden.
        """
        return {f"{self.group}.{self.name}": self}, None

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        """Change the models of a pipeline for all runs with this option.

        The change is reverted when the context exits, before the first run without the option.

        Args:
            pipe: The diffusers pipeline, with its models on the CPU if an option offloads them.
            device: Device of the run.

        Yields:
            Nothing.
        """
        yield

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        """Change the models of a pipeline for one run; the change is reverted when the context exits.

        Args:
            pipe: The diffusers pipeline.

        Yields:
            Nothing.
        """
        yield

    def active_for(self, pipe: Any, request: Request) -> AbstractContextManager[None]:
        """Change the models of a pipeline for one request; override it where the change depends on the request.

        Args:
            pipe: The diffusers pipeline.
            request: Prompts, seeds, sizes and inputs of the pass.

        Returns:
            A context that reverts the change when it exits: that of `active`, unless overridden.
        """
        return self.active(pipe)

    def condition(self, pipe: Any, conditioning: Conditioning, request: Request) -> Conditioning:
        """Add to what steps are conditioned on, beside the text.

        Args:
            pipe: The diffusers pipeline, with the option attached and active.
            conditioning: Embeddings of the prompts, shared with other runs: not to be written to.
            request: Request of the pass.

        Returns:
            The same, unless overridden.
        """
        return conditioning

    def refuse_no_effect(self, reason: str, allowed: Any = ()) -> None:
        """Refuse the option for having no effect.

        Args:
            reason: Why, as the rest of a sentence that begins with the option.
            allowed: Values that would have an effect.

        Raises:
            NoEffect: Always.
        """
        raise NoEffect(self.group, self.name, reason, allowed)

    def refuse(self, reason: str, allowed: Any = ()) -> None:
        """Refuse the option.

        Args:
            reason: Why, as the rest of a sentence that begins with the option.
            allowed: Values that are allowed instead.

        Raises:
            ComposerError: Always.
        """
        raise ComposerError(self.group, self.name, reason, allowed)


def attach_key(options: Mapping[str, ModelOption]) -> str:
    """Return a text that identifies what a set of options leaves on the models between runs.

    Args:
        options: Options by ``group.name``.
    """
    return repr([(type(option).__qualname__, option.attach_key()) for option in options.values()])


def embedding_key(options: Mapping[str, ModelOption]) -> str:
    """Return a text that identifies what a set of options does to embeddings of prompts.

    Args:
        options: Options by ``group.name``.
    """
    return repr([(type(option).__qualname__, option.embedding_key()) for option in options.values()])
