"""The cases by group, one file each, in the order of their numbers. Importing this makes `case.CASES` whole."""

from tests.acceptance.cases import (  # noqa: I001 - the order of the page
    market,
    limit,
    stops,
    amending,
    cancelling,
    cancelling_all,
    batches,
    protections,
    reduce_only,
    hedge,
    finding,
    doubt,
    statement,
    balances,
    hints,
    dead_man,
    account,
    refusals,
    itself,
)

GROUPS = (
    market, limit, stops, amending, cancelling, cancelling_all, batches, protections, reduce_only,
    hedge, finding, doubt, statement, balances, hints, dead_man, account, refusals, itself,
)  # fmt: skip
