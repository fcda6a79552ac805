"""What is answered for many texts at once is what is answered for each alone, and for each word by the plain rule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import bundle as bundles
from models.assemble import assemble, assemble_body
from models.backends.torch import TorchBackend
from models.bundle import Bundle
from models.crf import Crf
from models.encoder import Encoder, load_trunk
from models.heads import HeadOptions
from models.heads.topics import THRESHOLD
from models.manifest import Manifest
from models.network import Network, Trunk
from models.passes import run
from models.scoring import Scorer, TextScore
from models.sentences import sentence_ends
from models.shapes import shape_of
from models.spans import Spans, Words, means, relevance, words_in
from models.tagging import runs
from models.windows import covered, cut

TASKS = ("entity_sentiment", "ner", "sentiment", "summary", "topics")
PIECES = (
    "the bank",
    "Acme",
    "U.S.",
    "said.",
    "\n",
    "Oslo!",
    "\u200d",
    "xq",
    "Profit rises. ",
    "\n\n",
    "ACME",
    "ǅa",
    "3rd",
)
texts = st.lists(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join), min_size=1, max_size=5)
quick = settings(max_examples=25)


@quick
@given(texts=texts)
def test_words_have_the_shapes_and_breaks_that_their_letters_say(tiny_encoder: Encoder, texts: list[str]) -> None:
    for text, encoded in zip(texts, tiny_encoder.encode(texts), strict=True):
        bounds = list(zip(encoded.word_starts().tolist(), encoded.word_ends().tolist(), strict=True))
        assert encoded.shapes[encoded.first].tolist() == [shape_of(text[start:end]) for start, end in bounds]
        ends = [0, *(end for _, end in bounds)]
        expected = ["\n" in text[end:start] for end, (start, _) in zip(ends, bounds, strict=False)]
        assert encoded.breaks[1:].tolist() == expected[1:]
        assert encoded.breaks[:1].all()


@quick
@given(letters=st.lists(st.text(max_size=80), max_size=6))
def test_the_shape_of_any_characters_is_that_of_the_word(tiny_encoder: Encoder, letters: list[str]) -> None:
    from models.letters import Letters

    starts = np.cumsum([0, *map(len, letters)])[:-1] if letters else np.zeros(0, dtype=np.int64)
    ends = starts + np.asarray([len(word) for word in letters], dtype=np.int64)
    assert Letters("".join(letters)).shapes(starts, ends).tolist() == [shape_of(word) for word in letters]


@quick
@given(seed=st.integers(0, 999), counts=st.lists(st.integers(0, 9), max_size=8), learnt=st.booleans())
def test_chains_side_by_side_are_decoded_as_each_alone(seed: int, counts: list[int], *, learnt: bool) -> None:
    crf = Crf(("O", "B", "I"))
    if learnt:
        with torch.no_grad():
            crf.steps.normal_(generator=torch.Generator().manual_seed(seed))
            crf.ends.normal_(generator=torch.Generator().manual_seed(seed + 1))
    chain, random = crf.chain(), np.random.default_rng(seed)
    parts = [random.normal(size=(count, 3)) * 3 for count in counts]
    borders = np.cumsum(counts).tolist()
    together = np.concatenate([np.zeros((0, 3)), *parts])
    alone = [chain.viterbi(part).tolist() for part in parts]
    assert chain.viterbi(together, borders).tolist() == [tag for one in alone for tag in one]
    np.testing.assert_allclose(
        chain.marginals(together, borders),
        np.concatenate([np.zeros((0, 3)), *(chain.marginals(part) for part in parts)]),
        atol=1e-12,
    )


@quick
@given(numbers=st.lists(st.integers(0, 2), max_size=20), seed=st.integers(0, 99))
def test_entities_run_on_until_a_beginning_a_gap_or_a_break(numbers: list[int], seed: int) -> None:
    tags = ("O", "B", "I")
    breaks = np.random.default_rng(seed).random(len(numbers)) < 0.2
    expected: list[list[int]] = []
    for word, number in enumerate(numbers):
        if number and (tags[number] == "B" or not expected or expected[-1][1] != word - 1 or breaks[word]):
            expected.append([word, word])
        elif number:
            expected[-1][1] = word
    assert runs(np.asarray(numbers, dtype=np.int64), tags, breaks).tolist() == expected


@quick
@given(texts=texts, seed=st.integers(0, 999), share=st.floats(0, 1))
def test_spans_are_answered_by_the_plain_rules(
    tiny_encoder: Encoder, texts: list[str], seed: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    tokens, each = tiny_encoder.tokens(texts), tiny_encoder.encode(texts)
    read = [int(len(one.first) * share) for one in each]
    words = Words(tokens=tokens, bounds=np.cumsum([0, *read]))
    rows = random.normal(size=(sum(read), 2))
    places = [
        (number, *sorted(random.integers(0, len(text) + 1, 2).tolist()))
        for number, text in enumerate(texts)
        for _ in range(4)
    ]
    order = random.permutation(len(places))
    number, start, end = np.asarray(places)[order].T
    spans = Spans(texts=number, starts=start, ends=end)
    found, owner = words_in(tokens, spans)
    mean, shares = means(words, rows, spans), relevance(words, spans)
    for place, (text, begin, stop) in enumerate(places[number] for number in order):
        one, mine = each[text], rows[words.bounds[text] : words.bounds[text + 1]]
        bounds = list(zip(one.word_starts().tolist(), one.word_ends().tolist(), strict=True))
        shared = [min(b, stop) - max(a, begin) for a, b in bounds]
        touched = [word for word, (a, b) in enumerate(bounds) if b > begin and a < stop]
        most = [word for word in touched if 2 * shared[word] >= bounds[word][1] - bounds[word][0]]
        expected = most or touched
        assert (found[owner == place] - tokens.word_bounds[text]).tolist() == expected
        held = [word for word in expected if word < read[text]] or list(range(read[text]))
        np.testing.assert_allclose(mean[place], mine[held].mean(axis=0) if held else [0, 0], atol=1e-12)
        same = [
            (a, b)
            for other, a, b in places
            if other == text and _name(texts[text][a:b]) == _name(texts[text][begin:stop])
        ]
        assert shares[place] == pytest.approx(_relevance(texts[text], same, bounds[: read[text]]))


def _name(said: str) -> str:
    return " ".join(said.split()).casefold()


def _relevance(text: str, same: Sequence[tuple[int, int]], read: Sequence[tuple[int, int]]) -> float:
    """The weight of the sentences read that hold one of the spans over that of all sentences read."""
    if not read:
        return 0.0
    ends = sentence_ends(text)
    last = sum(end <= read[-1][0] for end in ends)
    held = {number for start, _ in same if (number := sum(end <= start for end in ends)) <= last}
    return sum(1 / (1 + number) for number in held) / sum(1 / (1 + number) for number in range(last + 1))


def _bundle(trunk: Path, folder: Path, options: HeadOptions, *, reading: str) -> Bundle:
    """Heads of every kind that have learnt nothing, and say different things all the same."""
    encoder = Encoder.from_directory(trunk)
    torch.manual_seed(5)
    network = Network(Trunk(load_trunk(trunk), word_shapes=True), TASKS, options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("heads") or "shapes" in name:
                parameter.normal_(std=0.5)
    manifest = Manifest(
        trunk="tiny",
        labels={task: network.head(task).labels for task in TASKS},
        temperatures={task: 1.0 + number / 4 for number, task in enumerate(TASKS)},
        max_length=14,
        overlap=5,
        reading=reading,  # type: ignore[arg-type]
        pooling=options.pooling,
        word_shapes=True,
        crf=options.crf,
        label_features=options.label_features,
        vocabulary=encoder.tokenizer.get_vocab_size(),
        examples={},
        metrics={},
        recipe={},
        packages={},
    )
    return bundles.save(folder / "b", network=network, encoder=encoder, manifest=manifest, training_texts={})


@pytest.fixture(
    scope="module",
    params=[
        ("sentences", True, ()),
        ("sentences", False, ("shape",)),
        ("whole", True, ("affix",)),
        ("whole", False, ()),
    ],
    ids=lambda given: f"{given[0]}-{'crf' if given[1] else 'linear'}",
)
def scorer(request: pytest.FixtureRequest, tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    reading, crf, features = request.param
    options = HeadOptions(crf=crf, label_features=features, labels={"topics": ("a", "b", "c")}, dropout=0.0)
    return Scorer(_bundle(tiny_trunk, tmp_path_factory.mktemp("heads"), options, reading=reading), token_budget=64)


@settings(max_examples=8)
@given(texts=texts, most=st.none() | st.integers(1, 5))
def test_a_chunk_is_scored_as_each_of_its_texts_window_by_window(
    scorer: Scorer, texts: list[str], most: int | None
) -> None:
    many = Scorer(scorer.bundle, token_budget=64, max_windows=most, backend=scorer.backend)
    for text, found in zip(texts, many.score(texts), strict=True):
        _compare(scorer, text, found, most)


def _compare(scorer: Scorer, text: str, found: TextScore, most: int | None) -> None:
    manifest, encoder = scorer.bundle.manifest, scorer.reader.encoder
    assert isinstance(scorer.backend, TorchBackend)
    (encoded,) = encoder.encode([text])
    lengths = {"max_length": manifest.max_length, "overlap": manifest.overlap}
    windows = cut(encoded, encoder, **lengths, reading=manifest.reading, max_windows=most)
    if not windows:
        assert found.error == "no text to score: title and body hold no token"
        return
    said = run(scorer.backend, windows, pad_id=encoder.pad_id, token_budget=64)
    logits = {task: [one[task] for one in said if not isinstance(one, Exception)] for task in TASKS}
    rows = {task: assemble(scorer.heads[task], encoded, windows, logits[task]) for task in TASKS if task != "summary"}
    assert (found.tokens_total, found.tokens_scored, found.windows) == (
        encoded.tokens,
        covered(windows),
        len(windows),
    )
    for task in ("sentiment", "topics"):
        expected = scorer.heads[task].probabilities(rows[task], manifest.temperatures[task])[0]
        np.testing.assert_allclose(found.probabilities[task], expected, atol=1e-5)
    chances = found.probabilities["topics"]
    assert found.topics == tuple(label for label, chance in zip("abc", chances, strict=True) if chance >= THRESHOLD)
    ner, opinions, summary = (scorer.heads[task] for task in ("ner", "entity_sentiment", "summary"))
    named = ner.mentions(encoded, rows["ner"], manifest.temperatures["ner"])
    assert [(one.start, one.end, one.type) for one in found.mentions] == [(n.start, n.end, n.type) for n in named]
    assert [one.score for one in found.mentions] == pytest.approx([one.score for one in named], abs=1e-5)
    assert found.opine is not None
    for spans in (None, [(one.start, one.end) for one in named]):
        asked = opinions.opinions(
            encoded, rows["entity_sentiment"], manifest.temperatures["entity_sentiment"], spans=spans
        )
        for one, other in zip(found.opine(spans), asked, strict=True):
            assert (one.start, one.end, one.sentiment) == (other.start, other.end, other.sentiment)
            assert [one.p_negative, one.relevance, one.score] == pytest.approx(
                [other.p_negative, other.relevance, other.score], abs=1e-5
            )
    title = text.find("\n") + 1
    body = assemble_body(summary, encoded, windows, logits["summary"], after=title)
    extract = summary.extract(encoded, body, manifest.temperatures["summary"], after=title)
    assert found.extract is not None
    assert [(one.start, one.end) for one in found.extract] == [(one.start, one.end) for one in extract]
    assert [one.score for one in found.extract] == pytest.approx([one.score for one in extract], abs=1e-5)
