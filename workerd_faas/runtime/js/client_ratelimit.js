// `env.<rate limiter>` inside the function's own isolate. The counting is in the router.

export class RateLimit {
  #stub;

  constructor(stub) {
    this.#stub = stub;
  }

  async limit(options) {
    if (typeof options !== "object" || options === null || typeof options.key !== "string") {
      throw new TypeError('limit() takes {key: "<text>"}');
    }
    const init = { method: "POST", body: options.key };
    const response = await this.#stub.fetch("http://ratelimit/", init);
    return { success: response.status === 204 };
  }
}
