// Buys with x402's own clients for fetch and for axios, as their makers show it.
//
// On standard input, JSON: `url`, `key` and `network`. On standard output, for each: the status,
// the body, and what the header PAYMENT-RESPONSE says.

const axios = require("axios");
const { wrapAxiosWithPaymentFromConfig } = require("@x402/axios");
const { wrapFetchWithPaymentFromConfig } = require("@x402/fetch");
const { ExactEvmScheme } = require("@x402/evm");
const { privateKeyToAccount } = require("viem/accounts");

async function main() {
  const { url, key, network } = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const schemes = [{ network, client: new ExactEvmScheme(privateKeyToAccount(key)) }];
  const told = [];
  const tell = (status, body, header) =>
    told.push({ status, body, settled: JSON.parse(Buffer.from(header, "base64").toString()) });

  const fetched = await wrapFetchWithPaymentFromConfig(fetch, { schemes })(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "a cat" }),
  });
  tell(fetched.status, await fetched.json(), fetched.headers.get("PAYMENT-RESPONSE"));

  const api = wrapAxiosWithPaymentFromConfig(axios.create(), { schemes });
  const posted = await api.post(url, { prompt: "a cat" });
  tell(posted.status, posted.data, posted.headers["payment-response"]);
  console.log(JSON.stringify(told));
}

main();
