export default {
  async fetch(request) {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") {
      return new Response("Connect with a WebSocket.\n", {
        status: 426,
        headers: { Upgrade: "websocket" },
      });
    }
    const [client, server] = Object.values(new WebSocketPair());
    server.binaryType = "arraybuffer";
    server.accept();
    server.addEventListener("message", ({ data }) => {
      if (data === "goodbye") server.close(1000, "goodbye");
      else server.send(data);
    });
    return new Response(null, { status: 101, webSocket: client });
  },
};
