"""Data of the heatmaps of scans: layers x parts, heads, token roles, or tokens of one prompt."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import isnan, nan
from typing import Any

from locscope.display import visible
from locscope.locations import Location
from locscope.records import ScanResult, ScanScore, TokenMap
from locscope.report.data.heatmaps import (
    Heatmap,
    colour_key,
    grid,
    has_both_signs,
    part_order,
    recommended_cell,
)
from locscope.report.data.inputs import Cell, ReportInputs, cell_of
from locscope.report.data.words import interval, number, short

ROLES = ("first subject", "middle subject", "last subject", "first after", "further", "last")
"""Token roles in the order of the prompt, as scans name them."""
LONG_TOKEN = 18
"""Characters of a token that stand under its column; the whole is on hover."""
SIGNS = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}
"""What tokens often are of, and what is shown for it; all else that is not seen is escaped."""


def scan_heatmaps(inputs: ReportInputs, scan: ScanResult) -> tuple[Heatmap, ...]:
    """All heatmaps of a scan, variant by variant, then those of single prompts."""
    of_variants = (_variant_heatmaps(inputs, scan, variant) for variant in scan.variants)
    return (*(h for heatmaps in of_variants for h in heatmaps), *token_heatmaps(scan))


def _variant_heatmaps(inputs: ReportInputs, scan: ScanResult, variant: str) -> list[Heatmap]:
    sheets: dict[str, list[ScanScore]] = defaultdict(list)
    for score in scan.scores:
        if score.variant == variant:
            sheets[sheet_of(score)].append(score)
    ordered = sorted(sheets.values(), key=lambda scores: _sheet_order(scores[0]))
    drawn = [scan_heatmap(inputs, scan, tuple(scores)) for scores in ordered]
    # A single column tells least, so that it is not what one sees first.
    return sorted(drawn, key=lambda heatmap: len(heatmap.columns) == 1)


def across_of(score: ScanScore) -> str:
    """What the columns of its heatmap are: all parts, the heads of a part, or its token roles."""
    if score.head >= 0:
        return "heads"
    return "token roles" if score.role else "parts"


def sheet_of(score: ScanScore) -> str:
    """The heatmap that a score stands in, in words; heads are attention's where nothing else is
    said. Scores of one sheet are alike in all that is in its name, so that any stands for it."""
    across = across_of(score)
    if across == "parts":
        return across
    part = "" if across == "heads" and score.part == "attn" else score.part
    return ", ".join(filter(None, (across, part, score.role if across == "heads" else "")))


def _column(score: ScanScore) -> str:
    named = {"parts": score.part, "heads": f"h{score.head}", "token roles": score.role}
    return named[across_of(score)]


def _sheet_order(any_of: ScanScore) -> tuple[int, int, int]:
    across = across_of(any_of)
    part = "" if across == "parts" else any_of.part
    role = any_of.role if across == "heads" else ""
    return ("parts", "heads", "token roles").index(across), part_order(part), _role_order(role)


def scan_heatmap(inputs: ReportInputs, scan: ScanResult, scores: tuple[ScanScore, ...]) -> Heatmap:
    """The scores of one sheet over layers and columns; NaN where a location has none."""
    one, variant, across = scores[0], scores[0].variant, across_of(scores[0])
    by_cell = {(score.layer, _column(score)): score for score in scores}
    columns = tuple(dict.fromkeys(_column(s) for s in sorted(scores, key=_column_order)))
    layers = range(inputs.run.model.layers)
    true = {cell: score.score for cell, score in by_cell.items()}
    # Colours from zero out would waste half the scale on scores of one sign.
    centred = has_both_signs(true.values())
    of_roles = across == "token roles"
    outlined, tall = (None, 1) if of_roles else _outlined(inputs, columns, one)
    what = "" if across == "parts" else sheet_of(one)
    return Heatmap(
        f"scan-{scan.descriptor.name}-{variant}-{what}",
        scan_title(scan, variant, what),
        tuple(map(str, layers)),
        columns,
        grid(layers, columns, lambda cell: true.get(cell, nan)),
        grid(layers, columns, lambda cell: short(true.get(cell, nan))),
        grid(layers, columns, lambda cell: _hover(_location(cell, one), by_cell.get(cell))),
        colour_key(scan.descriptor.sign, centred),
        centred=centred,
        good=scan.descriptor.sign,
        recommended=outlined,
        recommended_rows=tall,
        across=across,
        labels=tuple(role.replace(" ", "\n") for role in columns) if of_roles else (),
        choice=": ".join(filter(None, (variant, sheet_of(one)))),
        variant=variant,
        # Trials of single heads are rare, and names of all heads would be half of the figure.
        locations=() if what else grid(layers, columns, lambda cell: _location(cell, one)),
    )


def _outlined(
    inputs: ReportInputs, columns: tuple[str, ...], any_of: ScanScore
) -> tuple[tuple[int, int] | None, int]:
    """Row and column of the recommended location, and how many rows it takes."""
    cell = recommended_cell(inputs, columns, _cell_in(any_of))
    if cell is not None or inputs.best is None or across_of(any_of) != "parts":
        return cell, 1
    site, *others = Location.parse(str(inputs.best.location)).sites
    # A range stands over the cells of its layers, of which no scan scores more than one.
    if others or site.head is not None or site.part not in columns:
        return None, 1
    return (site.first, columns.index(site.part)), site.last - site.first + 1


def scan_title(scan: ScanResult, variant: str, what: str = "") -> str:
    """Scan and variant in words."""
    named = ", ".join(filter(None, (variant, what)))
    return f"{scan.descriptor.title}: {named}" if named else scan.descriptor.title


def _column_order(score: ScanScore) -> tuple[int, str, int, int]:
    return part_order(score.part), score.part, score.head, _role_order(score.role)


def _role_order(role: str) -> int:
    roles = ("", *ROLES)
    return roles.index(role) if role in roles else len(roles)


def _cell_in(any_of: ScanScore) -> Callable[[Location], Cell | None]:
    """Finds the cell of a location: one part of one layer, or one head of the sheet's part."""
    if across_of(any_of) != "heads":
        return cell_of
    return lambda location: _head_cell(location, any_of.part)


def _head_cell(location: Location, part: str) -> Cell | None:
    site, *others = location.sites
    if others or site.first != site.last or site.head is None or site.part != part:
        return None
    return site.first, f"h{site.head}"


def _location(cell: Cell, any_of: ScanScore) -> str:
    """The name of the location in a cell, with the token role where the sheet has one."""
    (layer, column), across = cell, across_of(any_of)
    if across == "parts":
        return str(Location.at(layer, column))
    if across == "heads":
        location = str(Location.at(layer, any_of.part, int(column.removeprefix("h"))))
        return f"{location}, {any_of.role}" if any_of.role else location
    return f"{Location.at(layer, any_of.part)}, {column}"


def _hover(location: str, score: ScanScore | None) -> str:
    if score is None:
        return f"{location}\nnot scored"
    bounds = interval(score.low, score.high)
    lines = [location, f"score {number(score.score)} {bounds}".strip()]
    return "\n".join([*lines, f"{score.count} requests"] if score.count else lines)


def token_heatmaps(scan: ScanResult) -> tuple[Heatmap, ...]:
    """A heatmap per variant and part of the first prompt that the scan kept; the `facts` of each
    are the maps of all prompts."""
    kept: dict[tuple[str, str], list[TokenMap]] = defaultdict(list)
    for token_map in scan.maps:
        kept[token_map.variant, token_map.part].append(token_map)
    return tuple(replace(token_heatmap(scan, maps[0]), facts=tuple(maps)) for maps in kept.values())


def fact_data(token_map: TokenMap) -> dict[str, Any]:
    """A map as plain data for the page, which draws it when it is chosen."""
    return {
        "edit": token_map.edit,
        "prompt": "".join(token_map.tokens).strip(),
        "tokens": [token_label(token) for token in token_map.tokens],
        "subject": [i for i in token_map.subject if i < len(token_map.tokens)],
        "answer": token_label(token_map.answer.strip(), spaces=False),
        "values": [
            [None if isnan(v) else float(f"{v:.3g}") for v in row] for row in token_map.values
        ],
    }


def token_heatmap(scan: ScanResult, token_map: TokenMap) -> Heatmap:
    """Layers x tokens of one prompt; columns are named by position, for tokens recur."""
    # A space is part of most tokens and would be lost in a label.
    tokens = tuple(map(token_label, token_map.tokens))
    centred = has_both_signs(value for row in token_map.values for value in row)
    what = ", ".join(filter(None, (token_map.variant, token_map.part)))
    choice = ": ".join(filter(None, (token_map.variant, f"one prompt, {token_map.part}")))
    answer = token_label(token_map.answer.strip(), spaces=False)
    return Heatmap(
        f"scan-{scan.descriptor.name}-{token_map.variant}-tokens-{token_map.part}-{token_map.edit}",
        f"{scan.descriptor.title}: {what}, one prompt, answer “{answer}”",
        tuple(map(str, range(len(token_map.values)))),
        # Plotly merges columns of equal names, and tokens recur in a prompt.
        tuple(f"{position}:{token}" for position, token in enumerate(tokens)),
        token_map.values,
        tuple(tuple(map(short, row)) for row in token_map.values),
        tuple(
            tuple(_token_hover(token_map, layer, token, tokens) for token in range(len(tokens)))
            for layer in range(len(token_map.values))
        ),
        f"{colour_key(scan.descriptor.sign, centred)} One prompt, of edit {token_map.edit}; the "
        f"answer followed is “{answer}”. Outlined, in bold and with an asterisk: the subject.",
        centred=centred,
        good=scan.descriptor.sign,
        across="tokens of the prompt",
        labels=tuple(_label(token_map, i, token) for i, token in enumerate(tokens)),
        upright=True,
        banded=tuple(i for i in token_map.subject if i < len(tokens)),
        choice=choice,
        variant=token_map.variant,
    )


def token_label(token: str, spaces: bool = True) -> str:
    """The token with its line ends, and where wanted its spaces, to be seen."""
    signs = {c: sign for c, sign in SIGNS.items() if spaces or c != " "}
    return visible("".join(signs.get(c, c) for c in token)) or "(empty)"


def _label(token_map: TokenMap, index: int, token: str) -> str:
    # Some tokens are long, and a few of them would take half of the figure.
    cut = token if len(token) <= LONG_TOKEN else token[: LONG_TOKEN - 1] + "…"
    return f"{cut} *" if index in token_map.subject else cut


def _token_hover(token_map: TokenMap, layer: int, index: int, tokens: tuple[str, ...]) -> str:
    subject = ", of the subject" if index in token_map.subject else ""
    location, value = Location.at(layer, token_map.part), number(token_map.values[layer][index])
    where = f"token {index} of {len(tokens)}{subject}: {tokens[index]}"
    return f"{location}\n{where}\nvalue {value}"
