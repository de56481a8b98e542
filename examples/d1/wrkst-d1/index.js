/**
 * The database of a function: the binding `D1`, which every function has that says so, here without
 * any configuration and at Cloudflare by `d1_databases`.
 */
export function getD1(env) {
  const database = env?.D1;
  if (typeof database?.prepare !== "function") {
    throw new Error("There is no D1 database in env: bind one under the name D1.");
  }
  return database;
}

export default getD1;
