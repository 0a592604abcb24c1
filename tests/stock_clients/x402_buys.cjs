// Buys with x402's own clients for fetch and for axios, as an API of images and films that they
// are made for shows it in its reference: an image, which is polled to its end, and a film.
//
// With `ask`, an answer to that instead, by both.
//
// On standard input, JSON: `base`, `key` and `network`. On standard output, for each: the status,
// the body, and what the header PAYMENT-RESPONSE says.

const axios = require("axios");
const { wrapAxiosWithPaymentFromConfig } = require("@x402/axios");
const { wrapFetchWithPaymentFromConfig } = require("@x402/fetch");
const { ExactEvmScheme } = require("@x402/evm");
const { privateKeyToAccount } = require("viem/accounts");

async function main() {
  const { base, key, network, ask } = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const account = privateKeyToAccount(key);
  const told = [];
  const tell = (status, body, header) =>
    told.push({ status, body, settled: JSON.parse(Buffer.from(header, "base64").toString()) });

  const fetchWithPayment = wrapFetchWithPaymentFromConfig(fetch, {
    schemes: [{ network, client: new ExactEvmScheme(account) }],
  });
  if (ask) {
    const bought = await fetchWithPayment(`${base}/api/ask?request=${encodeURIComponent(ask)}`);
    tell(bought.status, await bought.json(), bought.headers.get("PAYMENT-RESPONSE"));
    const client = wrapAxiosWithPaymentFromConfig(axios.create(), {
      schemes: [{ network, client: new ExactEvmScheme(account) }],
    });
    const also = await client.post(`${base}/api/ask`, { request: ask });
    tell(also.status, also.data, also.headers["payment-response"]);
    console.log(JSON.stringify(told));
    return;
  }
  const response = await fetchWithPayment(`${base}/v1/images/generate`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      model: "nano-banana-pro",
      prompt: "A serene Japanese garden with cherry blossoms",
      aspect_ratio: "16:9",
    }),
  });
  const generation = await response.json();
  let data = generation;
  while (data.status === "pending" || data.status === "processing") {
    const result = await fetchWithPayment(`${base}/v1/generations/${generation.id}?wait=5`);
    data = await result.json();
  }
  const paid = response.headers.get("PAYMENT-RESPONSE");
  tell(response.status, { ...generation, output: data.output, ended: data.status }, paid);

  const api = wrapAxiosWithPaymentFromConfig(axios.create(), {
    schemes: [{ network, client: new ExactEvmScheme(account) }],
  });
  const posted = await api.post(`${base}/v1/videos/generate`, {
    model: "veo-3.1-fast",
    prompt: "A cat walking through a mystical forest",
    mode: "t2v",
    aspect_ratio: "landscape",
  });
  tell(posted.status, posted.data, posted.headers["payment-response"]);
  console.log(JSON.stringify(told));
}

main();
