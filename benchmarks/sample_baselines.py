"""What a model trained on the shipped labelled sample has to beat: a majority vote and a word-list, measured on the sample's dev part.

Sentiment: the majority vote answers with train's most frequent label; the word-list counts words that are good or bad news in finance and
answers with the sign of the difference. Entities: the majority vote answers O; the gazetteer knows the names in train and takes any other run
of capitalised words for a name, its type told by the words around it. Nothing here learns from dev.

Run `python -m benchmarks.sample_baselines --json`. Does not cover: the fine-tuned model itself; flows/sample/labelled/README.md has its figures.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.labelled import NerExample, SentimentExample
from data_contracts.labels import SENTIMENT
from models.metrics import tag_scores, text_scores

SAMPLE = Path(__file__).parents[1] / "flows" / "sample" / "labelled"

_GOOD = """
    accelerate achieve acquit advance approval approve award beat benefit best better boom boost breakthrough bullish
    buyback cheer clear climb comeback confident deliver double ease efficient excellent exceed expand extend favourable
    gain good great grow growth healthy high higher hike improve improvement increase jump lead leap lift milestone
    momentum optimistic outpace outperform outstanding overtake popular profit profitable progress promising raise rally
    rebound record recover recovery relief resilient restore reward rise robust rocket rose grew soar solid stabilise
    strength strengthen strong stronger success succeed surge surpass thrive top triple turnaround upbeat upgrade up win won
"""
_BAD = """
    abandon accuse arrest attack bad ban bankrupt bankruptcy bearish breach bribery cancel closure collapse concern
    crash crisis cut damage debt decline default deficit delay deny deteriorate dip disappoint dispute doubt down
    downgrade drag drop dry fail failure fall fell fear fine fire fraud glut halt hack hit hurt impairment insolvency
    investigation lawsuit layoff lay-off liquidation lose loss lost low lower miss misconduct outage outflow penalty plunge
    plummet poor pressure probe problem raid recall recession reject resign risk scandal shortage shrink shut sink
    slash slide slip slow slowdown slump squeeze strike struggle sue suspend tank threat tumble warn warning weak weaken
    weaker widen worry worse worst write-down
"""
POSITIVE = frozenset(_GOOD.split())
NEGATIVE = frozenset(_BAD.split())
_ENDINGS = ("", "s", "es", "d", "ed", "ing", "er", "ly")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")

_BEFORE_PEOPLE = "Mr Mr. Mrs Mrs. Ms Ms. Dr Dr. Professor President Minister Judge Governor Chancellor Sir Senator"
_TITLES = frozenset(_BEFORE_PEOPLE.split())
_IN_COMPANIES = """
    plc PLC Inc Inc. Corp Corp. Ltd Ltd. Limited LLC LLP AG SE SA S.A. NV AB AS ASA A/S Oy Oyj GmbH SpA S.p.A. Co Co. Group Holdings
    Bank Capital Partners Industries Company Bancorp Fund Insurance Energy Pharma Motors Airlines Foods Mining Gold
    Commission Ministry Department Court Exchange Authority Union University Institute Services Technologies Labs
"""
_COMPANY_WORDS = frozenset(_IN_COMPANIES.split())
_BEFORE_PLACES = frozenset(("in", "near", "across", "outside", "throughout"))


def stems(word: str) -> set[str]:
    """A word and what is left of it without a common ending; a doubled last consonant or a dropped e is put right."""
    found = set()
    for ending in _ENDINGS:
        stem = word.removesuffix(ending) if ending else word
        found |= {stem, stem + "e", stem[:-1] if stem[-2:-1] == stem[-1:] else stem}
        if ending in ("es", "ed"):
            found.add(stem.removesuffix("i") + "y")
    return found


def word_list_sentiment(text: str) -> str:
    """The sign of good minus bad words; neutral when they balance or there are none."""
    words = [stems(word) for word in _WORD.findall(text.lower())]
    balance = sum(bool(word & POSITIVE) - bool(word & NEGATIVE) for word in words)
    return "positive" if balance > 0 else "negative" if balance < 0 else "neutral"


def gazetteer(train: Sequence[NerExample]) -> dict[tuple[str, ...], str]:
    """Each name in train -> the type it has most often there."""
    seen: dict[tuple[str, ...], Counter[str]] = {}
    for example in train:
        begin = 0
        while begin < len(example.tokens):
            end = begin + 1
            if example.tags[begin] != "O":
                while end < len(example.tokens) and example.tags[end].startswith("I-"):
                    end += 1
                seen.setdefault(example.tokens[begin:end], Counter())[example.tags[begin][2:]] += 1
            begin = end
    return {name: types.most_common(1)[0][0] for name, types in seen.items()}


def gazetteer_tags(tokens: Sequence[str], names: Mapping[tuple[str, ...], str]) -> list[str]:
    """IOB2 tags: the longest known name at each place, else a run of capitalised words with a guessed type."""
    tags = ["O"] * len(tokens)
    longest = max(map(len, names), default=0)
    begin = 0
    while begin < len(tokens):
        ends = range(min(len(tokens), begin + longest), begin, -1)
        end = next((end for end in ends if tuple(tokens[begin:end]) in names), 0)
        kind = names[tuple(tokens[begin:end])] if end else ""
        if not end:
            end, kind = _capitalised(tokens, begin)
        if kind:
            tags[begin:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - begin - 1)
        begin = max(end, begin + 1)
    return tags


def _capitalised(tokens: Sequence[str], begin: int) -> tuple[int, str]:
    end = begin
    while end < len(tokens) and tokens[end][0].isupper() and tokens[end] not in _TITLES:
        end += 1
    run = tokens[begin:end]
    if not run or (begin == 0 and len(run) == 1) or all(token.istitle() or token.isupper() for token in tokens):
        return end, ""
    before = tokens[begin - 1] if begin else ""
    if before in _TITLES:
        return end, "PER"
    if _COMPANY_WORDS & set(run):
        return end, "ORG"
    if before.lower() in _BEFORE_PLACES:
        return end, "LOC"
    return end, "PER" if len(run) == 2 and tokens[end : end + 1] in ([","], ["said"]) else "ORG"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One baseline's figures on dev, in [0, 1]: F1 is macro over labels for sentiment, micro over entities for ner."""

    task: str
    baseline: str
    n: int
    accuracy: float
    f1: float


def measure(folder: Path = SAMPLE) -> list[Figures]:
    """The figures of each baseline of each task on the dev part in `folder`."""
    texts_train, texts = (_sentiments(folder / f"sentiment.{part}.jsonl") for part in ("train", "dev"))
    gold = [text.label for text in texts]
    majority = Counter(text.label for text in texts_train).most_common(1)[0][0]
    answers = {"majority": [majority] * len(gold), "word_list": [word_list_sentiment(text.text) for text in texts]}
    figures = []
    for name, labels in answers.items():
        scores = text_scores(gold, labels, SENTIMENT)
        figures.append(Figures(task="sentiment", baseline=name, n=len(gold), accuracy=scores.accuracy, f1=scores.f1))
    train, dev = (_entities(folder / f"ner.{part}.jsonl") for part in ("train", "dev"))
    names = gazetteer(train)
    tags = {
        "majority": [["O"] * len(one.tokens) for one in dev],
        "gazetteer": [gazetteer_tags(one.tokens, names) for one in dev],
    }
    for name, predicted in tags.items():
        scores = tag_scores([one.tags for one in dev], predicted)
        figures.append(Figures(task="ner", baseline=name, n=len(dev), accuracy=scores.accuracy, f1=scores.f1))
    return figures


def _sentiments(path: Path) -> list[SentimentExample]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [SentimentExample(text=row["text"], label=row["label"], agreement=row["agreement"]) for row in rows]


def _entities(path: Path) -> list[NerExample]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [NerExample(tokens=tuple(row["tokens"]), tags=tuple(row["tags"])) for row in rows]


def main() -> None:
    """Print the figures, as a table or as JSON."""
    parser = argparse.ArgumentParser(description="baselines on the shipped labelled sample's dev part")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    rows = measure()
    if parser.parse_args().json:
        sys.stdout.write(json.dumps([vars(row) for row in rows], indent=2) + "\n")
        return
    sys.stdout.write(f"{'task':10} {'baseline':10} {'n':>4} {'accuracy':>8} {'F1':>6}\n")
    for row in rows:
        sys.stdout.write(f"{row.task:10} {row.baseline:10} {row.n:4} {row.accuracy:8.3f} {row.f1:6.3f}\n")


if __name__ == "__main__":
    main()
