// `env.<rate limiter>` inside the function's own isolate. The counting is in the router.

export class RateLimit {
  #stub;

  constructor(stub) {
    this.#stub = stub;
  }

  async limit(options) {
    if (typeof options !== "object" || options === null) {
      throw new Error("invalid rate limit options");
    }
    const unknown = Object.keys(options).filter((name) => name !== "key");
    if (unknown.length) throw new Error(`bad rate limit options: [${unknown.join(",")}]`);
    const { key = "" } = options;
    if (typeof key !== "string") throw new Error(`invalid key: ${key}`);
    const init = { method: "POST", body: key };
    const response = await this.#stub.fetch("http://ratelimit/", init);
    return { success: response.status === 204 };
  }
}
