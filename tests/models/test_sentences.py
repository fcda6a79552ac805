"""Where a sentence ends, and where it only looks so."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sentences import sentence_ends


def _sentences(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in itertools.pairwise([0, *sentence_ends(text)])]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Acme falls", "The bank said so.", "It rose 3.5% in 2021.", "Then it fell."],
        ["Acme Inc. bought J. P. Morgan of St. Louis, Mich. on Oct. 14, No. 3 in the U.S. market.", "Mr. Lund left."],
        ["SOUTHFIELD, MICH. -- The firm was founded by Dr. Lund."],
        ['"Profit fell." ', "He left!", "(Shares rose.)", "Why?", "Nobody knows … not even he."],
        ["株価は上昇した。", "利益も増えた。"],
        ["Japan 's Nikkei ( . N225 ) gained 0.3 percent ."],
        ["Acme rises 5% - 12.50 3.2. \n 7."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences: list[str]) -> None:
    wanted = [one.strip() for one in sentences]
    assert _sentences(" ".join(wanted)) == wanted or _sentences("\n".join(wanted)) == wanted


def test_a_line_ends_a_sentence_unless_it_was_broken_within_one() -> None:
    text = "Title without a stop\niPhone sales rose, the firm\nsaid. No stop here\nNext paragraph"
    assert _sentences(text) == [
        "Title without a stop",
        "iPhone sales rose, the firm\nsaid.",
        "No stop here",
        "Next paragraph",
    ]


def test_what_has_no_letter_is_no_sentence_of_its_own() -> None:
    assert _sentences("\n12. 5! ***\nAcme rose.\n- 7 -\n***") == ["12. 5! ***\nAcme rose.\n- 7 -\n***".strip()]
    assert _sentences("1.5\n2.5\n") == ["1.5\n2.5"]
    assert sentence_ends("") == []


@given(st.text(alphabet='aB1.!\n \u3002"', max_size=80))
def test_ends_rise_to_the_length_of_the_text(text: str) -> None:
    ends = sentence_ends(text)
    assert ends == sorted(set(ends))
    assert (ends or [0])[-1] == len(text)
