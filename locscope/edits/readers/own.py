"""The user's own edits. Only `prompt` and `target` are required.

==============  ==================================================================================
prompt          what the model is asked, without the space before its answer
target          the answer that it should give
id              a name for the edit, unique in the file (else ``own-<row>``)
subject         what the edit is about; edits that share one are kept together when splitting
old             the answer before the edit
rephrases       a list of texts, or one text: other prompts for the same target
neighbours      a list of texts or of {prompt, answer}: prompts whose answer must not change
forms           a list of {kind, prompt, answer}: `question`, `choice`, ..., answers after the edit
multihop        a list of {prompt, answer}: questions that need the edit, answers after the edit
==============  ==================================================================================

In CSV the entries of a list are separated by ``|``; an entry of `neighbours` and `multihop` is
``prompt=>answer``, one of `forms` ``kind=>prompt=>answer``.
"""

from collections.abc import Mapping
from typing import Any

from locscope.edits.rows import Row, checked_text, identifier, kind_of, optional, required
from locscope.errors import UsageError, unknown
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row.

    Raises UsageError, which names the row and the field, where something cannot be used.
    """
    return Edit(
        id=identifier(row, "id"),
        prompt=required(row, "prompt"),
        target=required(row, "target"),
        subject=optional(row, "subject"),
        old=optional(row, "old"),
        rephrases=tuple(_filled(row, "rephrases", entry) for entry in _entries(row, "rephrases")),
        neighbours=_probes(row, "neighbours", keys=("prompt", "answer"), needed=("prompt",)),
        forms=_probes(row, "forms", keys=("kind", "prompt", "answer")),
        multihop=_probes(row, "multihop", keys=("prompt", "answer")),
    )


def row_of(edit: Edit) -> dict[str, Any]:
    """The edit as a row of this format, without what it does not have; `read` gives it back."""
    cells: dict[str, Any] = {"id": edit.id, "prompt": edit.prompt, "target": edit.target}
    cells |= {"subject": edit.subject, "old": edit.old, "rephrases": list(edit.rephrases)}
    for name in ("neighbours", "forms", "multihop"):
        cells[name] = [_as_object(probe) for probe in getattr(edit, name)]
    return {name: value for name, value in cells.items() if value}


def _as_object(probe: Probe) -> dict[str, str]:
    cells = {"kind": probe.kind, "prompt": probe.prompt, "answer": probe.answer}
    return {name: value for name, value in cells.items() if value}


def _entries(row: Row, field: str) -> list[Any]:
    value = row.cells.get(field)
    if value is None or value == "":
        return []
    if row.from_csv:
        return [entry for entry in str(value).split("|") if entry.strip()]
    if isinstance(value, str | list):
        return value if isinstance(value, list) else [value]
    raise UsageError(f"{row.where}: field '{field}' is {kind_of(value)}, not a list")


def _filled(row: Row, field: str, value: Any) -> str:
    text = checked_text(row, field, value)
    if not text:
        raise UsageError(f"{row.where}: field '{field}' has an empty entry; fill it or remove it")
    return text


def _probes(
    row: Row, field: str, keys: tuple[str, ...], needed: tuple[str, ...] = ()
) -> tuple[Probe, ...]:
    return tuple(
        _probe(row, field, _cells(row, field, keys, entry), keys, needed or keys)
        for entry in _entries(row, field)
    )


def _cells(row: Row, field: str, keys: tuple[str, ...], entry: Any) -> Mapping[str, Any]:
    """An entry of a list as a mapping, from an object or from text."""
    if isinstance(entry, dict):
        return entry
    if isinstance(entry, str):
        pieces = entry.split("=>") if row.from_csv else [entry]
        # A text alone is a prompt, also in `forms`, whose texts begin with a kind.
        names = keys if keys[0] == "prompt" or len(pieces) > 1 else ("prompt",)
        if len(pieces) <= len(names):
            return dict(zip(names, pieces, strict=False))
    raise UsageError(
        f"{row.where}: field '{field}' has an entry that is {kind_of(entry)}; "
        f"write {'=>'.join(keys) if row.from_csv else '{' + ', '.join(keys) + '}'}"
    )


def _probe(
    row: Row, field: str, cells: Mapping[str, Any], keys: tuple[str, ...], needed: tuple[str, ...]
) -> Probe:
    for name in cells:
        if name not in keys:
            wrong = unknown(f"key in '{field}'", name, keys)
            raise UsageError(f"{row.where}: {wrong}")
    for key in needed:
        if key not in cells:
            raise UsageError(f"{row.where}: field '{field}' has an entry without '{key}'")
    texts = {name: _probe_text(row, f"{field}.{name}", cells[name]) for name in cells}
    for key in needed:
        if not texts[key]:
            raise UsageError(f"{row.where}: field '{field}' has an entry with an empty '{key}'")
    return Probe(**texts)


def _probe_text(row: Row, field: str, value: Any) -> str:
    return "" if value is None else checked_text(row, field, value)
