// `env.<queue>` inside the function's own isolate. It speaks the protocol of workerd's queue binding
// to a stub that reaches one queue and nothing else.

/** What is said when the state cell ended before it answered. */
const LOST = 502;
const ATTEMPTS = 3;

const encoder = new TextEncoder();

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}

/** As workerd reads a number of seconds. */
const wholeNumber = (value) => Math.trunc(Number(value)) | 0;

const nameOf = (value) => (value === null ? "object" : typeof value);

function bytesOf(body) {
  if (!ArrayBuffer.isView(body)) {
    throw new TypeError(
      'Content Type "bytes" requires a value of type ArrayBufferView, but received: ' +
        nameOf(body),
    );
  }
  return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
}

function textOf(body) {
  if (typeof body !== "string") {
    throw new TypeError(
      'Content Type "text" requires a value of type string, but received: ' + nameOf(body),
    );
  }
  return encoder.encode(body);
}

/** What is no JSON must fail here: the batch that it came in could not be delivered. */
function jsonOf(body) {
  const text = JSON.stringify(body);
  if (text === undefined) {
    throw new TypeError(
      'Content Type "json" requires a value that JSON has, but received: ' + nameOf(body),
    );
  }
  return encoder.encode(text);
}

export class Queue {
  #stub;
  #format;
  #delay;

  /** `format` and `delay` are what holds for messages that say nothing of it. */
  constructor(stub, { format, delay }) {
    this.#stub = stub;
    this.#format = format;
    this.#delay = delay;
  }

  async #encoded(body, format) {
    switch (format) {
      case "json":
        return jsonOf(body);
      case "text":
        return textOf(body);
      case "bytes":
        return bytesOf(body);
      case "v8":
        // What cannot be cloned must fail here: a function would be taken for one to call remotely.
        // The clone of an object of a class is a plain one, which a call can take along.
        return this.#stub.serialize(structuredClone(body));
    }
    throw new TypeError(`Unsupported queue message content type: ${format}`);
  }

  /** A message that is sent again may be there twice, as queues have it. */
  async #post(path, what, init) {
    let response;
    for (let attempt = 1; ; attempt++) {
      response = await this.#stub.fetch("http://queue/" + path, { method: "POST", ...init });
      if (response.status !== LOST || attempt === ATTEMPTS) break;
      await response.body?.cancel();
    }
    const answer = await response.text();
    if (!response.ok) throw new Error(`Queue ${what} failed: ${said(answer)}`);
    return JSON.parse(answer);
  }

  #delayed(delaySeconds) {
    const delay = delaySeconds ?? this.#delay;
    return delay === 0 ? {} : { "X-Msg-Delay-Secs": String(wholeNumber(delay)) };
  }

  async send(body, options) {
    if (body === undefined) throw new TypeError("Message body cannot be undefined");
    const { contentType, delaySeconds } = options ?? {};
    const format = contentType ?? this.#format;
    return this.#post("message", "send", {
      body: await this.#encoded(body, format),
      headers: { "X-Msg-Fmt": format, ...this.#delayed(delaySeconds) },
    });
  }

  async sendBatch(messages, options) {
    const list = [];
    for (const { body, contentType, delaySeconds } of messages) {
      if (body === undefined) throw new TypeError("Message body cannot be undefined");
      const format = contentType ?? this.#format;
      list.push({
        body: base64(await this.#encoded(body, format)),
        contentType: format,
        delaySecs: delaySeconds == null ? undefined : wholeNumber(delaySeconds),
      });
    }
    if (list.length === 0) throw new TypeError("sendBatch() requires at least one message");
    return this.#post("batch", "sendBatch", {
      body: JSON.stringify({ messages: list }),
      headers: this.#delayed(options?.delaySeconds),
    });
  }

  async metrics() {
    const response = await this.#stub.fetch("http://queue/metrics");
    return response.json();
  }
}

function said(answer) {
  try {
    const document = JSON.parse(answer);
    return typeof document === "string" ? document : document.errors[0].message;
  } catch {
    return answer;
  }
}
