"""Who answers, and the layers between a step and them.

    request.py      Request, Completion, the key, the protocols
    structured.py   InShape, Lengthened: asked once more, on top of the stack
    layers.py       Cached, Retrying, Limited: one class, one job
    embeddings.py   Gathering: many texts, one request; below Cached
    budget.py       Budgeted: money held for each attempt

    limits.py       what admits an attempt: slots, pace, orders to wait
    pace.py         how fast attempts may leave
    concurrency.py  how many are in the air
    load.py         how busy a vLLM server says it is
    patience.py     when a teacher is broken for everybody
    closing.py      how the asking of a run ends
    prices.py       prices per model, as data
    stats.py        counters of one teacher

    http.py         one attempt over an OpenAI-compatible endpoint
    endpoint.py     where that is, and its key; sends nothing
    servers.py      which of several endpoints is asked
    headers.py      what a provider's headers say about limits
    wire.py         the wire shapes: a Request as a body, a body as a Completion
    stream.py       a streamed answer, put together again
    parts.py        images, by the hash of their bytes
    refusals.py     what a reply means that is no answer
    batches/        questions that wait for a provider's Batch API
    vllm/           servers that a run starts itself
    recorded.py     answers from a file of recorded completions
    simulated/      teachers that can really do a small world

Everything is put together in open.py.
"""
