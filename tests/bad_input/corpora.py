"""Inputs that nobody means, in tables: what of each is wrong, and what the error has to name."""

from itertools import pairwise
from typing import Any

A_DATE, DEEP = "2024-01-01", "[" * 100 + "]" * 100
LETTERS = "abcdefghi"
BOMB = "&a [x, x, x, x, x, x, x, x, x]" + "".join(
    f", &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise(LETTERS)
)
"""Nine lists of nine, each of the one before: 9^9 texts in a few hundred characters."""

WHOLE = (
    *("limit", "seed", "samples", "window", "steps", "requests", "consecutive", "finalists"),
    *("audit", "validations", "deploy", "repetitions", "controls", "batch_size", "epochs"),
    "prefixes",
)
"""Settings of a search that are whole numbers."""
NUMBERS = (
    *("noise", "bound_margin", "non_inferiority", "share", "first_step", "device_memory"),
    *("host_memory", "prefix_cache"),
)
SWITCHES = ("quarters", "thorough", "trust_remote_code")
TEXTS = ("model", "edits", "device", "dtype", "strategy", "objective", "neutral", "abilities")
LISTS = ("scans", "bounds", "parts", "locations", "recipes")

NO_WHOLE = ("true", "-1", "2.5", "9" * 30, ".inf", ".nan", A_DATE, "'x'", "[1]", "1e38")
NO_NUMBER = ("true", "-1", "1e38", ".inf", ".nan", A_DATE, "'x'", "{a: 1}", "9" * 401)
NO_SWITCH = ("1", "0", "2.0", "maybe", "[true]")
NO_TEXT = ("1", "true", "[a]", "{a: b}", '"a\\0b"', "x" * 5000)
NO_LIST = ("1", "true", "{a: b}", '["a\\0b"]', "[1]", "[true]", "[[mlp]]")


def settings_lines() -> list[tuple[str, str]]:
    """A settings file of one line, and the key that an error has to name."""
    kinds = (
        *((WHOLE, NO_WHOLE), (NUMBERS, NO_NUMBER), (SWITCHES, NO_SWITCH)),
        *((TEXTS, NO_TEXT), (LISTS, NO_LIST)),
    )
    return [(f"{key}: {bad}", key) for keys, bads in kinds for key in keys for bad in bads]


WEIGHTS = ("1", "[a]", "{locality: true}", "{locality: .nan}", "{locality: 1e300}", "{locality: x}")
BUDGETS = ("true", "-1", "0", "2", ".nan", "1e300h", "9e99s", "'x'", "[1]", A_DATE)

FILES: tuple[tuple[str, bytes, str], ...] = (
    ("duplicate", b"limit: 5\nlimit: 6\n", "line 2: key 'limit' is there twice"),
    ("dash and underscore", b"batch-size: 5\nbatch_size: 6\n", "'batch_size' is there twice"),
    ("alias bomb", f"limit: [{BOMB}]".encode(), "line 1: alias *a"),
    ("alias", b"parts: &a [mlp]\nscans: *a\n", "line 2: alias *a"),
    ("merge", b"<<: {limit: 5}\n", "unknown setting '<<'"),
    ("flow nesting", f"limit: {DEEP}".encode(), "nested more than 32 levels"),
    ("block nesting", ("- " * 200).encode(), "nested more than 32 levels"),
    ("nesting without end", b"{a: " * 100_000, "nested more than 32 levels"),
    ("NUL", b"limit: 5\nseed: 1\0\n", "line 2 holds a NUL"),
    ("UTF-16", "limit: 5".encode("utf-16"), "not UTF-8"),
    ("Latin-1", "model: caf\xe9".encode("latin-1"), "byte 10 is not UTF-8"),
    ("bell", b"limit: \x07", "not YAML"),
    ("tag", b"limit: !!python/object/apply:os.system [true]", "tag tag:yaml.org,2002:python"),
    ("number tag", b"limit: !!int x", "tag tag:yaml.org,2002:int"),
    ("time tag", b"limit: !!timestamp x", "tag tag:yaml.org,2002:timestamp"),
    ("two documents", b"limit: 5\n---\nlimit: 6\n", "a second document"),
    ("list", b"- limit\n", "hold no keys"),
    ("text", b"limit\n", "hold no keys"),
    ("not closed", b"limit: [5\n", "not YAML"),
    ("tabs", b"a:\n\t- b\n", "not YAML in line 2"),
    ("list as a key", b"? [a]\n: b\n", "a key is a list"),
    ("surrogate", b'model: "\\ud800"', "line 1"),
    ("huge", b"#" * (1 << 20), "too large"),
    ("long number", b"seed: " + b"9" * 5000, "number of 5000 characters"),
    ("unknown key", b"x" * 1000 + b": 1", "unknown setting"),
    ("no key", b"true: 1", "unknown setting 'True'"),
)
"""Settings files that are wrong as a whole: name, content, and what an error has to say."""

Change = tuple[tuple[str, ...], Any]
SECTION = "locscope"
RECIPE_NUMBERS = ("lr", "batch", "epochs", "skip_below", "stop_below", "prefixes", "rank")
NO_RECIPE = (True, None, -1, 10**400, 1e38, float("nan"), float("inf"), A_DATE, [1], {"a": 1})


def recommendation_changes() -> list[Change]:
    """Where a recommendation is changed, and into what; an error has to name the last key."""
    recipe = [((SECTION, "recipe", key), bad) for key in RECIPE_NUMBERS for bad in NO_RECIPE]
    words = [
        ((SECTION, "recipe", key), bad)
        for key in ("order", "prompt_format")
        for bad in ("", "x", 1, True, None, ["raw"])
    ]
    kinds = [((SECTION, "recipe", "kind"), bad) for bad in (1, True, None, [])]
    keys = [((SECTION, key), bad) for key in ("recipe", "provenance") for bad in (None, 1, "x", [])]
    more: list[Change] = [
        *(((SECTION, "location"), bad) for bad in ("", "L9", 1, True, None, [], "L" + "9" * 99)),
        *(((SECTION, "schema"), bad) for bad in (True, None, "1", 1.0, 2, 10**99, [])),
        *(((SECTION, "weights"), bad) for bad in ([1], "x", 1)),
        *(((SECTION, "weights", "locality"), bad) for bad in (True, "1", None, 0, -1, 1e300)),
        *(((SECTION, "weights", "locality"), bad) for bad in (float("nan"), float("inf"), [])),
        *(((SECTION, "bounds"), bad) for bad in ("x", [1], {"a": 1}, [None], True)),
        *(((SECTION, "data"), bad) for bad in ([1], "x", 1)),
        *(((SECTION, "data", "deploy"), bad) for bad in (True, 0, -1, 1.5, "1", [])),
        *(((SECTION, "provenance", "model"), bad) for bad in ("", 1, True, None, "a\0b", [])),
        *(((SECTION, "provenance", "objective"), bad) for bad in (1, True, "a\0", "x" * 5000)),
        *((("lr",), bad) for bad in (True, 10**400, "x", None, [])),
        *((("layer",), bad) for bad in (True, -1, 1e38, A_DATE, {})),
        *((("num_steps",), bad) for bad in (True, 0, [1])),
    ]
    return [*recipe, *words, *kinds, *keys, *more]


NO_COUNT = ("0", "-1", "1.5", "true", "1e3", "9" * 40, "9" * 5000, "nan", "")
OPTIONS: dict[str, tuple[str, ...]] = {
    "--limit": NO_COUNT,
    "--repetitions": (*NO_COUNT, "100000000"),
    "--epochs": (*NO_COUNT, "99999999999"),
    "--batch-size": (*NO_COUNT, "99999999999"),
    "--seed": ("-1", "4294967296", "x", "0x1"),
    "--prefixes": ("-1", "1000000000"),
    "--consecutive": ("0", "9999999"),
    "--window": ("-1", "99999999"),
    "--steps": ("-1", "99999999999"),
    "--noise": ("0", "nan", "1e300"),
    "--first-step": ("0", "-1", "1e300", "nan"),
    "--share": ("0", "1", "nan", "-1", "inf", "1e-400"),
    "--device-memory": ("0", "-1", "nan", "inf", "1e300"),
    "--prefix-cache": ("-1", "nan", "inf", "1e300"),
    "--budget": ("", "0", "nan", "inf", "-1m", "1e999h", "9e99s", "5x", "x" * 6000),
    "--weight": ("", "=", "locality", "locality=", "locality=nan", "locality=1e300", "x=1"),
    "--bound": ("", "kl", "kl<=", "kl<=nan", "reliability>=2", "x<=1", "x" * 6000),
    "--locations": (
        "",
        "L",
        "L1",
        "L0-99999.mlp",
        "L1.mlp+",
        "L" + "9" * 5000 + ".mlp",
        "+" * 6000,
    ),
    "--parts": ("", "x", "mlp,,attn", "x" * 6000),
    "--scans": ("", "x", "x" * 6000),
    "--settings": ("", "x" * 300, "x" * 6000, "/dev/null/x", "/dev/zero", "/"),
}
"""Options of a search with values that none can have."""
