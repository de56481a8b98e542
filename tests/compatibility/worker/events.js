// What came as an event, kept for whoever asks later.

export async function told(env, what) {
  const kept = await env.TOLD.list({ prefix: `told:${what}` });
  const values = await Promise.all(kept.keys.map(({ name }) => env.TOLD.get(name, "json")));
  return values.flat();
}

/** A batch: the message that says so is retried once, the others are acknowledged. */
export async function remembered(env, batch) {
  for (const message of batch.messages) {
    const { body } = message;
    if (!body?.told) continue;
    const seen = {
      queue: batch.queue,
      body: body.body instanceof Date ? "a date" : body.body,
      attempts: message.attempts,
      id: typeof message.id,
      timestamp: message.timestamp instanceof Date,
      batch: batch.constructor.name,
      message: message.constructor.name,
    };
    const name = `told:queue:${body.told}:${message.attempts}`;
    const rows = Object.entries(seen).map(([k, v]) => [`${body.told}, ${message.attempts}: ${k}`, v]);
    await env.TOLD.put(name, JSON.stringify(rows));
    if (body.retry && message.attempts === 1) message.retry();
    else message.ack();
  }
}
