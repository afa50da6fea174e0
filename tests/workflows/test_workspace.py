from dataclasses import replace

from worlds import world

from locscope.workflows.workspace import _known_already


def test_edits_that_teach_nothing_are_noted():
    before = world("llama").before
    assert _known_already(before) == ()
    edits = tuple(
        replace(said, target=replace(said.target, text=asked.target.wanted))
        for asked, said in zip(before.questions, before.edits, strict=True)
    )
    one = replace(before, edits=(*edits[:1], *before.edits[1:]))
    words = "are answered with the new target before any tuning"
    assert _known_already(one) == (f"1 of 3 edits {words}: a",)
    assert _known_already(replace(before, edits=edits)) == (f"3 of 3 edits {words}: a, b, c",)
