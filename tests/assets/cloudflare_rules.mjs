// Cloudflare's own readers of `_headers`, `_redirects` and `run_worker_first`, cut out of the bundle
// of npm's package miniflare. Takes a JSON array of {kind, text, html_handling} on standard input,
// writes the array of results.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const bundle = readFileSync(process.argv[2], "utf8");
const begin = bundle.indexOf("// ../workers-shared/utils/configuration/constants.ts");
const end = bundle.indexOf("// embed-worker:", begin);
const section = bundle.slice(begin, end);
const inits = [...section.matchAll(/^var (?:[\w, ]+, )?(init_\w+) = __esm/gm)].map(([, name]) => name);
const factory = new Function(
  "__esm",
  "require",
  `${section}
  for (const init of [${inits}]) try { init(); } catch (error) { if (!(error instanceof ReferenceError)) throw error; }
  return { parseHeaders, parseRedirects, parseStaticRouting, constructRedirects, constructHeaders };`,
);
const esm = (module) => {
  const [run] = Object.values(module);
  let done = false;
  return () => (done ? undefined : ((done = true), run()));
};
const ours = factory(esm, require);
const logger = { log() {}, info() {}, warn() {}, debug() {} };

function headers({ text }) {
  const parsed = ours.parseHeaders(text);
  const { headers } = ours.constructHeaders({ headers: parsed, logger });
  return { rules: headers?.rules ?? {}, ignored: parsed.invalid.length };
}

function redirects({ text, html_handling }) {
  const parsed = ours.parseRedirects(text, { htmlHandling: html_handling ?? undefined });
  const { redirects } = ours.constructRedirects({ redirects: parsed, logger });
  return {
    static: redirects?.staticRules ?? {},
    dynamic: redirects?.rules ?? {},
    ignored: parsed.invalid.length,
  };
}

function routing({ rules }) {
  try {
    const { asset_worker, user_worker } = ours.parseStaticRouting(rules);
    return { assets: asset_worker, worker: user_worker };
  } catch (error) {
    return { error: error.message };
  }
}

const kinds = { headers, redirects, routing };
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((each) => kinds[each.kind](each))));
