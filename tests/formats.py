"""The least that a row of each edit format has."""

from typing import Any

MINIMAL: dict[str, dict[str, Any]] = {
    "zsre": {"src": "Q?", "alt": "new"},
    "counterfact-nested": {
        "requested_rewrite": {"prompt": "P is in", "target_new": {"str": "new"}},
    },
    "knowedit": {"prompt": "P is in", "target_new": "new", "locality": {}},
    "requests": {"prompt": "P is in", "target_new": {"str": "new"}},
    "counterfact": {"prompt": "P is in", "target_new": "new", "ground_truth": "old"},
    "wikibigedit": {"prompt": "P is in", "target_new": "new"},
    "wikibigedit-hub": {"update": "Q?", "ans": "new"},
    "own": {"prompt": "P is in", "target": "new"},
}
