"""Data of the heatmaps of scans: layers x parts, heads, token roles, or tokens of one prompt."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Sheet:
    """What the scores of one heatmap have in common; its columns are `across` something."""

    across: str
    part: str = ""
    role: str = ""

    @property
    def title(self) -> str:
        """The sheet in words; heads are attention's where nothing else is said."""
        part = "" if self.across == "heads" and self.part == "attn" else self.part
        return ", ".join(filter(None, (self.across, part, self.role)))

    def column(self, score: ScanScore) -> str:
        """The column that the score stands in."""
        named = {"parts": score.part, "heads": f"h{score.head}", "token roles": score.role}
        return named[self.across]


def scan_heatmaps(inputs: ReportInputs, scan: ScanResult) -> tuple[Heatmap, ...]:
    """All heatmaps of a scan, variant by variant, then those of single prompts."""
    of_variants = (_variant_heatmaps(inputs, scan, variant) for variant in scan.variants)
    return (*(h for heatmaps in of_variants for h in heatmaps), *token_heatmaps(scan))


def _variant_heatmaps(inputs: ReportInputs, scan: ScanResult, variant: str) -> list[Heatmap]:
    sheets: dict[Sheet, list[ScanScore]] = defaultdict(list)
    for score in scan.scores:
        if score.variant == variant:
            sheets[sheet_of(score)].append(score)
    drawn = [
        scan_heatmap(inputs, scan, variant, sheet, tuple(sheets[sheet]))
        for sheet in sorted(sheets, key=_sheet_order)
    ]
    # A single column tells least, so that it is not what one sees first.
    return sorted(drawn, key=lambda heatmap: len(heatmap.columns) == 1)


def sheet_of(score: ScanScore) -> Sheet:
    """The heatmap that a score stands in: all parts, the heads of a part, or its token roles."""
    if score.head >= 0:
        return Sheet("heads", score.part, score.role)
    return Sheet("token roles", score.part) if score.role else Sheet("parts")


def _sheet_order(sheet: Sheet) -> tuple[int, int, int]:
    kinds = ("parts", "heads", "token roles")
    return kinds.index(sheet.across), part_order(sheet.part), _role_order(sheet.role)


def scan_heatmap(
    inputs: ReportInputs,
    scan: ScanResult,
    variant: str,
    sheet: Sheet,
    scores: tuple[ScanScore, ...],
) -> Heatmap:
    """The scores of one sheet over layers and columns; NaN where a location has none."""
    by_cell = {(score.layer, sheet.column(score)): score for score in scores}
    columns = tuple(dict.fromkeys(sheet.column(s) for s in sorted(scores, key=_column_order)))
    layers = range(inputs.run.model.layers)
    true = {cell: score.score for cell, score in by_cell.items()}
    # Colours from zero out would waste half the scale on scores of one sign.
    centred = has_both_signs(true.values())
    of_roles = sheet.across == "token roles"
    outlined, tall = (None, 1) if of_roles else _outlined(inputs, columns, sheet)
    what = "" if sheet.across == "parts" else sheet.title
    return Heatmap(
        f"scan-{scan.descriptor.name}-{variant}-{what}",
        scan_title(scan, variant, what),
        tuple(map(str, layers)),
        columns,
        grid(layers, columns, lambda cell: true.get(cell, nan)),
        grid(layers, columns, lambda cell: short(true.get(cell, nan))),
        grid(layers, columns, lambda cell: _hover(_location(cell, sheet), by_cell.get(cell))),
        colour_key(scan.descriptor.sign, centred),
        centred=centred,
        good=scan.descriptor.sign,
        recommended=outlined,
        recommended_rows=tall,
        across=sheet.across,
        labels=tuple(role.replace(" ", "\n") for role in columns) if of_roles else (),
        choice=": ".join(filter(None, (variant, sheet.title))),
        variant=variant,
        # Trials of single heads are rare, and names of all heads would be half of the figure.
        locations=() if what else grid(layers, columns, lambda cell: _location(cell, sheet)),
    )


def _outlined(
    inputs: ReportInputs, columns: tuple[str, ...], sheet: Sheet
) -> tuple[tuple[int, int] | None, int]:
    """Row and column of the recommended location, and how many rows it takes."""
    cell = recommended_cell(inputs, columns, _cell_in(sheet))
    if cell is not None or inputs.best is None or sheet.across != "parts":
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


def _cell_in(sheet: Sheet) -> Callable[[Location], Cell | None]:
    """Finds the cell of a location: one part of one layer, or one head of the sheet's part."""
    return (
        (lambda location: _head_cell(location, sheet.part)) if sheet.across == "heads" else cell_of
    )


def _head_cell(location: Location, part: str) -> Cell | None:
    site, *others = location.sites
    if others or site.first != site.last or site.head is None or site.part != part:
        return None
    return site.first, f"h{site.head}"


def _location(cell: Cell, sheet: Sheet) -> str:
    """The name of the location in a cell, with the token role where the sheet has one."""
    layer, column = cell
    if sheet.across == "parts":
        return str(Location.at(layer, column))
    if sheet.across == "heads":
        location = str(Location.at(layer, sheet.part, int(column.removeprefix("h"))))
        return f"{location}, {sheet.role}" if sheet.role else location
    return f"{Location.at(layer, sheet.part)}, {column}"


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
