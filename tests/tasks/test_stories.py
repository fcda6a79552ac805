"""Near-duplicates: what counts as one story, what must never, and that the past alone decides."""

import random
import re
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from data_contracts.article import CONTRACT, Article
from tasks.stories import annotate

NIGHT = date(2026, 3, 4)
SEEN = datetime(2026, 3, 4, 22, tzinfo=UTC)

SUBJECTS = [
    "The board",
    "A spokeswoman",
    "The regulator",
    "One large shareholder",
    "The finance chief",
    "A rival bidder",
]
VERBS = ["confirmed", "denied", "questioned", "welcomed", "postponed", "described", "rejected", "examined"]
THINGS = [
    "the plan to close two mills near the river",
    "a review of how freight contracts were signed",
    "the sale of the unit that makes marine engines",
    "new limits on credit for small suppliers",
    "an offer to buy back notes before they fall due",
    "the delay of the second furnace until autumn",
    "a settlement over water rights in the valley",
    "the appointment of a new head of research",
]
ENDS = [
    "after a long meeting that ended without a vote",
    "while trading volumes stayed thin all morning",
    "because costs for energy rose faster than planned",
    "although lenders had asked for more time",
    "and promised further details before the summer",
    "as investors weighed the outlook for orders",
]
COMPANIES = ["Norvane", "Talbrook", "Quillmere", "Ostrander", "Belhaven", "Castellin"]


def story(seed: int, sentences: int = 14) -> str:
    rng = random.Random(seed)
    company = rng.choice(COMPANIES)
    lines = [
        f"{rng.choice(SUBJECTS)} of {company} {rng.choice(VERBS)} {rng.choice(THINGS)} {rng.choice(ENDS)}, "
        f"{rng.choice(SUBJECTS).lower()} {rng.choice(VERBS)} {rng.choice(THINGS)} and shares moved {rng.randint(2, 99)} cents."
        for _ in range(sentences)
    ]
    return " ".join(lines)


def article(name: str, body: str | None, title: str | None = None, *, minutes: int = 0, **other: object) -> Article:
    fields: dict[str, object] = {
        "article_id": name,
        "version": 1,
        "content_hash": f"hash-{name}",
        "run_date": NIGHT,
        "source": "wire",
        "title": title or f"Evening report {name}",
        "body": body,
        "published_at": SEEN + timedelta(minutes=minutes - 300),
        "first_seen_at": SEEN,
        "available_at": SEEN,
        "repeats": 0,
        "row_id": f"row-{name}",
    }
    return Article(**(fields | other))  # type: ignore[arg-type]


def annotated(*rows: Article, earlier: pa.Table | None = None) -> dict[str, tuple[str, int, bool]]:
    table = annotate(CONTRACT.table(rows), CONTRACT.empty() if earlier is None else earlier)
    return {
        row["article_id"]: (row["story_id"], row["novelty_rank"], row["is_canonical"])
        for row in table.select(["article_id", "story_id", "novelty_rank", "is_canonical"]).to_pylist()
    }


def padded(text: str) -> str:
    return f"Sign up for our evening letter. Advertisement. {text} Reporting by the commodities desk. All rights kept. Photo: archive."


def halved(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def opening(text: str) -> str:
    return " ".join(text.split()[:60])


def thinned(text: str) -> str:
    return " ".join(line for number, line in enumerate(re.split(r"(?<=\.) ", text)) if number % 5 != 3)


def plain(text: str) -> str:
    return re.sub(r"[,.]", "", text).lower()


@pytest.mark.parametrize(
    ("changed", "least_recall"),
    [(padded, 0.98), (halved, 0.98), (opening, 0.95), (str.upper, 0.98), (plain, 0.95), (thinned, 0.9)],
    ids=[
        "boilerplate added",
        "cut to half",
        "opening only",
        "upper case",
        "lower case without punctuation",
        "sentences dropped",
    ],
)
def test_a_perturbed_copy_joins_the_story_of_the_original(changed, least_recall):
    rows = [article(f"a{seed}", story(seed), "Evening report") for seed in range(60)]
    copies = [article(f"b{seed}", changed(story(seed)), "Evening report", minutes=5) for seed in range(60)]
    found = annotated(*rows, *copies)
    recall = sum(found[f"b{seed}"][0] == f"a{seed}" for seed in range(60)) / 60
    assert recall >= least_recall
    assert all(found[f"a{seed}"] == (f"a{seed}", 1, True) for seed in range(60))


def test_the_same_template_filled_in_for_another_company_is_another_story():
    template = (
        "{name} reported a quarterly profit of {a} million, compared with {b} million a year earlier. Revenue at {name} rose to "
        "{c} million in the three months. The company said it expects demand to stay firm through the rest of the year and left "
        "its dividend unchanged. Chief executive {boss} told analysts on a call that order books were well filled and that {name} "
        "would open another site next spring. The shares of {name} closed {d} percent higher in the regular session before the report."
    )
    fills = [
        ("Norvane", "Ines Kolbe", 41, 38, 512, 3), ("Talbrook", "Otto Varga", 17, 22, 240, 2),
        ("Quillmere", "Ruth Amadi", 88, 61, 903, 6), ("Belhaven", "Jan Sorel", 41, 19, 333, 1),
    ]  # fmt: skip
    rows = [
        article(name, template.format(name=name, boss=boss, a=a, b=b, c=c, d=d), f"{name} posts quarterly profit")
        for name, boss, a, b, c, d in fills
    ]
    assert all(rank == 1 for _, rank, _ in annotated(*rows).values())


def test_a_short_text_matches_only_when_its_words_are_equal():
    found = annotated(
        article("a", None, "Workers at Norvane reject pay offer"),
        article("b", None, "Workers at Norvane ratify pay offer", minutes=1),
        article("c", None, "WORKERS at Norvane: reject pay offer!", minutes=2),
    )
    assert found == {"a": ("a", 1, True), "b": ("b", 1, True), "c": ("a", 2, False)}


def test_titles_without_any_word_are_no_story_together():
    found = annotated(article("a", None, "***"), article("b", None, "---", minutes=1))
    assert [rank for _, rank, _ in found.values()] == [1, 1]


def test_the_order_of_the_rows_changes_no_annotation_and_rows_keep_their_places():
    rows = [article(f"a{n}", story(n), minutes=n) for n in range(20)] + [
        article(f"b{n}", padded(story(n % 20)), minutes=40 + n) for n in range(40)
    ]
    shuffled = random.Random(7).sample(rows, len(rows))
    assert annotated(*rows) == annotated(*shuffled)
    result = annotate(CONTRACT.table(shuffled), CONTRACT.empty())
    assert result.schema == CONTRACT.schema
    assert result["article_id"].to_pylist() == [row.article_id for row in shuffled]


def test_ranks_go_on_through_the_nights_and_the_past_alone_decides():
    first = annotate(CONTRACT.table([article("old", story(1)), article("other", story(2))]), CONTRACT.empty())
    tomorrow = {"run_date": NIGHT + timedelta(days=1)}
    copies = [
        article("new", padded(story(1)), minutes=-9000, **tomorrow),
        article("newer", halved(story(1)), **tomorrow),
    ]
    found = annotated(*copies, earlier=first)
    assert found == {"new": ("old", 2, False), "newer": ("old", 3, False)}
    late = article("late", story(1) + " More.", minutes=-99, first_seen_at=SEEN + timedelta(hours=1), **tomorrow)
    again = annotated(*copies, late, earlier=first)
    assert again["late"] == ("old", 4, False)
    assert {name: again[name] for name in found} == found


def test_a_new_version_stays_in_the_story_of_its_article():
    first = annotate(CONTRACT.table([article("a", story(1))]), CONTRACT.empty())
    found = annotated(article("a", story(99), version=2, run_date=NIGHT + timedelta(days=1)), earlier=first)
    assert found == {"a": ("a", 2, False)}


def test_an_empty_night_stays_empty():
    assert annotate(CONTRACT.empty(), CONTRACT.empty()).equals(CONTRACT.empty())


def test_a_crowd_of_one_template_takes_bounded_time_and_merges_equal_texts():
    rows = [article(f"a{n:04}", story(3), "Same title", minutes=n) for n in range(600)]
    assert {found for found, _, _ in annotated(*rows).values()} == {"a0000"}
