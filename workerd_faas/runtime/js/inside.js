// Modules of ours inside a function's isolate: they run before the user's code and put what has to
// live there into `env`, in the place of the stubs that the loader was given.
//
// Only functions that have such bindings get any of it.

import analyticsSource from "client_analytics.js";
import hyperdriveSource from "client_hyperdrive.js";
import kvSource from "client_kv.js";
import queueSource from "client_queue.js";
import ratelimitSource from "client_ratelimit.js";

const PREFIX = "__workerd_faas_";
const ENV = PREFIX + "env.js";

/** Under which name `env` brings a D1 binding whose class is borrowed, until the user's code runs. */
export const D1_TEMPLATE = PREFIX + "d1";

/** A module of the upload is the value. */
const part = {
  make: (name, { part }, index) =>
    `import part${index} from ${JSON.stringify("./" + part)}; env[${name}] = part${index};`,
};

const CLIENTS = {
  wasm_module: part,
  text_blob: part,
  data_blob: part,
  kv_namespace: {
    module: PREFIX + "kv.js",
    source: kvSource,
    imports: "KvNamespace",
    make: (name) => `env[${name}] = new KvNamespace(env[${name}]);`,
  },
  queue: {
    module: PREFIX + "queue.js",
    source: queueSource,
    imports: "Queue",
    make: (name, { format, delay }) =>
      `env[${name}] = new Queue(env[${name}], ${JSON.stringify({ format, delay })});`,
  },
  ratelimit: {
    module: PREFIX + "ratelimit.js",
    source: ratelimitSource,
    imports: "RateLimit",
    make: (name) => `env[${name}] = new RateLimit(env[${name}]);`,
  },
  analytics_engine: {
    module: PREFIX + "analytics.js",
    source: analyticsSource,
    imports: "AnalyticsEngineDataset",
    make: (name) => `env[${name}] = new AnalyticsEngineDataset(env[${name}]);`,
  },
  hyperdrive: {
    module: PREFIX + "hyperdrive.js",
    source: hyperdriveSource,
    imports: "connecting",
    make: (name) => `connecting(env[${name}]);`,
  },
  // workerd's own class, made around a stub that reaches one database. In the upload check there is
  // none, and nobody to use it.
  d1: {
    make: (name) => `if (template) env[${name}] = new template.constructor(env[${name}]);`,
  },
};

const RPC_BY_DEFAULT = "2024-04-03";

/** The flags for the loader. A queue's messages may have to be serialized by the router, over RPC. */
export function flags({ compatibility_date, compatibility_flags, bindings }) {
  const wants = bindings.some(({ type }) => type === "queue");
  const has = compatibility_date >= RPC_BY_DEFAULT || compatibility_flags.includes("rpc");
  return wants && !has ? [...compatibility_flags, "rpc"] : compatibility_flags;
}

/** Add what these bindings need to `modules`; returns what must be imported before all else. */
export function prelude(bindings, modules) {
  const wanted = bindings.filter(({ type }) => Object.hasOwn(CLIENTS, type));
  if (wanted.length === 0) return "";
  const lines = ['import { env } from "cloudflare:workers";'];
  for (const type of new Set(wanted.map((binding) => binding.type))) {
    const { module, source, imports } = CLIENTS[type];
    if (module === undefined) continue;
    modules[module] = { js: source };
    lines.push(`import { ${imports} } from "./${module}";`);
  }
  const template = JSON.stringify(D1_TEMPLATE);
  lines.push(`const template = env[${template}];`, `delete env[${template}];`);
  for (const [index, { type, name, props }] of wanted.entries()) {
    lines.push(CLIENTS[type].make(JSON.stringify(name), props, index));
  }
  modules[ENV] = { js: lines.join("\n") };
  return `import "./${ENV}";\n`;
}
