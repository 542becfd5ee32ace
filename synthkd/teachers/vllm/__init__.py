"""A vLLM server's whole life: found, started, awaited, asked, started again, stopped.

    model.py      the model's folder or hub name, looked at before anything starts
    hashes.py     what a file's bytes are, remembered
    identity.py   who answers, for the ledger's keys
    find.py       the Python that has vLLM
    command.py    what is started: arguments and environment of one server
    guard.py      the watchdog, a program of its own
    process.py    one process under its watchdog
    reasons.py    why a server died, read off its log
    server.py     one server, kept up
    fleet.py      all servers of a `vllm` block, and the layer that waits for them

Nothing here is imported before a pipeline has such a block, and nothing is started before the first
question that the ledger cannot answer.
"""
