"""Make the shipped labelled sample: the hand-written lines beside this file -> the JSON lines in flows/sample/labelled.

`sentiment.txt` holds `label<TAB>agreement<TAB>sentence`, `topics.txt` `topic,topic<TAB>sentence` (`-` for none), `summary.txt`
`summary<TAB>article`, `ner.txt` sentences with their entities in brackets (`[ORG Kestrova Bank] to shut 40 branches in [LOC Poland]`),
`entity_sentiment.txt` the same with what is said of each (`[+ Budgens] buys from [- Kettering]`, `=` for neutral), since people can check
those at a glance; models read JSON lines, IOB2 and offsets. `== train` and `== dev` open the parts.
The same lines always give the same bytes: `python deployments/sample/make_labelled.py` changes nothing unless a line was changed.

Words are cut by one expression: abbreviations keep their dots, hyphenated words stay whole, possessive 's and all other marks stand alone.
Does not cover: entities within entities, text with square brackets of its own.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "flows" / "sample" / "labelled"
PARTS = ("train", "dev")
LABELS = ("negative", "neutral", "positive")
AGREEMENTS = ("75", "100")
TYPES = ("PER", "LOC", "ORG")
SIGNS = {"+": "positive", "-": "negative", "=": "neutral"}

_ENTITY = re.compile(r"\[([A-Z]+) ([^\[\]]+)\]")
_OPINION = re.compile(r"\[([^\[\] ]+) ([^\[\]]+)\]")
_TOPIC = re.compile(r"[a-z]+(_[a-z]+)*")
_WORD = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # U.S., S.A.
    r"|(?:Mr|Mrs|Ms|Dr|Inc|Ltd|Corp|Co|Jr)\.(?!\w)"
    r"|[A-Z]\.(?=\s)"  # an initial
    r"|['’]s\b"
    r"|\d+(?:[.,]\d+)*\w*"
    r"|\w+(?:(?!['’]s\b)[.&/'’-]\w+)*"
    r"|\S"
)


class LineError(ValueError):
    """A source line does not follow the notation."""


def parts(lines: list[str], *, name: str) -> Iterator[tuple[str, str, str]]:
    """(part, line, where it stands) of every sentence of a source file."""
    part = ""
    for number, line in enumerate(lines, start=1):
        where = f"{name}:{number}"
        if line.startswith("== "):
            part = line.removeprefix("== ")
            if part not in PARTS:
                raise LineError(f"{where}: part {part!r}; allowed are {', '.join(PARTS)}")
        elif not part:
            raise LineError(f"{where}: a sentence before the first part; allowed is '== train' or '== dev' on top")
        else:
            yield part, line, where


def sentiment(line: str, *, where: str) -> str:
    """The JSON line of `label<TAB>agreement<TAB>sentence`."""
    fields = line.split("\t")
    if len(fields) != 3 or fields[0] not in LABELS or fields[1] not in AGREEMENTS or fields[2].strip() != fields[2]:
        raise LineError(
            f"{where}: {line!r}; allowed is LABEL<TAB>AGREEMENT<TAB>sentence with a label of {', '.join(LABELS)} "
            f"and an agreement of {', '.join(AGREEMENTS)}"
        )
    label, agreement, text = fields
    return json.dumps({"text": text, "label": label, "agreement": int(agreement)}, ensure_ascii=False)


def words(text: str) -> list[str]:
    """The words and marks of a text, in order."""
    return _WORD.findall(text)


def ner(line: str, *, where: str) -> str:
    """The JSON line of a sentence in bracket notation: its words, and an IOB2 tag for each."""
    tokens: list[str] = []
    tags: list[str] = []
    begin = 0
    for entity in _ENTITY.finditer(line):
        outside, (kind, name) = words(line[begin : entity.start()]), entity.groups()
        inside = words(name)
        if kind not in TYPES:
            raise LineError(f"{where}: entity type {kind!r}; allowed are {', '.join(TYPES)}")
        tokens += [*outside, *inside]
        tags += ["O"] * len(outside) + [f"B-{kind}"] + [f"I-{kind}"] * (len(inside) - 1)
        begin = entity.end()
    rest = words(line[begin:])
    tokens, tags = [*tokens, *rest], tags + ["O"] * len(rest)
    if not tokens or {"[", "]"} & set(tokens):
        raise LineError(f"{where}: {line!r}; allowed is text with [TYPE name] around each entity")
    return json.dumps({"tokens": tokens, "tags": tags}, ensure_ascii=False)


def topics(line: str, *, where: str) -> str:
    """The JSON line of `topic,topic<TAB>sentence`."""
    names, _, text = line.partition("\t")
    given = [] if names == "-" else names.split(",")
    if not text.strip() or "\t" in text or len(set(given)) < len(given) or not all(map(_TOPIC.fullmatch, given)):
        raise LineError(
            f"{where}: {line!r}; allowed is TOPIC,TOPIC<TAB>sentence, or - for no topic, each once, in a-z and _"
        )
    return json.dumps({"text": text, "topics": sorted(given)}, ensure_ascii=False)


def entity_sentiment(line: str, *, where: str) -> str:
    """The JSON line of a sentence in bracket notation: its text without brackets, and where each entity stands in it."""
    text, entities, begin = "", [], 0
    for entity in _OPINION.finditer(line):
        sign, name = entity.groups()
        if sign not in SIGNS:
            raise LineError(f"{where}: sign {sign!r}; allowed are {', '.join(SIGNS)}")
        text += line[begin : entity.start()]
        entities.append({"start": len(text), "end": len(text) + len(name), "label": SIGNS[sign]})
        text, begin = text + name, entity.end()
    text += line[begin:]
    if not text.strip() or {"[", "]"} & set(text):
        raise LineError(f"{where}: {line!r}; allowed is text with [SIGN name] around each entity")
    return json.dumps({"text": text, "entities": entities}, ensure_ascii=False)


def summary(line: str, *, where: str) -> str:
    """The JSON line of `summary<TAB>article`."""
    told, _, text = line.partition("\t")
    if not told.strip() or not text.strip() or "\t" in text:
        raise LineError(f"{where}: {line!r}; allowed is SUMMARY<TAB>article")
    return json.dumps({"text": text, "summary": told}, ensure_ascii=False)


CONVERTERS = {
    "sentiment": sentiment,
    "topics": topics,
    "ner": ner,
    "entity_sentiment": entity_sentiment,
    "summary": summary,
}


def make(source: Path, target: Path) -> list[Path]:
    """Write a train and a dev file a task into `target`; return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for task, convert in CONVERTERS.items():
        lines = (source / f"{task}.txt").read_text(encoding="utf-8").splitlines()
        made: dict[str, list[str]] = {part: [] for part in PARTS}
        for part, line, where in parts(lines, name=f"{task}.txt"):
            made[part].append(convert(line, where=where))
        for part, rows in made.items():
            path = target / f"{task}.{part}.jsonl"
            path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
            written.append(path)
    return written


def main() -> None:
    """Write the sample, by default where it is shipped."""
    parser = argparse.ArgumentParser(description="make the shipped labelled sample from its hand-written lines")
    parser.add_argument("--to", type=Path, default=TARGET, help="folder to write to (default: flows/sample/labelled)")
    make(HERE, parser.parse_args().to)


if __name__ == "__main__":
    main()
