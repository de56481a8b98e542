// When to collect garbage.
//
// Each request leaves some kilobytes of native memory behind that only a full collection frees, and
// V8, which does not know of them, makes its first one when its own heap has grown to hundreds of
// megabytes. Measured: 560 MB resident after 60 000 small requests without this, 94 MB with it, for
// the same CPU time. workerd runs with --expose-gc-as for this; functions are not given it.

const REQUESTS = 1000;
const MOST_REQUESTS = 4000;
/** What a load leaves behind, counted in requests. */
const LOAD = 20;
/** A long collection is made less often, so that a request's share of it stays small. */
const REQUESTS_PER_MS = 50;
/** On a busy machine a collection takes longer than it costs: estimates grow by this at most. */
const GROWTH = 1.2;

/** Says after how many requests one isolate's next collection is due. */
export class Pace {
  #left = REQUESTS;
  #estimate = Infinity;

  /** Count requests; true when a collection is due. */
  due(requests) {
    this.#left -= requests;
    return this.#left <= 0;
  }

  /** A version was loaded. */
  loaded() {
    this.#left -= LOAD;
  }

  /** A collection has begun: none is due until it has ended. */
  begun() {
    this.#left = Infinity;
  }

  /** It took so many milliseconds. */
  collected(ms) {
    this.#estimate = Math.min(ms, this.#estimate * GROWTH);
    const share = REQUESTS_PER_MS * this.#estimate;
    this.#left = Math.min(Math.max(REQUESTS, share), MOST_REQUESTS);
  }
}
