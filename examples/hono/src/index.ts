import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";

type Bindings = { SHOP: string };

interface Item {
  id: number;
  name: string;
  cents: number;
}

const items: readonly Item[] = [
  { id: 1, name: "tea", cents: 450 },
  { id: 2, name: "biscuits", cents: 280 },
];

const app = new Hono<{ Bindings: Bindings }>();

app.get("/", (c) => c.text(`${c.env.SHOP} sells ${items.length} things.\n`));

app.get("/items", (c) => c.json(items));

app.get("/items/:id{[0-9]+}", (c) => {
  const item = items.find(({ id }) => id === Number(c.req.param("id")));
  if (!item) throw new HTTPException(404, { message: "no such item" });
  return c.json(item);
});

app.post("/quote", async (c) => {
  const wanted = await c.req.json<{ id: number; count: number }[]>();
  const cents = wanted.reduce((sum, { id, count }) => {
    const item = items.find((each) => each.id === id);
    if (!item) throw new HTTPException(400, { message: `no such item: ${id}` });
    return sum + item.cents * count;
  }, 0);
  return c.json({ cents });
});

export default app;
