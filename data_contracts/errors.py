"""The tree of errors, named by the reaction they ask for.

    NightdeskError
    +-- Retriable         another try may help: a time-out, a busy host, a lost worker
    +-- Skippable         leave this item out, keep it with its reason, and go on: one source, one row, one file
    +-- Fatal             stop: no further try and no leaving out can help
        +-- ContractBroken    too large a share of the rows failed their contract; nothing was published

Every message says what was given, what is allowed, and where. Errors of one part stand beside its code and inherit from one of the three.
"""


class NightdeskError(Exception):
    """The root: everything the project raises on purpose."""


class Retriable(NightdeskError):
    """Another try may help."""


class Skippable(NightdeskError):
    """Leave this item out, keep it with its reason, go on."""


class Fatal(NightdeskError):
    """Stop: neither another try nor leaving something out can help."""


class ContractBroken(Fatal):
    """Too large a share of the rows failed their contract; nothing was published."""
