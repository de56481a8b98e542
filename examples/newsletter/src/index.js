// POST / with a list of addresses puts a letter to each into a queue; whatever takes long is done
// by the consumer, a batch at a time. GET / tells what became of them.

export default {
  async fetch(request, env) {
    if (request.method === "POST") {
      const addresses = await request.json();
      await env.LETTERS.sendBatch(addresses.map((to) => ({ body: { to, text: "News!" } })));
      return Response.json({ queued: addresses.length }, { status: 202 });
    }
    const { keys } = await env.OUTBOX.list();
    return Response.json(Object.fromEntries(keys.map(({ name, metadata }) => [name, metadata])));
  },

  async queue(batch, env) {
    for (const message of batch.messages) {
      const { to, text } = message.body;
      if (batch.queue === "undeliverable") {
        await env.OUTBOX.put(to, "", { metadata: "given up" });
      } else if (to.includes("@")) {
        await env.OUTBOX.put(to, text, { metadata: "sent" }); // In the place of sending it.
      } else {
        message.retry(); // Twice, and then it goes to the dead letter queue.
      }
    }
  },
};
