// An agent in JavaScript, for worker.mjs beside it. What a message does:
//
//     hello       streamed back, word by word
//     /think      emits thinking, a tool call and its result
//     /confirm    asks the client, and waits for its answer
//     /history    what was said before in this session
//     /slow       streams for a minute, until the client cancels
//     /fail       throws: the client gets agent.error, the session goes on

import { setTimeout as sleep } from "node:timers/promises";

class EchoAgent {
  name = "echo";

  constructor(params) {
    this.prefix = params.prefix ?? "echo:"; // from the content of user.create_session
  }

  async *stream(message, ctx) {
    switch (String(message).trim()) {
      case "/think":
        ctx.emit("agent.thinking", "What could be meant?", { step: 0 });
        ctx.emit("agent.tool_call", "Counting", { tool: "count", args: {}, status: "running" }, "step_0_count");
        await ctx.emit("agent.tool_result", "1", { tool: "count", status: "success" }, "step_0_count");
        yield "thought";
        break;
      case "/confirm":
        yield `you said ${await ctx.confirm("Shall I go on?", ["yes", "no"])}`;
        break;
      case "/history":
        for (const entry of ctx.history) yield `${entry.role}: ${entry.content}\n`;
        break;
      case "/slow":
        for (let second = 0; second < 60 && !ctx.cancelled; second++) {
          yield `${second} `;
          await sleep(1000);
        }
        break;
      case "/fail":
        throw new Error("asked to fail");
      default:
        yield this.prefix;
        for (const word of String(message).split(" ")) yield ` ${word}`;
    }
  }
}

export function createAgent(params) {
  return new EchoAgent(params);
}
