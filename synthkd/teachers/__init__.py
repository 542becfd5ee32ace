"""Who answers, and the layers between a step and them.

    request.py    Request, Completion, the key; imports nobody
    layers.py     Cached, Retrying, Limited, Budgeted: one class, one job
    limits.py     what admits an attempt: slots, pace, orders to wait
    pace.py       how fast attempts may leave
    concurrency.py  how many are in the air
    load.py       how busy a vLLM server says it is
    patience.py   when a teacher is broken for everybody
    headers.py    what a provider's headers say about limits
    wire.py       the wire shapes: a Request as a body, a body as a Completion
    parts.py      images, by the hash of their bytes
    http.py       one attempt over an OpenAI-compatible endpoint
    stream.py     a streamed answer, put together again
    servers.py    which of several endpoints is asked
    recorded.py   answers from a file of recorded completions
    simulated/    teachers that can really do a small world
    prices.py     prices per model, as data
    stats.py      counters of one teacher

Everything is put together in open.py.
"""
