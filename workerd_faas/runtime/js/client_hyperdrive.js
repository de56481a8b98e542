// `env.<hyperdrive>` inside the function's own isolate: an object of texts, and a way to connect.

import { connect } from "cloudflare:sockets";

export function connecting(database) {
  // Where modules cannot import `env` the texts have to do.
  if (database === undefined) return;
  const value = () => connect({ hostname: database.host, port: database.port });
  Object.defineProperty(database, "connect", { value });
}
