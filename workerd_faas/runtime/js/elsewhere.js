// Calls of functions of other accounts, by grant: they run in their own account's process. The
// daemon stands between, looks at each call whether it is granted, and knows who calls.

/** The request that the caller made, and what its binding says; read by called.js. */
export const CALL = "x-wfaas-call";
/** Why the function gave no answer of its own. */
export const FAILED = "x-wfaas-failed";
const PROBLEM = "wfaas-problem";
/** What can name a version in a host. */
const LABEL = /^[a-z0-9-]{1,63}$/;

/** Pass a request on; rejects with a message for the caller. */
export async function fetchElsewhere(request, { service, environment, ...binding }, env) {
  const { owner, account, entrypoint, props, depth } = binding;
  const call = {
    service,
    entrypoint,
    props,
    depth,
    url: request.url,
    headers: [...request.headers],
    cf: request.cf,
  };
  const headers = new Headers({ [CALL]: ascii(JSON.stringify(call)) });
  const upgrade = request.headers.get("upgrade");
  if (upgrade !== null) headers.set("upgrade", upgrade);
  // Anything else would write its own host and path, and so say who calls.
  if (!LABEL.test(environment ?? "production")) {
    throw new Error(`The function "${service}" cannot be called: no version has such a name.`);
  }
  const pinned = environment === undefined || environment === "production" ? "" : environment + ".";
  const response = await env.CALLS.fetch(`http://${pinned}${service}.call/${owner}/${account}`, {
    method: request.method,
    headers,
    body: request.body,
    redirect: "manual",
  });
  if (response.headers.has(PROBLEM)) {
    const { errors } = await response.json();
    throw new Error(`The function "${service}" cannot be called: ${errors[0].message}`);
  }
  const failed = response.headers.get(FAILED);
  if (failed === null) return response;
  await response.body?.cancel();
  throw new Error(`The function "${service}" ${failed}.`);
}

/** What RPC to another account's function comes to. */
export function onlyFetch({ service }, name) {
  throw new TypeError(
    `The function "${service}" belongs to another account: only its fetch() can be called, ` +
      `not "${name}".`,
  );
}

/** JSON that can stand in a header field. */
const ascii = (json) =>
  json.replace(/[^ -~]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));
