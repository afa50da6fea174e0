"""Edits of made-up subjects for the tests of the verbs."""

TOWNS = ("Oslo", "Lima", "Rome", "Bern", "Kyiv", "Baku", "Doha", "Male", "Suva", "Apia")


def edit_rows(count: int = 20) -> list[dict]:
    """Edits of made-up subjects; every other has a neighbour."""
    return [
        {
            "id": f"e{i}",
            "prompt": f"The capital of land{i} is",
            "target": TOWNS[i % len(TOWNS)],
            "subject": f"land{i}",
            "rephrases": [f"land{i} is ruled from"],
            "neighbours": [{"prompt": f"The river of place{i} is", "answer": "Po"}] * (i % 2),
        }
        for i in range(count)
    ]
