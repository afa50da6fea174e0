"""Sets with long or many answers: UnKE, QAEdit, HalluEditBench.

UnKE (Deng et al. 2024, arXiv 2405.15349) edits passages; its sub-questions, answered by the
passage, are asked as multi-hop questions. QAEdit (Yang et al. 2025, arXiv 2502.11177) has questions
of three benchmarks with several neighbours each. HalluEditBench (Huang et al. 2025, arXiv
2410.16251) is a table of facts that models get wrong: `object` is right, and there are questions of
two to six hops with their answers. What models answered (`output_...`) is not used.
"""

from locscope.edits.readers.nested import probes
from locscope.edits.rows import (
    Row,
    asked,
    first_answer,
    first_required,
    identifier,
    optional,
    probe,
    required,
    single,
    texts,
)
from locscope.errors import UsageError
from locscope.records import Edit, Probe

MOST_HOPS = 6


def read_unke(row: Row) -> Edit:
    """The edit in a row with `question`, `answer` and questions on parts of the answer.

    Raises UsageError where a field is missing, or there are not as many answers as questions.
    """
    questions, answers = texts(row, "sub_question"), texts(row, "sub_answer")
    if len(questions) != len(answers):
        raise UsageError(
            f"{row.where}: {len(questions)} in 'sub_question' and {len(answers)} in 'sub_answer'"
        )
    return Edit(
        id=identifier(row, "id"),
        prompt=required(row, "question"),
        target=required(row, "answer"),
        rephrases=texts(row, "para_question"),
        multihop=tuple(map(Probe, questions, answers)),
    )


def read_qaedit(row: Row) -> Edit:
    """The edit in a row with `prompt`, `target` and a list of neighbours in `locality`.

    Raises UsageError where a field is missing, not of its type or has unknown keys.
    """
    return Edit(
        id=identifier(row, "id"),
        prompt=required(row, "prompt"),
        target=first_required(row, "target"),
        subject=optional(row, "subject"),
        old=first_answer(row, "ground_truth"),
        rephrases=texts(row, "rephrase"),
        neighbours=probes(row, "locality"),
        multihop=asked(row, "portability questions", *probes(row, "portability")),
    )


def read_halluedit(row: Row) -> Edit:
    """The edit in a row with `question` and `object`.

    Raises UsageError where a field is missing or not a text.
    """
    target, subject = required(row, "object"), optional(row, "subject")
    forms = [
        *(Probe(text, "Yes", "yes or no") for text in single(row, "yes_question")),
        *(Probe(text, "No", "yes or no") for text in single(row, "no_question")),
    ]
    choice = probe(row, "multiple_choice_with_letters", "multiple_choice_labels")
    if choice and choice[0].answer:
        asked_of = f"{required(row, 'question')} {choice[0].prompt}"
        forms.append(Probe(asked_of, choice[0].answer, "choice"))
    hops = [
        found
        for number in range(2, MOST_HOPS + 1)
        for found in probe(row, f"question_{number}hop", f"answer_{number}hop")
    ]
    hops += [Probe(text, subject) for text in single(row, "reversed_relation_question")]
    return Edit(
        id="",
        prompt=required(row, "question"),
        target=target,
        subject=subject,
        rephrases=single(row, "paraphrased_question"),
        # The table has no answers of them: what the untouched model answers is to stay.
        neighbours=tuple(Probe(text) for text in single(row, "locality_question")),
        forms=tuple(forms),
        multihop=asked(row, "multi-hop questions", *hops),
    )
