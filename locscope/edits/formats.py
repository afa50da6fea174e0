"""The edit formats: the fields that identify each, those that its reader uses, and the reader.

A format is a function `(row) -> Edit` in a file of `readers/` and an entry in `FORMATS`.
"""

from locscope.edits.entry import EditFormat, listed, published
from locscope.edits.readers.questions import LANGUAGES

_FLAT = "subject, rephrase_prompt, locality_prompt, locality_ground_truth"
_ZSRE = "subject, answers, rephrase, loc, loc_ans"
_ZSRE += ", portability.New Question, portability.New Answer"
_REQUEST = "requested_rewrite.subject, requested_rewrite.target_true, requested_rewrite.question"
_REQUEST += ", paraphrase_prompts, neighborhood_prompts, case_id"
_PASSAGES = "requested_rewrite.prompt_full, requested_rewrite.fact_*, requested_rewrite.unsfact_*"
_PASSAGES += ", requested_rewrite.answer_*, attribute_prompts, generation_prompts"
_RIPPLE = "Relation_Specificity, Relation_Specifity, Forgetfulness, Subject_Aliasing"
_RIPPLE += ", Logical_Generalization, Compositionality_I, Compositionality_II"
_HOPS = ", ".join(f"{what}_{n}hop" for n in range(2, 7) for what in ("question", "answer"))
_LANGUAGE = "src, alt, subject, answers, rephrase, loc, loc_ans, portability"
_MZSRE = ", ".join(f"{language}.{name}" for language in LANGUAGES for name in listed(_LANGUAGE))
_MZSRE_ASIDE = ", ".join(
    f"{language}.{name}" for language in LANGUAGES for name in ("pred", "cond")
)
_SEVERAL = "of several accepted answers the first counts"

_PUBLISHED = (
    published(
        "zsre-decao",
        "zsRE of De Cao (input, alternatives, filtered_rephrases, ...)",
        "input, alternatives",
        "id, output, rephrases, filtered_rephrases",
        "questions:read_decao",
        aside="prediction, meta",
        note="of several new answers to choose from the first is taken",
    ),
    published(
        "mzsre",
        "MzsRE: one row of zsRE for each language (en, zh, ...)",
        "",
        f"{_MZSRE}, case_id",
        "questions:read_mzsre",
        any_of=", ".join(f"{language}.src" for language in LANGUAGES),
        aside=_MZSRE_ASIDE,
        note="the English edit is tuned, or that of the first language; the others are asked as "
        "other forms of it, without their subjects and old answers",
    ),
    published(
        "zsre",
        "zsRE of MEND, EasyEdit and LocFT (src, alt, ...)",
        "src, alt",
        _ZSRE,
        "questions:read_zsre",
        aside="pred, cond, portability.Recalled Relation",
    ),
    published(
        "mquake",
        "MQuAKE (requested_rewrite, questions, new_answer, ...)",
        "requested_rewrite.prompt, requested_rewrite.target_new, questions",
        f"{_REQUEST}, new_answer, loc, loc_ans",
        "multihop:read_mquake",
        expand="locscope.edits.readers.multihop:rewrites",
        aside=f"{_PASSAGES}, answer, answer_alias, answer_extended, new_answer_alias"
        ", new_answer_extended, single_hops, new_single_hops, orig",
        note="a question needs all edits of its row, and those of other rows may change its answer "
        "too",
    ),
    published(
        "counterfact-nested",
        "CounterFact as ROME publishes it, AKEW (requested_rewrite, paraphrase_prompts, ...)",
        "requested_rewrite.prompt, requested_rewrite.target_new",
        _REQUEST,
        "counterfact:read_published",
        aside=_PASSAGES,
    ),
    published(
        "rippleedits",
        "RippleEdits (edit, Compositionality_I, ...)",
        "edit.prompt",
        f"edit.original_fact, edit.previous_fact, {_RIPPLE}",
        "multihop:read_ripple",
        any_of=_RIPPLE,
        aside="example_type, edit.subject_id, edit.relation, edit.target_id",
        note=f"{_SEVERAL}; facts that a question takes for known (condition_queries) are not tried",
    ),
    published(
        "cknowedit",
        "CKnowEdit (prompt, target_old, target_new, ...)",
        "prompt, target_new, target_old",
        "id, subject, rephrase, locality, portability",
        "knowedit:read_chinese",
        note="portability is asked as multi-hop questions",
    ),
    published(
        "knowedit",
        "KnowEdit: wiki_recent, wiki_counterfact, ZsRE (prompt, target_new, locality, ...)",
        "prompt, target_new",
        "subject, ground_truth, case_id, rephrase, rephrase_prompt, locality, portability",
        "knowedit:read",
        any_of="locality, portability",
        aside="cond",
        note=f"portability is asked as multi-hop questions; {_SEVERAL}",
    ),
    published(
        "wikibio",
        "KnowEdit: WikiBio (text, labels, concept, locality)",
        "text, labels",
        "concept, locality",
        "knowedit:read_wikibio",
        note="targets are whole sentences, of which exact match asks every word",
    ),
    published(
        "convsent",
        "KnowEdit: ConvSent (ent, sent, pos, neg)",
        "ent",
        "pos, neg, sent",
        "knowedit:read_convsent",
        any_of="pos, neg",
        note="the set has no prompts: what the model thinks of the entity is asked, and the first "
        "opinion of the wanted sentiment (without `sent`, in turn) is the target, of which exact "
        "match asks every word",
    ),
    published(
        "requests",
        "requests of ROME, MEMIT, AlphaEdit (prompt, subject, target_new: {str})",
        "prompt, target_new.str",
        "subject, target_true.str, case_id",
        "counterfact:read_request",
    ),
    published(
        "counterfact-tracing",
        "counterfact-tracing of the hub (prompt, target_true, target_false, ...)",
        "prompt, target_false",
        "target_true, subject",
        "counterfact:read_tracing",
        aside="relation_prefix, relation_suffix",
    ),
    published(
        "known",
        "known_1000 of ROME (prompt, attribute, template, ...)",
        "prompt, attribute",
        "subject, known_id",
        "counterfact:read_known",
        any_of="known_id, template, prediction",
        aside="template, prediction",
        note="these are facts that models know, for scans: the target is the true answer, and "
        "tuning on it teaches nothing new",
    ),
    published(
        "counterfact",
        "CounterFact of EasyEdit and LocFT (prompt, target_new, ground_truth, ...)",
        "prompt, target_new, ground_truth",
        f"{_FLAT}, case_id",
        "counterfact:read_flat",
    ),
    published(
        "wikibigedit",
        "WikiBigEdit of LocFT, keyword arrays of EasyEdit (prompt, target_new, ...)",
        "prompt, target_new",
        _FLAT,
        "questions:read_wikibigedit",
    ),
    published(
        "wikibigedit-hub",
        "WikiBigEdit as on the hub (update, ans, ...)",
        "update, ans",
        "subject, rephrase, loc, loc_ans, mhop, mhop_ans",
        "questions:read_wikibigedit_hub",
        aside="object, personas",
    ),
    published(
        "qaedit",
        "QAEdit (prompt, target, locality: [{loc, loc_ans}], ...)",
        "prompt, target",
        "id, subject, ground_truth, rephrase, locality, portability",
        "long_answers:read_qaedit",
        any_of="locality, portability",
    ),
    published(
        "halluedit",
        "HalluEditBench (question, object, paraphrased_question, ...)",
        "question, object",
        f"subject, paraphrased_question, locality_question, yes_question, no_question, {_HOPS}"
        ", reversed_relation_question, multiple_choice_with_letters, multiple_choice_labels",
        "long_answers:read_halluedit",
        aside="label, output_*, eval_*, multiple_choices, topic",
        note="neighbours have no stated answers: they are to stay as the untouched model has them",
    ),
    published(
        "unke",
        "UnKE (question, answer, para_question, sub_question, ...)",
        "question, answer",
        "id, para_question, sub_question, sub_answer",
        "long_answers:read_unke",
        any_of="para_question, sub_question",
        note="targets are whole passages, of which exact match asks every word",
    ),
    published(
        "sanitation",
        "KnowEdit: sanitation (question, target_new, ground_truth)",
        "question, target_new",
        "ground_truth, locality",
        "knowedit:read_sanitation",
    ),
    published(
        "alpaca",
        "fine-tuning data of Alpaca (instruction, input, output)",
        "instruction, output",
        "input",
        "fine_tuning:read_alpaca",
        aside="text",
    ),
    published(
        "messages",
        "chats (messages: [{role, content}])",
        "messages",
        "",
        "fine_tuning:read_messages",
    ),
    published(
        "sharegpt",
        "chats of ShareGPT (conversations: [{from, value}])",
        "conversations",
        "",
        "fine_tuning:read_sharegpt",
    ),
    published(
        "completion",
        "prompts and completions (prompt, completion)",
        "prompt, completion",
        "id",
        "fine_tuning:read_completion",
    ),
)

FORMATS: dict[str, EditFormat] = {
    **{entry.name: entry for entry in _PUBLISHED},
    "own": EditFormat(
        "own",
        "your own JSON, JSONL or CSV (prompt, target, ...)",
        fields=("prompt", "target"),
        reads=listed("prompt, target, id, subject, old, rephrases, neighbours, forms, multihop"),
        function="locscope.edits.readers.own:read",
        strict=True,
    ),
}
"""The formats, in the order in which they are tried: the first that fits is taken.

The order matters: a KnowEdit or flat CounterFact file has all fields of flat WikiBigEdit too.
"""
