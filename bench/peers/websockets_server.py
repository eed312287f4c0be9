"""What one writes when there is no host for agents: a server on the `websockets` library, for one agent file.

It speaks the same events, and knows nothing of resuming, cancelling, waiting messages, slow clients or a lost process.
"""

import asyncio
import json
import runpy
import sys
import uuid
from datetime import datetime, timezone

from websockets.asyncio.server import serve

agent = runpy.run_path(sys.argv[1])["agent"]
sessions = {}


async def client(socket):
    connection_id = str(uuid.uuid4())

    async def send(event, content, session_id=None, **metadata):
        message = {"event": event, "timestamp": datetime.now(timezone.utc).isoformat(), "content": content, "metadata": metadata,
                   "connection_id": connection_id}
        if session_id is not None:
            sessions[session_id] += 1
            message |= {"session_id": session_id, "seq": sessions[session_id], "event_id": f"{session_id}-{sessions[session_id]}"}
        await socket.send(json.dumps(message))

    await send("system.connected", "Connected", connection_id=connection_id)
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "user.create_session":
            session_id = str(uuid.uuid4())
            sessions[session_id] = 0
            await send("agent.session_created", "session created", session_id, agent_name=agent.name)
        elif message["event"] == "user.message":
            session_id, answer = message["session_id"], ""
            if hasattr(agent, "astream"):
                async for piece in agent.astream(message["content"]):
                    answer += piece
                    await send("agent.partial_answer", piece, session_id, is_streaming=True, is_final=False, total_length=len(answer))
            else:
                answer = await agent.arun(message["content"])
            await send("agent.final_answer", answer, session_id, is_streaming=False, is_final=True)


async def main():
    async with serve(client, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
