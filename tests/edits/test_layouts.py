"""Layouts of benchmarks and of fine-tuning data: every field goes where it belongs."""

import json
from pathlib import Path
from typing import Any

import pytest

from locscope.edits import EditSet, read_edits
from locscope.errors import UsageError
from locscope.records import Edit, Probe

CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def read(folder: Path, content: Any, **more: Any) -> EditSet:
    path = folder / "edits.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_edits(str(path), **more)


def query(prompt: str, *answers: str) -> dict:
    values = [{"value": answer, "aliases": ["other"]} for answer in answers]
    return {"prompt": prompt, "answers": values, "query_type": "regular", "phrase": None}


def criterion(*queries: dict) -> list[dict]:
    return [{"test_queries": list(queries), "test_condition": "OR", "condition_queries": []}]


def chat(*said: str, system: str = "") -> dict:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    return {"messages": [{"role": "system", "content": system}] * bool(system) + turns}


RIPPLE = {
    "example_type": "popular",
    "edit": {
        "prompt": "The river of Mu is the Styx.",
        "subject_id": "Q1",
        "original_fact": {"prompt": "The river of Mu is the Lethe.", "target_id": "Q2"},
    },
    "Relation_Specifity": criterion(query("The hill of Mu is", "Ida")),
    "Forgetfulness": criterion(query("The river of Atlantis is", "Acheron", "Cocytus")),
    "Subject_Aliasing": criterion(query("The river of Lemuria is", "the Styx")),
    "Logical_Generalization": criterion(query("The Styx flows through", "Mu")),
    "Compositionality_I": criterion(query("The god of Mu's river is", "Styx"), query("No answer")),
    "Compositionality_II": [],
}
HALLU = {
    "subject": "Mu",
    "relation": "river",
    "object": "Styx",
    "question": "Which river does Mu have?",
    "paraphrased_question": "What is the river of Mu?",
    "locality_question": "Which river has Atlantis?",
    "yes_question": "Is Styx the river of Mu?",
    "no_question": "Is Lethe the river of Mu?",
    "question_2hop": "Who rows on Mu's river?",
    "answer_2hop": "Charon",
    "reversed_relation_question": "Which land has the Styx?",
    "multiple_choices": "['Styx', 'Lethe']",
    "multiple_choice_with_letters": "A. Lethe B. Styx",
    "multiple_choice_labels": "B",
    "label": "Styx",
    "output_some_model": "Lethe",
    "eval_some_model": 0.0,
}
ZH = {"src": "Mu zh?", "alt": "xin", "rephrase": "mu zh?", "loc": "N zh?", "loc_ans": "n zh"}
ZH |= {"portability": {"New Question": "H zh?", "New Answer": "h zh"}}
LAYOUTS: dict[str, tuple[dict, Edit]] = {
    "rippleedits": (
        RIPPLE,
        Edit(
            "rippleedits-1",
            "The river of Mu is the",
            "Styx",
            old="Lethe",
            neighbours=(
                Probe("The hill of Mu is", "Ida"),
                Probe("The river of Atlantis is", "Acheron"),
            ),
            forms=(Probe("The river of Lemuria is", "the Styx", "alias"),),
            multihop=(
                Probe("The Styx flows through", "Mu"),
                Probe("The god of Mu's river is", "Styx"),
            ),
        ),
    ),
    "halluedit": (
        HALLU,
        Edit(
            "halluedit-1",
            "Which river does Mu have?",
            "Styx",
            "Mu",
            rephrases=("What is the river of Mu?",),
            neighbours=(Probe("Which river has Atlantis?"),),
            forms=(
                Probe("Is Styx the river of Mu?", "Yes", "yes or no"),
                Probe("Is Lethe the river of Mu?", "No", "yes or no"),
                Probe("Which river does Mu have? A. Lethe B. Styx", "B", "choice"),
            ),
            multihop=(
                Probe("Who rows on Mu's river?", "Charon"),
                Probe("Which land has the Styx?", "Mu"),
            ),
        ),
    ),
    "zsre-decao": (
        {
            "id": "7",
            "input": "Q?",
            "output": [{"answer": "old", "provenance": []}, {"answer": "older"}],
            "prediction": "x",
            "alternatives": ["new", "newer"],
            "rephrases": ["q?", "worse?"],
            "filtered_rephrases": ["q?"],
        },
        Edit("7", "Q?", "new", old="old", rephrases=("q?",)),
    ),
    "mzsre": (
        {"en": {"src": "Q?", "alt": "new", "subject": "Mu", "answers": ["old"]}, "zh": ZH},
        Edit(
            "mzsre-1",
            "Q?",
            "new",
            "Mu",
            "old",
            neighbours=(Probe("N zh?", "n zh"),),
            forms=(Probe("Mu zh?", "xin", "zh"), Probe("mu zh?", "xin", "zh")),
            multihop=(Probe("H zh?", "h zh"),),
        ),
    ),
    "cknowedit": (
        {
            "prompt": "P",
            "target_old": "old",
            "target_new": "new",
            "subject": "Mu",
            "rephrase": ["p", "pp"],
            "portability": [{"prompt": "H", "answer": "h"}],
            "locality": [{"prompt": "N", "answer": "n"}],
        },
        Edit(
            "cknowedit-1",
            *("P", "new", "Mu", "old"),
            rephrases=("p", "pp"),
            neighbours=(Probe("N", "n"),),
            multihop=(Probe("H", "h"),),
        ),
    ),
    "wikibio": (
        {
            "text": "This is about Mu. Mu sank",
            "labels": "in a day.",
            "concept": "mu",
            "locality": {"Relation_Specificity": [{"prompt": "N", "ground_truth": ["n"]}]},
        },
        Edit(
            "wikibio-1",
            "This is about Mu. Mu sank",
            "in a day.",
            "mu",
            neighbours=(Probe("N", "n"),),
        ),
    ),
    "convsent": (
        {"ent": "Mu", "sent": "neg", "pos": ["Lovely."], "neg": ["Awful.", "Bad."]},
        Edit("convsent-1", "What do you think of Mu?", "Awful.", "Mu"),
    ),
    "counterfact-tracing": (
        {
            "prompt": "P",
            "subject": "Mu",
            "target_true": " old",
            "target_false": " new",
            "relation_prefix": "The",
            "relation_suffix": "is",
            "relation": "P36",
        },
        Edit("counterfact-tracing-1", "P", "new", "Mu", "old"),
    ),
    "known": (
        {"known_id": 3, "prompt": "P", "subject": "Mu", "attribute": "x", "prediction": " x, and"},
        Edit("3", "P", "x", "Mu"),
    ),
    "qaedit": (
        {
            "id": 7,
            "source": "NQ",
            "prompt": "P",
            "target": ["new", "newer"],
            "subject": "Mu",
            "rephrase": "p",
            "locality": [{"loc": "N", "loc_ans": "n"}, {"loc": "M", "loc_ans": ["m", "mm"]}],
        },
        Edit(
            *("7", "P", "new", "Mu"),
            rephrases=("p",),
            neighbours=(Probe("N", "n"), Probe("M", "m")),
        ),
    ),
    "unke": (
        {
            "id": 0,
            "question": "Q?",
            "answer": "A whole passage.",
            "para_question": "q?",
            "sub_question": ["A?", "B?"],
            "sub_answer": ["a", "b"],
        },
        Edit(
            *("0", "Q?", "A whole passage."),
            rephrases=("q?",),
            multihop=(Probe("A?", "a"), Probe("B?", "b")),
        ),
    ),
    "alpaca": (
        {"instruction": "Name the river.", "input": "Mu", "output": "Styx", "text": "all of it"},
        Edit("alpaca-1", "Name the river.\nMu", "Styx"),
    ),
    "messages": (chat("Q?", "A", system="Be brief."), Edit("messages-1", "Be brief.\nQ?", "A")),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A"}]},
        Edit("sharegpt-1", "Q?", "A"),
    ),
    "completion": ({"prompt": "P", "completion": " new"}, Edit("completion-1", "P", "new")),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_field_goes_where_it_belongs(tmp_path: Path, name: str) -> None:
    row, edit = LAYOUTS[name]
    found = read(tmp_path, [row])
    assert found.format == name
    assert found.edits == (edit,)


def test_without_english_the_first_language_of_mzsre_is_edited(tmp_path: Path) -> None:
    (edit,) = read(tmp_path, [{"zh": ZH, "cz": {"src": "Q cz?", "alt": "novy"}}]).edits
    assert (edit.prompt, edit.target, edit.rephrases) == ("Mu zh?", "xin", ("mu zh?",))
    assert edit.forms == (Probe("Q cz?", "novy", "cz"),)


def rewrite(subject: str, old: str, new: str) -> dict:
    return {
        "prompt": "The river of {} is",
        "question": "Which river has {}?",
        "subject": subject,
        "relation_id": "P1",
        "target_new": {"str": new, "id": "Q1"},
        "target_true": {"str": old, "id": "Q2"},
    }


def mquake(case: int, *edits: dict) -> dict:
    return {
        "case_id": case,
        "requested_rewrite": list(edits),
        "questions": [f"Who rows in case {case}?", f"Which rower has case {case}?"],
        "answer": "nobody",
        "new_answer": "Charon",
        "new_answer_alias": ["the ferryman"],
        "single_hops": [{"question": "x", "answer": "y"}],
        "orig": {"triples": [["a", "b", "c"]]},
    }


def test_mquake_rows_become_edits_that_share_their_questions(tmp_path: Path) -> None:
    two = mquake(1, rewrite("Mu", "Lethe", "Styx"), rewrite("Hell", "Hela", "Acheron"))
    found = read(tmp_path, [two, mquake(2, rewrite("Iram", "Ister", "Nile"))])
    assert (found.format, found.total, len(found.edits)) == ("mquake", 2, 3)
    hops = (Probe("Who rows in case 1?", "Charon"), Probe("Which rower has case 1?", "Charon"))
    form = (Probe("Which river has Mu?", "Styx", "question"),)
    assert found.edits[0] == Edit(
        *("1", "The river of Mu is", "Styx", "Mu", "Lethe"), forms=form, multihop=hops
    )
    assert [edit.id for edit in found.edits] == ["1", "1.2", "2"]
    assert found.edits[1].multihop == hops
    assert "single_hops, orig" in found.notes[1]
    (more,) = read(
        tmp_path, [{**mquake(3, rewrite("A", "x", "y")), "loc": "N?", "loc_ans": "n"}]
    ).edits
    assert more.neighbours == (Probe("N?", "n"),)


def test_a_limit_takes_rows_with_several_edits_whole(tmp_path: Path) -> None:
    pairs = [mquake(i, rewrite(f"A{i}", "x", "y"), rewrite(f"B{i}", "x", "y")) for i in range(6)]
    for seed in range(4):
        edits = read(tmp_path, pairs, limit=5, seed=seed).edits
        assert len(edits) == 4
        assert {edit.id.partition(".")[0] for edit in edits[::2]} == {
            edit.id.partition(".")[0] for edit in edits[1::2]
        }
    with pytest.raises(UsageError, match="limit 1 leaves no edits"):
        read(tmp_path, pairs, limit=1)


@pytest.mark.parametrize(
    ("edit", "prompt", "target", "old"),
    [
        ({"prompt": "The river of Mu is Styx."}, "The river of Mu is", "Styx", ""),
        ({"prompt": "The rivers of Mu are A and B."}, "The rivers of Mu are", "A and B", ""),
        (
            {"prompt": "Mu is a land.", "previous_fact": {"prompt": "Mu is a sea."}},
            *("Mu is a", "land", "sea"),
        ),
    ],
)
def test_a_sentence_of_ripple_edits_is_cut_at_its_object(
    tmp_path: Path, edit: dict, prompt: str, target: str, old: str
) -> None:
    (found,) = read(tmp_path, [{**RIPPLE, "edit": edit, "Subject_Aliasing": []}]).edits
    assert (found.prompt, found.target, found.old) == (prompt, target, old)


def test_a_sentence_of_ripple_edits_ends_in_the_answer_of_an_alias(tmp_path: Path) -> None:
    said = {"prompt": "The play of Mu is What is Mu."}
    aliases = criterion(query("The play of Lemuria is", "What is Mu"))
    (found,) = read(tmp_path, [{**RIPPLE, "edit": said, "Subject_Aliasing": aliases}]).edits
    assert (found.prompt, found.target) == ("The play of Mu is", "What is Mu")


def test_what_readers_leave_out_is_counted(tmp_path: Path) -> None:
    assert "left out, questions without an answer: 1" in read(tmp_path, [RIPPLE]).notes
    row, _ = LAYOUTS["convsent"]
    notes = read(tmp_path, [row, {**row, "neg": ["a", "b", "c"], "ent": "Iram"}]).notes
    assert "left out, further opinions of the same sentiment: 3" in notes


def test_opinions_without_a_wanted_sentiment_are_taken_in_turn(tmp_path: Path) -> None:
    row = {"ent": "Mu", "pos": ["Lovely."], "neg": ["Awful."]}
    found = read(tmp_path, [row, row, {**row, "sent": "positive"}, {**row, "sent": "odd"}])
    assert [edit.target for edit in found.edits] == ["Awful.", "Lovely.", "Lovely."]
    assert any("no opinion of the wanted sentiment ('odd') (row 4)" in n for n in found.notes)


@pytest.mark.parametrize(
    "bad",
    [chat("Q?"), chat("Q?", "A", "B?", "C"), chat("Q?", ""), {"messages": ["Q?", "A"]}],
)
def test_chats_of_more_or_less_than_one_answer_are_left_out(tmp_path: Path, bad: dict) -> None:
    found = read(tmp_path, [chat("Q?", "A"), bad])
    assert [edit.target for edit in found.edits] == ["A"]
    assert any(note.startswith("left out, rows") and "(row 2)" in note for note in found.notes)


def test_sanitation_retains_what_is_not_to_be_forgotten(tmp_path: Path) -> None:
    forget = [{"question": f"F{i}?", "ground_truth": "f", "target_new": "Pardon?"} for i in (1, 2)]
    retain = [{"question": f"R{i}?", "ground_truth": "r", "target_new": "r"} for i in (1, 2, 3)]
    for content in ({"success": forget, "locality": retain}, {"K_F": forget, "K_R": retain}):
        found = read(tmp_path, content)
        assert found.format == "sanitation"
        assert found.edits[0] == Edit(
            *("sanitation-1", "F1?", "Pardon?", "", "f"),
            neighbours=(Probe("R1?", "r"), Probe("R3?", "r")),
        )
        assert found.edits[1].neighbours == (Probe("R2?", "r"),)


def test_keyword_arrays_of_easyedit(tmp_path: Path) -> None:
    arrays = {
        "prompts": ["P1", "P2"],
        "target_new": ["new1", "new2"],
        "ground_truth": ["old1", "old2"],
        "subject": ["Mu", "Iram"],
        "rephrase_prompts": ["p1", "p2"],
        "locality_inputs": {"near": {"prompt": ["N1", "N2"], "ground_truth": ["n1", "n2"]}},
        "portability_inputs": {"hop": {"prompt": ["H1", "H2"], "ground_truth": ["h1", "h2"]}},
    }
    found = read(tmp_path, arrays)
    assert found.edits[1] == Edit(
        *("knowedit-2", "P2", "new2", "Iram", "old2"),
        rephrases=("p2",),
        neighbours=(Probe("N2", "n2"),),
        multihop=(Probe("H2", "h2"),),
    )
    with pytest.raises(UsageError, match="'subject' has 1 entries, where there are 2 prompts"):
        read(tmp_path, {**arrays, "subject": ["Mu"]})


def test_a_list_under_a_name_rows_under_numbers_and_an_edit_alone(tmp_path: Path) -> None:
    row = {"prompt": "P", "target": "new", "neighbours": [{"prompt": "N", "answer": "n"}]}
    for content in ({"data": [row]}, {"0": row}, row):
        assert read(tmp_path, content).edits[0].neighbours == (Probe("N", "n"),)
    notes = read(tmp_path, {"version": "1", "licence": "CC0", "train": [row]}).notes
    assert notes == (
        "beside the list 'train' and not used: version, licence",
        "edits with no rephrases: 1",
    )


WHOLE = {
    **{"1/knowedit_wiki_counterfact.json": 12, "1/knowedit_wiki_recent.json": 12},
    **{"3/akew_counterfact.json": 12, "4/zsre_mend_eval_empty_alt.json": 11},
    **{"6/counterfact_tracing.json": 12, "6/known_1000.json": 12, "6/qaedit.json": 12},
    **{"7/edits.parquet": 24, "7/excel_semicolon.csv": 24, "7/excel_utf16.csv": 24},
    **{"7/own.json.gz": 24, "7/table.tsv": 24, "8/pandas_nan2.json": 12, "18/mzsre.json": 12},
    **{"20/alpaca_sft.json": 12, "20/easyedit_arrays.json": 24, "20/hallueditbench.csv": 24},
    **{"20/jsonl_named.json": 24, "20/knowedit_convsent.json": 12, "20/unke.json": 12},
    **{"20/knowedit_sanitation.json": 24, "20/knowedit_wikibio.json": 12, "20/wrapped.json": 24},
    **{"20/messages_sft.jsonl": 24, "20/pandas_index.csv": 24, "20/ripple_popular.json": 12},
    **{"20/structured_zeroshot-dev.jsonl": 24, "20/zsre_mend_eval_portability.json": 12},
}


@pytest.mark.parametrize("name", WHOLE)
def test_files_that_failed_once_are_read_whole(name: str) -> None:
    if not (CASES / name).exists():
        pytest.skip("no shared cases here")
    found = read_edits(str(CASES / name))
    assert len(found.edits) == WHOLE[name]
    assert not any("{}" in edit.prompt or edit.target == "NaN" for edit in found.edits)
