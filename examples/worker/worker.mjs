#!/usr/bin/env node
// A worker: runs an agent file in JavaScript for the agent host (docs/design/writing-a-worker.md), with nothing but Node.
//
//     myagent-manager register echo echo_agent.mjs --worker ./worker.mjs
//
// The agent file exports `createAgent(params)`, called once per session, or `agent`: a function (message, ctx), or an object
// with `stream(message, ctx)` or `run(message, ctx)`. What it returns is the answer; a generator, async or not, streams it.

import { Socket } from "node:net";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";

const PROTOCOL = 1;
const CREDIT = 256 * 1024; // bytes of a session's events that may be under way to its client

const socket = new Socket({ fd: Number(process.env.MYAGENT_WORKER_FD) });
const file = process.env.MYAGENT_AGENT_FILE;
const sessions = new Map();
const write = (line) => socket.write(JSON.stringify(line) + "\n");
const say = (error) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error));

class Session {
  credit = CREDIT;
  waiting = []; // lines beyond the credit
  room = []; // who waits for more
  questions = new Map();
  context = null; // of the newest turn
  busy = null; // until the newest turn has ended

  constructor({ session, id, params, history }) {
    Object.assign(this, { number: session, id, params, history });
  }

  // What goes to the client counts, with its line end, and waits once the credit is used up.
  send(line) {
    this.waiting.push(JSON.stringify({ session: this.number, ...line }) + "\n");
    this.flush();
  }

  flush() {
    while (this.waiting.length > 0 && this.credit > 0) {
      this.credit -= Buffer.byteLength(this.waiting[0]);
      socket.write(this.waiting.shift());
    }
    if (this.credit > 0) this.room.splice(0).forEach((go) => go());
  }

  hasRoom = () => (this.credit > 0 ? undefined : new Promise((go) => this.room.push(go)));

  // Code that runs cannot be ended from outside in JavaScript: it is told, and the next turn waits for its end.
  cancel() {
    this.context?.cancel();
    this.waiting.length = 0; // it belongs to what nobody wants any more
    this.room.splice(0).forEach((go) => go());
  }
}

// What the agent gets as its second argument.
class Context {
  #session;
  #turn;
  #questions = [];
  cancelled = false;
  answer = undefined; // what the agent has sent as its answer by itself

  constructor(session, { turn, metadata }) {
    [this.#session, this.#turn] = [session, turn];
    Object.assign(this, { metadata, sessionId: session.id, params: session.params, history: [...session.history] });
  }

  cancel() {
    this.cancelled = true;
    this.#questions.forEach((fail) => fail(new Error("cancelled")));
  }

  // To be awaited, to wait for a client that reads slowly.
  emit(event, content = "", metadata = {}, step_id = null) {
    if (this.cancelled) return undefined;
    if (event === "agent.final_answer") this.answer = content;
    this.#session.send({ type: "emit", turn: this.#turn, event, step_id, content, metadata });
    return this.#session.hasRoom();
  }

  confirm(text, options = []) {
    return new Promise((resolve, reject) => {
      const step = `confirm_${this.#turn}_${this.#questions.push(reject)}`;
      this.#session.questions.set(step, resolve);
      this.emit("agent.user_confirm", text, { options }, step);
    });
  }
}

async function answer(session, context, { turn, content }) {
  const { agent } = session;
  const result = await (agent.stream ?? agent.run ?? agent).call(agent, content, context);
  if (typeof result?.next !== "function") return String(result ?? "");
  let [text, length] = ["", 0];
  for await (const piece of result) {
    if (context.cancelled) break;
    [text, length] = [text + piece, length + [...String(piece)].length];
    session.send({ type: "partial", turn, length, content: String(piece) });
    await session.hasRoom();
  }
  return text;
}

async function run(session, context, line) {
  if (context.cancelled) return;
  try {
    const text = await answer(session, context, line);
    if (context.cancelled) return;
    const content = context.answer ?? text;
    session.history.push({ role: "user", content: line.content }, { role: "assistant", content });
    session.send({ type: "final", turn: line.turn, quiet: context.answer !== undefined, content });
  } catch (error) {
    if (context.cancelled) return;
    console.error(error);
    session.send({ type: "failed", turn: line.turn, content: say(error) });
  }
}

async function open(session) {
  try {
    session.agent = module.createAgent ? await module.createAgent(session.params ?? {}) : module.agent;
    write({ type: "opened", session: session.number, name: session.agent.name || name });
  } catch (error) {
    session.agent = () => Promise.reject(error); // so every turn fails with it
    write({ type: "open_failed", session: session.number, content: say(error) });
  }
}

// What is not here needs no answer, like `start`, the first line.
const handlers = {
  open(line) {
    sessions.set(line.session, new Session(line));
    sessions.get(line.session).busy = open(sessions.get(line.session));
  },
  turn(line) {
    const session = sessions.get(line.session);
    const context = (session.context = new Context(session, line));
    session.busy = session.busy.then(() => run(session, context, line));
  },
  cancel({ session, turn }) {
    sessions.get(session)?.cancel();
    // Its newest turn is the one that was cancelled: when that has really ended, the session may go elsewhere.
    Promise.resolve(sessions.get(session)?.busy).then(() => write({ type: "ended", session, turn }));
  },
  answer: (line) => sessions.get(line.session)?.questions.get(line.step_id)?.(line.content),
  credit(line) {
    const session = sessions.get(line.session);
    if (session) session.credit += line.bytes;
    session?.flush();
  },
  close(line) {
    sessions.get(line.session)?.cancel();
    sessions.delete(line.session);
  },
  ping: (line) => write({ type: "pong", number: line.number }),
  end: () => process.exit(0),
};

function serve() {
  let rest = "";
  // Only a line feed ends a line; other separators, which node:readline would take for one, may be in the texts.
  socket.setEncoding("utf8").on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    lines.map((text) => JSON.parse(text)).forEach((line) => handlers[line.type]?.(line));
  });
  socket.on("close", () => process.exit(0)); // the host is gone
  process.on("unhandledRejection", console.error); // of one session: no reason to end the others
}

const name = basename(file).replace(/\.[^.]*$/, "");
let module;
try {
  process.chdir(dirname(file));
  module = await import(pathToFileURL(file));
  if (!module.createAgent && !module.agent) throw new Error("no agent in it: export agent or createAgent()");
  const per_session = Boolean(module.createAgent);
  write({ type: "ready", protocol: PROTOCOL, name: module.agent?.name || name, pid: process.pid, per_session, context: true, ended: true });
  serve();
} catch (error) {
  socket.end(JSON.stringify({ type: "load_failed", message: say(error) }) + "\n", () => process.exit(1));
}
