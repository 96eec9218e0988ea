"""What the options of memory=[…] and accel=[…] have in common: the same models, run in another way.

An option that would do nothing is refused: before weights load where configs can tell, else when it finds nothing to
hook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from composer.checks.compatibility import Checked
from composer.errors import ComposerError
from composer.system.constraints import Validated

if TYPE_CHECKING:
    import torch

    from composer.loading.precision import DtypePlan


@dataclass(frozen=True, kw_only=True)
class OptionContext:
    """What an option can know before weights are loaded. active: `group.name` of all options of the run, itself among
    them.
    """

    checked: Checked
    device: torch.device
    numbers: DtypePlan
    active: frozenset[str] = field(default_factory=frozenset)


class NoEffect(ComposerError):
    """An option that would do nothing here: refused for a run, and left out with a note in a sweep, so that its axis
    goes on.
    """


class ModelOption(Validated):
    """group, name: as the config calls it. component: of the checkpoint, that it is about; `denoiser` for the UNet or
    transformer.
    excludes: `group.name` of options that it can't be together with. families: that it can reach into, None for all.
    devices: that it does something on, None for all. stores: how the denoiser's weights are kept, None as they compute.
    fewer: whether it can be together with weights in fewer bits. waits: models lie in the CPU's memory until they are
    needed.
    """

    group: ClassVar[str]
    name: ClassVar[str]
    component: ClassVar[str | None] = None
    excludes: ClassVar[frozenset[str]] = frozenset()
    families: ClassVar[frozenset[str] | None] = None
    devices: ClassVar[frozenset[str] | None] = None
    waits: ClassVar[bool] = False
    stores: ClassVar[str | None] = None
    fewer: ClassVar[bool] = True

    @classmethod
    def config_key(cls) -> str:
        """Return group and name of the option, such as `memory.auto`."""
        return f"{cls.group}.{cls.name}"

    def check(self, setting: OptionContext) -> None:
        """Raises:
        ComposerError: it would do nothing here, or can't be together with another option.
        """
        checkpoint = setting.checked.checkpoint
        component = checkpoint.family_info.denoiser[0] if self.component == "denoiser" else self.component
        if component is not None and component not in checkpoint.classes:
            self.idle(f"{checkpoint.family} models have no {component}, so it would do nothing")
        if self.families is not None and checkpoint.family not in self.families:
            self.idle(f"can't reach into {checkpoint.family} models, so it would do nothing", sorted(self.families))
        if self.devices is not None and setting.device.type not in self.devices:
            self.idle(f"does nothing on {setting.device.type}: it is for {' and '.join(sorted(self.devices))}")
        if not self.fewer and (setting.numbers.stored or "memory.layerwise_casting" in setting.active):
            self.refuse(
                "needs the weights as they compute, and here they are kept in fewer bits: leave one of the two away"
            )
        clash = sorted(self.excludes & setting.active)
        if clash:
            self.refuse(f"can't be together with {clash[0].replace('.', '=')}: choose one of them")

    def becomes(self, setting: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        """What it stands for, by `group.name`, and a line for the user: an option that chooses others."""
        return {f"{self.group}.{self.name}": self}, None

    @contextmanager
    def fit(self, pipe: Any, device: torch.device) -> Iterator[None]:
        """Change the models that a diffusers pipeline holds for all runs with this option; undone before one without
        it.
        """
        yield

    @contextmanager
    def on(self, pipe: Any) -> Iterator[None]:
        """Change them for one run."""
        yield

    def idle(self, reason: str, allowed: Any = ()) -> None:
        """Refuse it for doing nothing here."""
        raise NoEffect(self.group, self.name, reason, allowed)

    def refuse(self, reason: str, allowed: Any = ()) -> None:
        raise ComposerError(self.group, self.name, reason, allowed)


def options_key(options: Mapping[str, ModelOption]) -> str:
    """What tells a set of options from another, as text."""
    return repr([(type(option).__qualname__, sorted(vars(option).items())) for option in options.values()])
