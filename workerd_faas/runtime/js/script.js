// Service-worker scripts, the form that Workers had before modules: `addEventListener("fetch", …)`.
// The loader takes modules only, so a script is loaded as a CommonJS module behind one of ours.

import eventsSource from "client_events.js";

const PREFIX = "__workerd_faas_";
const SCRIPT = PREFIX + "script.js";
const EVENTS = PREFIX + "events.js";

/** The name of the ES module that stands for the main one; adds to `modules` what it needs. */
export function asModule(main, modules) {
  if (modules[main]?.cjs === undefined) return main;
  modules[EVENTS] = { js: eventsSource };
  const own = JSON.stringify("./" + main);
  modules[SCRIPT] = {
    js: `import { handlers } from "./${EVENTS}";\nimport ${own};\nexport default handlers();\n`,
  };
  return SCRIPT;
}
