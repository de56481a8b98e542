// Collecting garbage, when it is due (pace.js).

import { collect, PRIVATE } from "document.js";
import { Pace } from "pace.js";

/** When our own isolate is due. */
const own = new Pace();

/** Count requests that our own isolate had part in. */
export function collectWhenDue(requests) {
  if (!own.due(requests)) return;
  const begin = performance.now();
  __workerd_faas_gc();
  own.collected(performance.now() - begin);
}

/** A version was loaded, which leaves something behind here. */
export function loadedOne() {
  own.loaded();
}
