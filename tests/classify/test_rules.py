"""The transparent classifier on prompts of our own, and on any text at all."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.classify.features import Features
from metabolic.classify.rules import Options, RulesClassifier, complexity_score, create
from metabolic.core.request import Message, Request, ResponseFormat, Sampling, Text
from metabolic.core.signals import TASKS, PCorrect, Signals
from metabolic.testing.classifiers import check_classifier

_FILE = Path(__file__).with_name("prompts.jsonl")
PROMPTS: tuple[tuple[str, str, str], ...] = tuple(
    (row["task"], row["level"], row["prompt"])
    for row in map(json.loads, _FILE.read_text().splitlines())
)
"""Task, level and text. The rules were corrected with these in sight: the accuracy flatters."""

CLASSIFIER = create(Options())
TASK_ACCURACY = 0.92
LEVEL_ACCURACY = 0.85
"""What must hold on our own prompts; 0.97 and 0.91 when this was written."""


def ask(prompt: str, *, system: str | None = None, **fields: object) -> Request:
    messages = [Message(role="user", content=(Text(text=prompt),))]
    if system is not None:
        messages.insert(0, Message(role="system", content=(Text(text=system),)))
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        messages=tuple(messages),
        **fields,  # pyright: ignore[reportArgumentType]
    )


def classify(prompt: str, **fields: object) -> Signals:
    return CLASSIFIER.classify(ask(prompt, **fields))  # pyright: ignore[reportArgumentType]


def level(signals: Signals) -> str:
    ranked = {
        "simple": signals.p_simple,
        "medium": signals.p_medium,
        "complex": signals.p_complex,
    }
    return max(ranked, key=lambda name: ranked[name])


def dimension(signals: Signals, name: str) -> float:
    return next(one.ratio for one in signals.dimensions if one.name == name)


def test_there_are_enough_prompts_of_every_task() -> None:
    assert len(PROMPTS) >= 60
    assert {task for task, _, _ in PROMPTS} == set(TASKS)


def test_tasks_of_our_own_prompts() -> None:
    wrong = [(task, prompt[:50]) for task, _, prompt in PROMPTS if classify(prompt).task != task]
    assert len(wrong) <= (1 - TASK_ACCURACY) * len(PROMPTS), wrong


def test_levels_of_our_own_prompts() -> None:
    wrong = [(hard, prompt[:50]) for _, hard, prompt in PROMPTS if level(classify(prompt)) != hard]
    assert len(wrong) <= (1 - LEVEL_ACCURACY) * len(PROMPTS), wrong


def test_no_simple_prompt_is_taken_for_complex_nor_the_other_way() -> None:
    levels = {(hard, level(classify(prompt))) for _, hard, prompt in PROMPTS}
    assert ("simple", "complex") not in levels
    assert ("complex", "simple") not in levels


def test_the_score_is_the_published_one() -> None:
    """The example of the model card: a mystery story, overall 0.472."""
    score = complexity_score(
        creativity=0.867,
        reasoning=0.056,
        constraints=0.785,
        domain=0.226,
        contextual=0.048,
        few_shots=0.0,
    )
    assert score == pytest.approx(0.472, abs=1e-3)


def test_the_score_of_a_prompt_is_made_of_its_own_dimensions() -> None:
    signals = classify("Write a poem of exactly 8 lines about a proof, without rhymes.")
    ratios = {one.name: one.ratio for one in signals.dimensions}
    score = ratios.pop("complexity_score")
    assert score == pytest.approx(complexity_score(**ratios))


def test_a_poem_scores_above_a_proof_but_is_not_held_to_be_harder() -> None:
    poem = classify("Write a short poem about spring.")
    proof = classify("Prove the fundamental theorem of algebra and explain each step.")
    assert dimension(poem, "complexity_score") > dimension(proof, "complexity_score")
    assert proof.p_complex > poem.p_complex


def test_the_system_text_may_hold_the_instruction() -> None:
    signals = classify(
        "The screen broke after two days.",
        system="Classify the sentiment of each review as positive or negative.",
    )
    assert signals.task == "classification"


def test_worked_examples_are_counted() -> None:
    shots = "Input: a\nOutput: b\n\nInput: c\nOutput: d\n\nInput: e\nOutput:"
    assert dimension(classify(shots), "few_shots") == pytest.approx(2 / 5)
    assert dimension(classify("What is the output: 4 or 5?"), "few_shots") == 0.0


@pytest.mark.parametrize(
    ("prompt", "low", "high"),
    [
        ("Write an essay of 500 words about rain.", 600, 800),
        ("Answer in one word: what is the capital of Chile?", 1, 8),
        ("Is 91 prime? Answer yes or no.", 1, 8),
        ("Describe a glacier in 3 sentences.", 60, 120),
        ("Classify as spam or ham: win a prize", 1, 20),
    ],
)
def test_the_length_asked_for_is_expected(prompt: str, low: int, high: int) -> None:
    assert low <= classify(prompt).expected_output_tokens <= high


def test_no_more_is_expected_than_the_client_allows() -> None:
    signals = classify("Write a long story.", sampling=Sampling(max_output_tokens=7))
    assert signals.expected_output_tokens == 7


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("What is the name of the river that flows through Rome?", "en"),
        ("Wie viele Einwohner hat die Stadt und was ist ihr Name?", "de"),
        ("Quelle est la plus grande ville de France et pourquoi ?", "fr"),
        ("¿Cuál es el río más largo de la península y por qué?", "es"),
        ("日本の首都はどこですか", "ja"),
        ("法国的首都是哪里", "zh"),
        ("Какая столица Франции?", "ru"),
        ("프랑스의 수도는 어디입니까", "ko"),
        ("xqzt", None),
    ],
)
def test_languages_are_told_apart(prompt: str, language: str | None) -> None:
    assert classify(prompt).language == language


def test_hints_name_what_the_answer_needs() -> None:
    assert "code" in classify("Write a Python function that adds two numbers.").hints
    assert "math" in classify("What is 12 * 7?").hints
    json_only = classify("Name a fish.", response_format=ResponseFormat(kind="json_object"))
    assert "json" in json_only.hints


def test_the_middle_of_a_long_turn_is_not_read() -> None:
    head, tail = "Summarize the text.\n" + "a " * 1100, "b " * 1100
    short = classify(head + tail)
    assert classify(head + "Prove the theorem. " * 500 + tail) == short


def test_a_low_bar_for_naming_a_task_names_more_of_them() -> None:
    strict = RulesClassifier(Options(min_confidence=1.0))
    assert strict.classify(ask("What is the capital of Norway?")).task == "other"
    assert classify("What is the capital of Norway?").task == "open_qa"


def test_a_learned_head_adds_its_probabilities() -> None:
    class LengthHead:
        def predict(self, features: Features) -> tuple[PCorrect, ...]:
            return (PCorrect(deployment="d", p_correct=1 / (1 + features.words), evidence=9),)

    taught = RulesClassifier(Options(), heads=(LengthHead(),))
    assert taught.classify(ask("one two three")).p_correct == (
        PCorrect(deployment="d", p_correct=0.25, evidence=9),
    )


def test_every_process_gives_the_same_signals():
    """Sets are ordered by a hash that differs from process to process; sums must not be."""
    program = (
        "import json, pathlib, msgspec\n"
        "from metabolic.classify.features import extract\n"
        "from metabolic.core.request import Message, Request, Text\n"
        f"for line in pathlib.Path({str(_FILE)!r}).read_text().splitlines():\n"
        "    text = (Text(text=json.loads(line)['prompt']),)\n"
        "    turns = (Message(role='user', content=text),)\n"
        "    request = Request(id='r', dialect='chat', model='auto', messages=turns)\n"
        "    print(extract(request).cues)\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(said) == 1
    assert said != {b""}


def test_it_conforms() -> None:
    check_classifier(CLASSIFIER)


@given(st.text(max_size=600), st.text(max_size=80))
def test_any_text_gives_probabilities_that_sum_to_one(prompt: str, system: str) -> None:
    signals = classify(prompt, system=system)
    total = signals.p_simple + signals.p_medium + signals.p_complex
    assert total == pytest.approx(1.0)
    assert min(signals.p_simple, signals.p_medium, signals.p_complex) >= 0
    assert signals.task in TASKS
    assert signals.lane == signals.task


@given(
    st.lists(
        st.sampled_from(
            [
                "prove",
                "why",
                "must",
                "exactly",
                "12",
                "+",
                "poem",
                "def",
                ":",
                "\n",
                "?",
                "```",
                "quantum",
                '"',
                "-",
                "1.",
                "sql",
            ]
        ),
        max_size=200,
    ).map(" ".join)
)
def test_prompts_made_of_cues_are_handled_as_well(prompt: str) -> None:
    signals = classify(prompt)
    assert signals.p_simple + signals.p_medium + signals.p_complex == pytest.approx(1.0)
    assert signals.expected_output_tokens >= 1


def test_a_prompt_of_512_tokens_takes_half_a_millisecond_at_most() -> None:
    prompt = " ".join(text for _, _, text in PROMPTS)[:2400]
    request = ask(prompt)

    def once_s() -> float:
        began = time.process_time()
        for _ in range(50):
            CLASSIFIER.classify(request)
        return (time.process_time() - began) / 50

    assert statistics.median(once_s() for _ in range(7)) < 1e-3, "twice the promise: CI is slow"
