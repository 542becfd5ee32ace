"""Questions that go through a provider's Batch API, and the answers that come back (ADR 0018).

    posting.py    Posting, UnlessUnderWay: the layers below Cached; a question is posted, and waits
    run.py        Batches: what a run does with all of them before, after and between its passes
    dispatch.py   Dispatch: one teacher's; sent, found again after a kill, looked at, given up
    collect.py    Collector: the files of a batch that is over, line by line
    provider.py   BatchProvider: the calls themselves, through the openai SDK

What is posted, held and under way is in the ledger (`synthkd.ledger.outbox`).
"""
