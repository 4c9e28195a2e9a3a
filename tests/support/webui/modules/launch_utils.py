from __future__ import annotations


def git_tag() -> str:
    return "v1.10.1"


def commit_hash() -> str:
    return "82a973c04367123ad98bd9abdf80d9eda9b910e2"
