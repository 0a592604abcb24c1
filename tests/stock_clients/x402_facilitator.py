"""x402's own facilitator, over HTTP: `PYTHON x402_facilitator.py RPC_URL KEY NETWORK`.

It prints its address in a line when it listens.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from x402 import x402FacilitatorSync
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.schemas import PaymentPayload, PaymentRequirements

RPC_URL, KEY, NETWORK = sys.argv[1:]


class Sender(FacilitatorWeb3Signer):
    """x402's, which has one transaction on its way at a time.

    A node that mines each at once (anvil) may take one of an account for early while it mines the
    one before, and then keeps it waiting: that and all later ones would never be in a block.
    """

    def __init__(self, key: str, rpc_url: str) -> None:
        super().__init__(key, rpc_url)
        self._under_way = threading.Lock()

    def write_contract(self, *args: Any, **options: Any) -> str:
        """Send, and wait until it is in a block."""
        with self._under_way:
            sent: str = super().write_contract(*args, **options)
            self.wait_for_transaction_receipt(sent)
            return sent


FACILITATOR = x402FacilitatorSync()
register_exact_evm_facilitator(FACILITATOR, Sender(KEY, RPC_URL), networks=NETWORK)


class Door(BaseHTTPRequestHandler):
    """/supported, /verify and /settle, as the specification has them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say what is supported."""
        self.answer(FACILITATOR.get_supported())

    def do_POST(self) -> None:
        """Verify, or settle."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        payload = PaymentPayload.model_validate(asked["paymentPayload"])
        wanted = PaymentRequirements.model_validate(asked["paymentRequirements"])
        work = FACILITATOR.verify if self.path == "/verify" else FACILITATOR.settle
        self.answer(work(payload, wanted))

    def answer(self, told: Any) -> None:
        """Answer with what a model says."""
        body = told.model_dump_json(by_alias=True, exclude_none=True).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


main()
