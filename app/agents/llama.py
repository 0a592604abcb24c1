"""A process of its own in which llama.cpp serves one model file on 127.0.0.1.

It reads one line of JSON on standard input, answers one line with its address, and ends when that
input closes: so it never outlives whoever started it. It imports nothing of the rest of the house.
"""

import contextlib
import json
import os
import sys
from typing import Any, Final

# A seed of our own makes a retry say the same thing again.
SEED: Final = 21


def serve(wanted: dict[str, Any]) -> Any:
    """Load the model and return the running server. Blocks, and holds the interpreter's lock."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = wanted["weights"]
    params.model_alias = {wanted["model"]}  # or else answers would name the file
    params.n_ctx = wanted["context_tokens"] * wanted["slots"]
    params.n_parallel = wanted["slots"]
    # With more threads than free cores the threads wait for each other, a hundred times slower.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    params.sampling.temp = 0.2  # what the makers of the weights advise
    params.sampling.top_p = 0.9
    params.sampling.penalty_repeat = 1.1
    params.sampling.seed = SEED
    # One buyer's words must not be found in another's: no caches, no page that lists the slots.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.endpoint_slots = False
    params.ui = False
    params.cors_origins = ""
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [wanted["key"]]
    params.offline = True
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until standard input ends."""
    wanted = json.loads(sys.stdin.readline())
    # The library may print; only our own line goes to whoever reads the address.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        os.nice(wanted["nice"])  # money first: writing yields to the market's own loop
    try:
        server = serve(wanted)
        print(json.dumps({"url": server.listening_address}), file=answers, flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    sys.stdin.read()
    os._exit(0)  # nothing to save, and the server's own shutdown waits for open connections


if __name__ == "__main__":
    main()
