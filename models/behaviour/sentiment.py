"""Behavioural cases for the sentiment of a sentence. All companies are invented."""

from __future__ import annotations

import itertools

from models.behaviour import Case, fill, never, rises, same

NAMES = ("Norvane", "Tessaly Group", "Brackwell Foods", "Halvorsen Marine", "Orrin Chemicals")

_NEGATED = (
    ("{0} did not win the contract.", "positive"),
    ("Sales at {0} did not grow in the quarter.", "positive"),
    ("{0} failed to return to profit.", "positive"),
    ("The merger will not bring the savings that {0} had promised.", "positive"),
    ("{0} no longer expects to make a profit this year.", "positive"),
    ("Demand for the products of {0} never recovered.", "positive"),
    ("{0} did not report a loss for the quarter.", "negative"),
    ("{0} will not cut any jobs.", "negative"),
    ("The court found no evidence of fraud at {0}.", "negative"),
    ("{0} no longer expects to make a loss this year.", "negative"),
    ("The recall did not hurt the sales of {0}.", "negative"),
    ("{0} has never missed a payment on its bonds.", "negative"),
)
_ABOUT = (
    "{0} reported a sharp fall in quarterly profit.",
    "Shares in {0} rose after it raised its outlook for the year.",
    "{0} will hold its annual meeting in May.",
    "{0} signed a supply contract worth EUR 12 mn with a utility.",
    "{0} warned that orders would decline in the second half.",
    "{0} has appointed a new head of finance.",
    "{0} is cutting 300 jobs after heavy losses.",
    "Analysts praised the record growth of {0}.",
)
_RISING = (("13.1", "8.7"), ("52.4", "31.9"), ("104", "71"), ("7.2", "5.5"))
_GROWN = (
    "Operating profit of {0} rose to EUR %s mn from EUR %s mn.",
    "Net sales of {0} increased to USD %s million from USD %s million a year earlier.",
)
_SHRUNK = (
    "Operating profit of {0} fell from EUR %s mn to EUR %s mn.",
    "Net sales of {0} decreased from USD %s million to USD %s million.",
)
_COMPARED = (
    "Operating profit of {0} was EUR %s mn, compared with EUR %s mn a year earlier.",
    "{0} posted a net profit of USD %s million, against USD %s million in the same period of last year.",
)
_VOICES = (
    ("Regulators fined {0} for misleading investors.", "{0} was fined by regulators for misleading investors."),
    ("Analysts upgraded {0} to buy.", "{0} was upgraded to buy by analysts."),
    ("A fire destroyed the main plant of {0}.", "The main plant of {0} was destroyed by a fire."),
    ("The city awarded {0} a large contract.", "{0} was awarded a large contract by the city."),
    ("Customers are suing {0} over faulty brakes.", "{0} is being sued by customers over faulty brakes."),
    ("The board of {0} approved the minutes.", "The minutes were approved by the board of {0}."),
    ("Strong demand lifted the earnings of {0}.", "The earnings of {0} were lifted by strong demand."),
    ("Rising costs squeezed the margins of {0}.", "The margins of {0} were squeezed by rising costs."),
)

CASES: tuple[Case, ...] = (
    *(never("negation", fill(text, name), label) for text, label in _NEGATED for name in NAMES[:2]),
    *(same("entity swap", *(fill(text, name) for name in NAMES)) for text in _ABOUT),
    *(
        same("number change", *(fill(text % pair, NAMES[0]) for pair in pairs))
        for texts, pairs in ((_GROWN, _RISING), (_SHRUNK, _RISING))
        for text in texts
    ),
    *(
        rises("number change", fill(text % (low, high), NAMES[1]), fill(text % (high, low), NAMES[1]))
        for text, (high, low) in itertools.product(_COMPARED, _RISING)
    ),
    *(same("passive", fill(active, name), fill(passive, name)) for active, passive in _VOICES for name in NAMES[2:4]),
)
