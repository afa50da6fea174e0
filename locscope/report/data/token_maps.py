"""Data of the heatmaps of single prompts: layers x tokens, the subject marked. Numbers only."""

from locscope.locations import Location
from locscope.records import ScanResult, TokenMap
from locscope.report.data.heatmaps import Heatmap, colour_key, has_both_signs
from locscope.report.data.words import number, short

LONG_TOKEN = 18
"""Characters of a token that stand under its column; the whole is on hover."""
VISIBLE = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}


def token_heatmaps(scan: ScanResult) -> tuple[Heatmap, ...]:
    """A heatmap per prompt that the scan kept."""
    return tuple(token_heatmap(scan, found) for found in scan.maps)


def token_heatmap(scan: ScanResult, found: TokenMap) -> Heatmap:
    """Layers x tokens of one prompt; columns are named by position, for tokens recur."""
    tokens = tuple(map(visible, found.tokens))
    centred = has_both_signs(value for row in found.values for value in row)
    what = ", ".join(filter(None, (found.variant, found.part)))
    choice = ": ".join(filter(None, (found.variant, f"one prompt, {found.part}")))
    answer = visible(found.answer.strip(), spaces=False)
    return Heatmap(
        f"scan-{scan.descriptor.name}-{found.variant}-tokens-{found.part}-{found.edit}",
        f"{scan.descriptor.title}: {what}, one prompt, answer “{answer}”",
        tuple(map(str, range(len(found.values)))),
        tuple(f"{position}:{token}" for position, token in enumerate(tokens)),
        found.values,
        tuple(tuple(map(short, row)) for row in found.values),
        tuple(
            tuple(_hover(found, layer, token, tokens) for token in range(len(tokens)))
            for layer in range(len(found.values))
        ),
        f"{colour_key(scan.descriptor.sign, centred)} One prompt, of edit {found.edit}; the answer "
        f"followed is “{answer}”. Outlined, in bold and with an asterisk: the subject.",
        centred=centred,
        good=scan.descriptor.sign,
        across="tokens of the prompt",
        labels=tuple(_label(found, i, token) for i, token in enumerate(tokens)),
        upright=True,
        banded=tuple(i for i in found.subject if i < len(tokens)),
        choice=choice,
        variant=found.variant,
    )


def visible(token: str, spaces: bool = True) -> str:
    """The token with its line ends, and where wanted its spaces, to be seen."""
    shown = "".join(c if c == " " and not spaces else _seen(c) for c in token)
    return shown or "(empty)"


def _seen(character: str) -> str:
    if character in VISIBLE:
        return VISIBLE[character]
    return character if character.isprintable() else f"\\x{ord(character):02x}"


def _label(found: TokenMap, index: int, token: str) -> str:
    cut = token if len(token) <= LONG_TOKEN else token[: LONG_TOKEN - 1] + "…"
    return f"{cut} *" if index in found.subject else cut


def _hover(found: TokenMap, layer: int, index: int, tokens: tuple[str, ...]) -> str:
    subject = ", of the subject" if index in found.subject else ""
    location, value = Location.at(layer, found.part), number(found.values[layer][index])
    where = f"token {index} of {len(tokens)}{subject}: {tokens[index]}"
    return f"{location}\n{where}\nvalue {value}"
