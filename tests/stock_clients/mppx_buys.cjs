// Buys with the stock client mppx, whose lightning method is made here, and shows each credential
// again: it ships methods of other networks only, and has its users bring their own.
//
// On standard input, JSON: `url`, `asks`, each with a `method`, a `request` (or a `path` and a
// `body`) and maybe `headers`, and maybe `lnbits`, the wallet that pays, with its `url` and `key`. On
// standard output, for each: what was bought, and what the credential was answered with when it was
// shown again; and what the receipts refer to.

// It is a module of the newer kind, which is found by the older one's rules: NODE_PATH.
const load = (name) => import(require("url").pathToFileURL(require.resolve(name)).href);

async function main() {
  const { Credential, Method, Receipt, z } = await load("mppx");
  const { Mppx } = await load("mppx/client");
  const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
  let spentSats = 0;
  let shown = {};

  async function preimageOf({ invoice, paymentHash }) {
    if (!asked.lnbits) {
      const path = `${asked.url}/api/dev/stub/pay/${paymentHash}`;
      return (await (await fetch(path, { method: "POST" })).json()).preimage;
    }
    const headers = { "X-Api-Key": asked.lnbits.key, "Content-Type": "application/json" };
    const body = JSON.stringify({ out: true, bolt11: invoice });
    const path = `${asked.lnbits.url}/api/v1/payments`;
    return (await (await fetch(path, { method: "POST", headers, body })).json()).preimage;
  }

  const lightning = Method.toClient(
    Method.from({
      name: "lightning",
      intent: "charge",
      schema: {
        credential: { payload: z.object({ preimage: z.string() }) },
        request: z.object({
          amount: z.string(),
          currency: z.string(),
          methodDetails: z.record(z.string(), z.string()),
        }),
      },
    }),
    {
      async createCredential({ challenge }) {
        const preimage = await preimageOf(challenge.request.methodDetails);
        spentSats += Number(challenge.request.amount);
        const proof = Credential.serialize(Credential.from({ challenge, payload: { preimage } }));
        shown = { [challenge.header ?? "Authorization"]: proof };
        return proof;
      },
    },
  );
  const mppx = Mppx.create({ methods: [lightning], polyfill: false });
  const told = [];
  const receipts = [];
  for (const { method, request, headers, path, body } of asked.asks) {
    let url = `${asked.url}${path ?? "/api/ask"}`;
    let sent = { method, headers };
    if (method === "GET") url += `?request=${encodeURIComponent(request)}`;
    else sent = { method, headers, body: JSON.stringify(body ?? { request }) };
    const bought = await mppx.fetch(url, sent);
    const again = await fetch(url, { ...sent, headers: { ...headers, ...shown } });
    const answers = [];
    for (const answer of [bought, again]) {
      answers.push([answer.status, await answer.json()]);
      receipts.push(Receipt.fromResponse(answer).reference);
    }
    told.push(answers);
  }
  console.log(JSON.stringify({ told, spentSats, receipts }));
}

main();
