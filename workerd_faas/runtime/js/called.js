// Calls by functions of other accounts: what elsewhere.js sends, and the daemon has let through.

import { CALL, FAILED } from "elsewhere.js";
import { checkDepth, reach } from "services.js";
import { reportNotStarted } from "tail.js";
import { load } from "versions.js";

/**
 * Before a version's id: a function of another account calls it.
 * The daemon puts it there (workerd_faas/wire/headers.py).
 */
export const CALLED = "call:";

/** Answer a call. What an exception says is for the function's owner alone: it is in its log. */
export async function called(version, request, env, ctx) {
  const { url, headers, cf, ...props } = JSON.parse(request.headers.get(CALL));
  const { method, body } = request;
  const asked = new Request(url, { method, headers, body, cf, redirect: "manual" });
  try {
    checkDepth(props);
  } catch (error) {
    return failed("is called too deep: functions call one another in a ring");
  }
  const { entry, error, reason } = await load(version, props.depth, env, ctx);
  if (error !== undefined) {
    if (reason !== undefined) reportNotStarted(version, asked, reason, env, ctx);
    return failed(`cannot be called: ${error.message}`);
  }
  try {
    return await reach(entry, props, env, ctx, (target) => target.fetch(asked), asked);
  } catch (error) {
    const message = String(error?.message);
    if (message.startsWith("Worker has no such entrypoint")) return failed("has no such entrypoint");
    return failed(entry.key === undefined ? "has assets and no code" : "threw an exception");
  }
}

const failed = (how) => new Response(null, { status: 500, headers: { [FAILED]: how } });
