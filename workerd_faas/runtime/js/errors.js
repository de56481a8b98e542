// The answers of a cell when a function gives none. They name the request and never the details:
// those are in the function's own log under the same id.

export const THREW = { status: 500, code: 1101, message: "Worker threw exception" };
export const LOAD_FAILED = { status: 500, code: 1104, message: "Worker failed to start" };
export const UNAVAILABLE = {
  status: 503,
  code: 1105,
  message: "Worker is temporarily unavailable",
  retryAfter: "1",
};

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => text.replace(/[&<>"']/g, (character) => ESCAPES[character]);

/** HTML for browsers, the API's envelope for everything else. */
export function errorPage(request, { status, code, message, retryAfter }) {
  const id = request.headers.get("cf-ray") ?? "unknown";
  const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff" };
  if (retryAfter !== undefined) headers["retry-after"] = retryAfter;
  if (!request.headers.get("accept")?.includes("text/html")) {
    const errors = [{ code, message }];
    const body = { success: false, errors, messages: [], result: null, request_id: id };
    return Response.json(body, { status, headers });
  }
  headers["content-type"] = "text/html; charset=utf-8";
  headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'";
  return new Response(page(status, code, escaped(message), escaped(id)), { status, headers });
}

const page = (status, code, message, id) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Error ${code}: ${message}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 36rem; padding: 0 1rem }
  code { background: #8882; border-radius: 4px; padding: .1em .4em }
  :root { color-scheme: light dark }
</style>
<h1>${message}</h1>
<p>Error ${code} (${status}). The request id is <code>${id}</code>: the owner of this function finds
the details under it in the function's log.</p>
</html>
`;
