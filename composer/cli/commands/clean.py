"""`compose clean`."""

from __future__ import annotations

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose clean [DIR] [older=DAYS] [dry_run=false]`.

    Args:
        line: The command line.

    Returns:
        The exit code.
    """
    from composer.sweeps.cleanup import clean, format_report

    folders, gone = clean(line.overrides)
    entries = [{"path": str(folder.path), "size": folder.size, "sweep": folder.sweep} for folder in folders]
    console.report_facts({"removed": gone, "folders": entries}, format_report(folders, gone))
    return 0
