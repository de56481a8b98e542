import { env as imported } from "cloudflare:workers";

export default ({ env }) => ({
  "its value": () => env.SECRET,
  "its type": () => typeof env.SECRET,
  "in env of cloudflare:workers": () => imported.SECRET,
  "in process.env": () => process.env.SECRET,
  "is it in env": () => "SECRET" in env,
});
