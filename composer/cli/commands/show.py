"""`compose show`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose show [overrides]`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: The request cannot be met.
    """
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read

    checked = check(read(compose_config(line.overrides, line.config_dir)))
    from composer.pipelines.build import tried
    from composer.pipelines.description import describe
    from composer.pipelines.description_facts import facts
    from composer.pipelines.offers import find_offers

    notes = tried(checked)
    offers = find_offers(checked)
    text = describe(checked, notes, offers)
    console.report_facts(facts(checked, notes, text, offers), text)
    return 0
