// Objects in a function's `env`, made from the load document's `bindings` by their type.
//
// A maker gets the binding's props and `{ctx, env, header, depth}`: the router's own context and
// bindings, the load document's header, and how deep in calls of other functions this isolate is.
// What it returns is put into `env` under the binding's name.

import { D1_TEMPLATE } from "inside.js";

// The function's own isolate puts a module there.
const part = () => null;

const MAKERS = {
  wasm_module: part,
  text_blob: part,
  data_blob: part,
  d1: (props, { ctx, header }) => ctx.exports.D1({ props: stored(header, props.id) }),
  kv_namespace: (props, { ctx, header }) =>
    ctx.exports.KV({ props: stored(header, props.namespace_id) }),
  queue: (props, { ctx, header }) => ctx.exports.Queue({ props: stored(header, props.id) }),
  assets: (_props, { ctx, header }) =>
    ctx.exports.Assets({ props: { version: header.version.id } }),
  analytics_engine: ({ dataset }, { ctx, header }) =>
    ctx.exports.Analytics({
      props: { account: header.account, function: header.function, dataset },
    }),
  hyperdrive: (props) => props,
  ratelimit: ({ namespace_id, simple }, { ctx, header: { account } }) =>
    ctx.exports.RateLimit({ props: { account, namespace: namespace_id, ...simple } }),
  version_metadata: (_props, { header }) => ({ ...header.version }),
  service: (props, { ctx, header, depth }) =>
    ctx.exports.Service({ props: { ...props, account: header.account, depth: depth + 1 } }),
};

const stored = ({ account }, id) => ({ account, id });

export function objects(header, ctx, env, depth) {
  const made = {};
  for (const { name, type, props } of header.bindings) {
    if (type === "d1") made[D1_TEMPLATE] = env.D1_TEMPLATE;
    made[name] = MAKERS[type](props, { ctx, env, header, depth });
  }
  return made;
}
