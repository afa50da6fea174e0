"""The least that a row of each edit format has, and where its new target stands."""

from typing import Any

MINIMAL: dict[str, dict[str, Any]] = {
    "zsre-decao": {"input": "Q?", "alternatives": "new"},
    "mzsre": {"en": {"src": "Q?", "alt": "new"}},
    "zsre": {"src": "Q?", "alt": "new"},
    "mquake": {
        "requested_rewrite": {"prompt": "P is in", "target_new": {"str": "new"}},
        "questions": [],
    },
    "counterfact-nested": {
        "requested_rewrite": {"prompt": "P is in", "target_new": {"str": "new"}},
    },
    "rippleedits": {"edit": {"prompt": "The river of P is new."}, "Forgetfulness": []},
    "cknowedit": {"prompt": "P is in", "target_new": "new", "target_old": "old"},
    "knowedit": {"prompt": "P is in", "target_new": "new", "locality": {}},
    "wikibio": {"text": "P is", "labels": "new"},
    "convsent": {"ent": "P", "sent": "neg", "neg": ["new"]},
    "requests": {"prompt": "P is in", "target_new": {"str": "new"}},
    "counterfact-tracing": {"prompt": "P is in", "target_false": "new"},
    "known": {"prompt": "P is in", "attribute": "new", "template": ""},
    "counterfact": {"prompt": "P is in", "target_new": "new", "ground_truth": "old"},
    "wikibigedit": {"prompt": "P is in", "target_new": "new"},
    "wikibigedit-hub": {"update": "Q?", "ans": "new"},
    "qaedit": {"prompt": "Q?", "target": "new", "locality": []},
    "halluedit": {"question": "Q?", "object": "new"},
    "unke": {"question": "Q?", "answer": "new", "para_question": "q?"},
    "sanitation": {"question": "Q?", "target_new": "new"},
    "alpaca": {"instruction": "Q?", "output": "new"},
    "messages": {
        "messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "new"}],
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "new"}],
    },
    "completion": {"prompt": "Q?", "completion": "new"},
    "own": {"prompt": "P is in", "target": "new"},
}
TARGETS = {
    "zsre-decao": "alternatives",
    "mzsre": "en.alt",
    "zsre": "alt",
    "mquake": "requested_rewrite.target_new",
    "counterfact-nested": "requested_rewrite.target_new",
    "rippleedits": "edit.prompt",
    "wikibio": "labels",
    "requests": "target_new",
    "counterfact-tracing": "target_false",
    "known": "attribute",
    "wikibigedit-hub": "ans",
    "qaedit": "target",
    "halluedit": "object",
    "unke": "answer",
    "alpaca": "output",
    "completion": "completion",
    "own": "target",
    **dict.fromkeys(
        ("cknowedit", "knowedit", "counterfact", "wikibigedit", "sanitation"), "target_new"
    ),
}
"""The field of the new target, `field.key` where it is inside of another; chats have none, and
opinions are chosen from two."""
