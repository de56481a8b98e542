import { hello } from "./hello";

export default {
	async fetch(request, env, ctx): Promise<Response> {
		const name: string | null = new URL(request.url).searchParams.get("name");
		return new Response(hello(name ?? "World"));
	},
} satisfies ExportedHandler<Env>;
