"""When two texts count as the same prompt, target or subject."""


def key(text: str) -> str:
    """The text for comparing: case folded, outer spaces cut, runs of spaces made one."""
    return " ".join(text.casefold().split())
