// Inside a promoted function (promoted.js): no router stands before it, so what that does for every
// request is done here.

import { THREW, errorPage } from "./__workerd_faas_errors.js";
import { look as seen, watched as witnessed } from "./__workerd_faas_witness.js";

// The function may put something else in its place.
const { Response } = globalThis;
let requests = 0;

/** As a witness tells it, and how many requests there were. */
export function look() {
  const told = { ...seen(), requests };
  requests = 0;
  return told;
}

/** The module's default export with a witness, and with our error page where it gives no answer. */
export function watched(handler) {
  const inner = witnessed(handler);
  return {
    fetch(request, env, ctx) {
      requests++;
      try {
        const result = inner.fetch(request, env, ctx);
        if (result instanceof Response) return result;
        return Promise.resolve(result).then(
          (response) => (response instanceof Response ? response : errorPage(request, THREW)),
          () => errorPage(request, THREW),
        );
      } catch {
        return errorPage(request, THREW);
      }
    },
  };
}
