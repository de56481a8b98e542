// Objects in a function's `env`, made from the load document's `bindings` by their type.
//
// A maker gets the binding's props and `{ctx, env, header}`: the router's own context and bindings,
// and the load document's header. What it returns is put into `env` under the binding's name.

const MAKERS = {
  version_metadata: (_props, { header }) => ({ ...header.version }),
};

export function objects(header, ctx, env) {
  const made = {};
  for (const { name, type, props } of header.bindings) {
    made[name] = MAKERS[type](props, { ctx, env, header });
  }
  return made;
}
