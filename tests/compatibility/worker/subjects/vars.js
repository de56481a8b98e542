import { env as imported } from "cloudflare:workers";

export default ({ env }) => ({
  "a text": () => env.TEXT,
  "an empty text": () => env.EMPTY,
  "a text beyond ASCII": () => env.UNICODE,
  "a number": () => env.NUMBER,
  "a fraction": () => env.FRACTION,
  "true": () => env.YES,
  "null": () => env.NOTHING,
  "a list": () => env.LIST,
  "an object": () => env.OBJECT,
  "a name that is not there": () => env.NOBODY,
  "types": () => ["TEXT", "NUMBER", "YES", "LIST", "OBJECT"].map((name) => typeof env[name]),
  "all names": () => Object.keys(env).sort(),
  "all names of another function": () => env.OTHER.names(),
  "a database that the configuration does not name": () => env.OTHER.database(),
  "the prototype": () => Object.getPrototypeOf(env) === Object.prototype,
  "is it in env": () => ["TEXT" in env, "NOBODY" in env, Object.hasOwn(env, "TEXT")],
  "a change of an object": () => {
    env.OBJECT.changed = true;
    return env.OBJECT.changed;
  },
  "a change of env": () => {
    env.ADDED = "added";
    return env.ADDED;
  },
  "env of cloudflare:workers": () => [imported.TEXT, imported.NUMBER, imported.OBJECT.deep],
  "process.env": () => [process.env.TEXT, process.env.NUMBER, process.env.OBJECT],
});
