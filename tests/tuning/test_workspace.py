from dataclasses import replace

from worlds import world


def test_edits_that_teach_nothing_are_noted():
    workspace = replace(world("llama").context, suite_notes=("a note of the file",))
    before = workspace.before
    assert workspace.notes == ("a note of the file",)
    edits = tuple(
        replace(said, target=replace(said.target, text=asked.target.wanted))
        for asked, said in zip(before.questions, before.edits, strict=True)
    )
    words = "are answered with the new target before any tuning"
    for count, named in ((1, "a"), (3, "a, b, c")):
        other = replace(workspace)
        # What is cached is read before it is made.
        vars(other)["before"] = replace(before, edits=(*edits[:count], *before.edits[count:]))
        assert other.notes == ("a note of the file", f"{count} of 3 edits {words}: {named}")


def test_the_untouched_model_is_asked_once(monkeypatch):
    workspace = replace(world("llama").context)
    first = workspace.before
    monkeypatch.setattr("locscope.tuning.workspace.observe", None)
    assert workspace.before is first
    assert workspace.to_learn(["a"]) == -workspace.before.of(["a"]).edits[0].target.logprob
