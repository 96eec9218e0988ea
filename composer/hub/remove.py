"""Removal of a repository from the hub's cache, by the hub's own library."""

from __future__ import annotations

import shutil

from composer.hub.stored import repositories, repository_folder


def remove(name: str, dry_run: bool) -> int:
    """Remove a repository from the hub's cache, with all of its revisions.

    Args:
        name: Hub id.
        dry_run: Whether only to say what would be freed.

    Returns:
        Bytes that are freed.

    Raises:
        ComposerError: It is not in the cache.
    """
    from huggingface_hub import scan_cache_dir

    folder = repository_folder(name)
    stored = next((one for one in repositories() if one.repo_id == name), None)
    if stored is None:  # the hub's library removes only what it reads, and files of this one are missing
        freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not dry_run:
            shutil.rmtree(folder)
        return freed
    strategy = scan_cache_dir().delete_revisions(*(revision.commit_hash for revision in stored.revisions))
    if not dry_run:
        strategy.execute()
    return int(strategy.expected_freed_size)
