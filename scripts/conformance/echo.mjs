// An echo server with permessage-deflate, for the conformance cases: the package `ws`, which the TypeScript client is tested
// with. Listens on $HOST:$PORT.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../examples/client/typescript/package.json", import.meta.url));
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: process.env.HOST ?? "127.0.0.1",
  port: Number(process.env.PORT),
  maxPayload: 256 * 1024 * 1024,
  // Some cases are sixty thousand fragments.
  maxFragments: 0,
  maxBufferedChunks: 0,
  perMessageDeflate: { threshold: 0, zlibDeflateOptions: { level: 1 } },
});
server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  // Bad frames are what the cases are about; the package has closed the connection as it should.
  socket.on("error", () => {});
});
