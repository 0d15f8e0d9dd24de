"""The words that tell task types, reasoning, constraints, domains and languages apart.

Everything the rules know stands here as plain lists, so that a reader can see why a prompt was
placed where it was. The task types are those of NVIDIA's prompt-task-and-complexity-classifier;
the words are our own.
"""

__all__ = [
    "CODE",
    "COMMON_WORDS",
    "CONSTRAINTS",
    "CREATIVE",
    "CUES",
    "DOMAINS",
    "KIND_WORDS",
    "PHRASES",
    "QUESTION_WORDS",
    "REASONING",
    "STOPWORDS",
    "words_of",
]

import re
from collections.abc import Mapping


def words_of(text: str) -> frozenset[str]:
    """Return the set of the words in a text."""
    return frozenset(text.split())


_CUE_WORDS: Mapping[str, tuple[tuple[float, str], ...]] = {
    "summarization": (
        (
            3.0,
            "summarize summarise summary summaries tldr condense recap digest dr zusammenfassung",
        ),
        (3.0, "resumen resumir résume résumer resuma riassumi zusammenfassen"),
        (3.0, "fasse résumez gist takeaways"),
        (1.6, "overview abstract headline minutes shorter"),
        (1.0, "outline brief"),
    ),
    "rewrite": (
        (3.0, "rewrite rephrase paraphrase reword proofread polish translate translation"),
        (3.0, "übersetze traduis traduire traduce traducir traduci traduza shorten simplify"),
        (1.8, "grammar typos spelling reformat reword tense wording polite aggressive"),
        (1.4, "correct improve formal informal convert edit tone replace voice change turn"),
        (1.2, "fix expand remove rhyme jargon"),
    ),
    "code_generation": (
        (2.2, "implement refactor debug"),
        (1.6, "function script program code class method regex sql query endpoint algorithm"),
        (1.4, "python javascript typescript java rust golang kotlin swift php bash html css"),
        (1.6, "css makefile dockerfile parser hook react flask django kubernetes bash palindrome"),
        (0.8, "code bug compile error exception library module package server"),
        (0.8, "database docker git linux"),
        (0.8, "api unittest recursion loop array dataframe json yaml terminal deadlock tests"),
    ),
    "classification": (
        (3.0, "classify categorize categorise sentiment spam klassifiziere clasifica"),
        (1.8, "category categories label labels toxicity toxic intent fallacy triage genre"),
        (1.6, "topic positive negative neutral ham assign entail urgency opinion ordne kategorie"),
        (1.2, "decide rate route sort group true false express premise severe"),
    ),
    "extraction": (
        (3.0, "extract extrahiere extrae estrai extrais"),
        (1.8, "mentioned named entities quote bibliographic keywords transcript nenne"),
        (1.2, "identify parse names dates emails fields locate pull find copy return addresses"),
    ),
    "brainstorming": (
        (3.0, "brainstorm"),
        (3.0, "ideas ideen idées idee idee"),
        (2.0, "suggestions slogans taglines suggest propose alternatives"),
        (1.4, "recommend tips ways possible creative options think theme names nickname titles"),
    ),
    "text_generation": (
        (2.2, "poem haiku essay story limerick sonnet lyrics speech blog tweet novel tagline"),
        (2.2, "scene fanfic fanfiction rap parody"),
        (2.2, "wish toast villanelle diary invitation horoscope reply speech"),
        (1.6, "write compose draft verfasse schreibe escribe écris scrivi"),
        (1.4, "email letter article paragraph caption advertisement script song dialogue review"),
        (0.6, "generate create describe description"),
    ),
    "chatbot": (
        (2.4, "hi hello hey thanks thank bye goodbye hola bonjour hallo ciao roleplay"),
        (2.0, "yay lol chat bored sorry haha congratulations goodnight"),
        (1.0, "feeling okay ok please friend pretend happy tomorrow evening cat"),
    ),
    "open_qa": (
        (1.5, "what who whom whose when where why how which define explain"),
        (1.2, "was wer wann wo warum wie welche qué quién cuándo dónde cuál cómo qui quand où"),
        (1.2, "pourquoi comment quel quelle quale perché quando dove chi"),
        (0.7, "is are does do did can could will would should has have tell calculate compute"),
        (1.3, "prove derive compare estimate name analyse analyze solve difference meaning"),
    ),
    "closed_qa": (
        (1.6, "passage excerpt paragraph text"),
        (0.8, "context document article above following"),
    ),
}


def _cues() -> Mapping[str, tuple[tuple[str, float], ...]]:
    """Turn the lists round: word → the tasks it speaks for, with weights."""
    found: dict[str, tuple[tuple[str, float], ...]] = {}
    for task, groups in _CUE_WORDS.items():
        for weight, words in groups:
            for word in words.split():
                found[word] = (*found.get(word, ()), (task, weight))
    return found


CUES = _cues()
"""Word → ((task, weight), …); words count near the beginning and the end of a prompt."""

_PHRASES: tuple[tuple[str, str, float], ...] = (
    ("come up with", "brainstorming", 2.5),
    ("ways to", "brainstorming", 1.5),
    ("give me some", "brainstorming", 1.5),
    ("ideas for", "brainstorming", 1.5),
    ("as many", "brainstorming", 1.5),
    ("think of", "brainstorming", 1.5),
    ("my options", "brainstorming", 2.5),
    ("might go wrong", "brainstorming", 2.5),
    ("key points", "summarization", 5.0),
    ("main idea", "summarization", 2.0),
    ("sum up", "summarization", 5.0),
    ("boil this", "summarization", 4.0),
    ("what does this letter", "summarization", 3.0),
    ("in one sentence what", "summarization", 1.0),
    ("according to", "closed_qa", 2.0),
    ("based on the", "closed_qa", 2.0),
    ("from the text", "closed_qa", 2.0),
    ("given that", "closed_qa", 2.0),
    ("given the", "closed_qa", 1.5),
    ("in the passage", "closed_qa", 2.0),
    ("text:", "closed_qa", 2.0),
    ("passage:", "closed_qa", 2.5),
    ("context:", "closed_qa", 2.5),
    ("list all", "extraction", 2.0),
    ("find all", "extraction", 2.5),
    ("pull out", "extraction", 2.5),
    ("list every", "extraction", 2.5),
    ("return the name", "extraction", 2.0),
    ("are mentioned", "extraction", 1.5),
    ("are named", "extraction", 2.5),
    ("positive or negative", "classification", 2.5),
    ("or not spam", "classification", 2.5),
    ("true or false", "classification", 1.0),
    ("which category", "classification", 2.0),
    ("mean the same", "classification", 2.5),
    ("one of the following", "classification", 1.5),
    ("is this ", "classification", 0.8),
    ("how are you", "chatbot", 3.0),
    ("good morning", "chatbot", 2.5),
    ("good night", "chatbot", 2.5),
    ("good evening", "chatbot", 2.5),
    ("see you", "chatbot", 2.5),
    ("i feel", "chatbot", 2.0),
    ("i had a", "chatbot", 1.5),
    ("chat with", "chatbot", 2.0),
    ("tell me a joke", "chatbot", 1.5),
    ("your name", "chatbot", 1.0),
    ("nice to meet", "chatbot", 2.5),
    ("you are a", "chatbot", 1.0),
    ("act as", "chatbot", 1.5),
    ("let's talk", "chatbot", 2.0),
    ("make this", "rewrite", 2.0),
    ("fix the grammar", "rewrite", 2.0),
    ("fix the spelling", "rewrite", 3.0),
    ("more formal", "rewrite", 2.0),
    ("other words", "rewrite", 2.5),
    ("passive voice", "rewrite", 2.5),
    ("full sentences", "rewrite", 2.0),
    ("plain language", "rewrite", 2.5),
    ("write a function", "code_generation", 2.5),
    ("write a python", "code_generation", 2.0),
    ("write code", "code_generation", 2.5),
    ("c++", "code_generation", 1.6),
    ("c#", "code_generation", 1.6),
    ("unit test", "code_generation", 2.0),
)


def _phrases() -> Mapping[str, tuple[tuple[str, str, float], ...]]:
    """File each phrase under its longest word, by which it is found."""
    found: dict[str, tuple[tuple[str, str, float], ...]] = {}
    for phrase, task, weight in _PHRASES:
        key = max(re.findall(r"[a-z]+", phrase), key=len)
        found[key] = (*found.get(key, ()), (phrase, task, weight))
    return found


PHRASES = _phrases()
"""Word → ((phrase, task, weight), …); a phrase counts near the beginning and the end."""

QUESTION_WORDS = words_of(
    "what who whom whose when where why how which is are was were does do did can could"
    " will would should has have"
)

REASONING = words_of(
    "why prove proof derive deduce infer analyse analyze evaluate compare contrast explain"
    " justify optimise optimize calculate compute solve determine estimate step steps logic"
    " logical reasoning because therefore implication implications tradeoff tradeoffs trade"
    " strategy plan design debug complexity hypothesis critique argue puzzle probability"
    " total remaining left average percent percentage twice half ratio rate minimum maximum"
    " many much recursive theorem equation integral derivative warum beweise berechne"
    " pourquoi calcule"
)

CONSTRAINTS = words_of(
    "must should only exactly least most without avoid include including limit within words"
    " word sentences sentence paragraphs bullet bullets json format formatted table csv xml"
    " markdown style tone never always maximum minimum max min no between under ending rhyme"
    " first-person lines syllables"
)

DOMAINS = words_of(
    "quantum relativity thermodynamics enzyme protein genome diagnosis patient clinical"
    " dosage pharmacology contract liability statute plaintiff tort constitutional"
    " derivative equity portfolio amortization macroeconomic regression bayesian gradient"
    " transformer kernel compiler concurrency mutex kubernetes distributed cryptography"
    " encryption topology eigenvalue integral theorem polynomial molecule reaction oxidation"
    " neuron cortex tumor tax audit accounting jurisdiction patent antibody voltage circuit"
    " torque turbine"
)

CREATIVE = words_of(
    "story poem haiku song lyrics novel imagine creative fictional character plot slogan"
    " invent brainstorm ideas joke limerick sonnet metaphor fairy tale essay speech write"
    " compose name names roleplay"
)

CODE = words_of(
    "python javascript typescript java rust golang kotlin swift php bash sql html css regex"
    " function class method code script compile algorithm api git linux docker json array"
    " recursion refactor debug exception dataframe pandas numpy query css makefile dockerfile"
    " parser hook loop flask react deadlock"
)

KIND_WORDS = REASONING | CONSTRAINTS | DOMAINS | CREATIVE | CODE
"""The words of the five lists above: one look tells the few words that need five."""

STOPWORDS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (language, words_of(words))
    for language, words in (
        ("en", "the is are of and to in what how a for with that this write it you my please who"),
        (
            "de",
            "der die das und ist nicht ein eine wie was ich sie mit auf für von zu den schreibe",
        ),
        ("fr", "le la les des est une et que qui dans pour avec je vous quel quelle sur ce il du"),
        ("es", "el la los las es una y que en por para con qué cuál cómo se del un al su lo"),
        ("it", "il lo gli è una e che di per con non sono quale come della un nel mi si qual"),
        ("pt", "o os as é uma e que em para com não qual como do da um no na eu você são"),
        ("nl", "de het een en is van niet dat wat hoe ik je met voor op zijn te aan welke er"),
    )
)
"""Language (ISO 639-1) → its commonest words."""

COMMON_WORDS = frozenset[str]().union(*(words for _, words in STOPWORDS))
"""The words of ``STOPWORDS``."""
