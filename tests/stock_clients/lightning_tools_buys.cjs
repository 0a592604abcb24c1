// Buys with the stock client @getalby/lightning-tools, and shows each proof again.
//
// On standard input, JSON: `url` and `asks`, each with a `method` and a `request`, or with a `path`
// and a `body`. On standard output, for each: what was bought, and what the proof was answered with
// when it was shown again.

const { fetch402 } = require("@getalby/lightning-tools/402");
const { Invoice } = require("@getalby/lightning-tools/bolt11");

async function main() {
  const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
  let spentSats = 0;
  const wallet = {
    async payInvoice({ invoice }) {
      const { paymentHash, satoshi } = new Invoice({ pr: invoice });
      const path = `${asked.url}/api/dev/stub/pay/${paymentHash}`;
      const paid = await fetch(path, { method: "POST" });
      spentSats += satoshi;
      return { preimage: (await paid.json()).preimage };
    },
  };
  const told = [];
  for (const { method, request, path, body } of asked.asks) {
    let url = `${asked.url}${path ?? "/api/ask"}`;
    let sent = { method };
    if (method === "GET") url += `?request=${encodeURIComponent(request)}`;
    else sent = { method, body: JSON.stringify(body ?? { request }) };
    const bought = await fetch402(url, sent, { wallet, maxAmount: 100 });
    const credentials = bought.payment.credentials;
    const again = await fetch402(url, sent, { wallet, maxAmount: 100, credentials });
    told.push([
      [bought.status, await bought.json()],
      [again.status, await again.json()],
    ]);
  }
  console.log(JSON.stringify({ told, spentSats }));
}

main();
