// Promoted versions: what is called very much gets a process of its own, in whose configuration it is
// a service with a socket of its own, so that neither router nor loader stands before it. The daemon
// decides (promotions.py); here is what it goes by, and who looks after such a service.

import { Pace } from "pace.js";

/** Requests a second from which a quiet version (quiet.js) is worth a process. */
const HOT = 100;

let asked = 0;
let own;

/** The quiet versions that have been called so much since this was asked last. */
export function hot(entries) {
  const now = Date.now();
  // The clock may have been set back: then nothing is said this time.
  const enough = now < asked ? Infinity : (HOT * (now - asked)) / 1000;
  asked = now;
  const found = [];
  for (const entry of entries) {
    if (entry.quiet && entry.calls > enough) found.push(entry.version);
    entry.calls = 0;
  }
  return found;
}

/** The version that is a service of this process, if one is: as quiet.js looks at versions. */
export function promoted(env) {
  if (env.PROMOTED === undefined) return undefined;
  own ??= {
    ...env.PROMOTED_VERSION,
    service: env.PROMOTED,
    quiet: true,
    pending: 0,
    deaf: false,
    listening: undefined,
    pace: new Pace(),
    // It has said something, or is watched: it shall be a quiet version no longer.
    loud: false,
  };
  return own;
}
