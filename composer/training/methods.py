"""The methods of training by name."""

from __future__ import annotations

from composer.training.learned import Method
from composer.training.lora import LoraMethod
from composer.training.textual_inversion import InversionMethod

METHODS: dict[str, Method] = {"lora": LoraMethod(), "textual_inversion": InversionMethod()}
