#!/usr/bin/env python3
"""The life of a service, driven through a client that was generated from the OpenAPI document (openapi-python-client):
create, start, connect, rule, statistics, disconnect, stop, delete. Arguments: address of the API, of the proxy, program of an agent
that echoes. The generated package is found on PYTHONPATH."""

import asyncio
import sys

import websockets
from my_agent_manager_client import Client
from my_agent_manager_client.api.connections import disconnect_connection, get_connection_stats, list_connections
from my_agent_manager_client.api.events import list_events
from my_agent_manager_client.api.routing import create_rule, explain_routing
from my_agent_manager_client.api.services import create_service, delete_service, get_service, start_service, stop_service
from my_agent_manager_client.api.statistics import get_service_stats
from my_agent_manager_client import models as m


def check(what, holds):
    if not holds:
        sys.exit(f"{what} does not hold")
    print(f"ok: {what}", flush=True)


async def main(api, proxy, program):
    client = Client(base_url=f"http://{api}", raise_on_unexpected_status=True)

    new = m.NewService.from_dict({"name": "echo", "source": {"kind": "command", "argv": [program, "--echo"]}, "tags": ["chat"]})
    made = await create_service.asyncio(client=client, body=new)
    check("it is created", isinstance(made, m.ServiceView) and made.name == "echo" and made.version == 1)
    again = await create_service.asyncio(client=client, body=new)
    check("a second one is refused with a code", isinstance(again, m.ProblemDocument) and again.code == m.Code.SERVICE_ALREADY_EXISTS)

    started = await start_service.asyncio("echo", client=client)
    check("it is started", isinstance(started, m.ServiceView) and started.status == m.InstanceState.RUNNING)

    rule = await create_rule.asyncio(client=client, body=m.NewRule.from_dict({
        "name": "chat", "target_tags": ["chat"], "conditions": [{"field": "path", "operator": "starts_with", "value": "/talk"}]}))
    check("a rule is made", isinstance(rule, m.RuleView) and rule.to_dict()["name"] == "chat")
    why = await explain_routing.asyncio(client=client, body=m.ExplainRequest.from_dict({"path": "/talk/x"}))
    check("it is explained", why.outcome == m.Outcome.GO and why.rule == "chat" and why.service == "echo")

    async with websockets.connect(f"ws://{proxy}/talk/x", compression=None) as socket:
        await socket.send("hello")
        check("a client talks to it", await socket.recv() == "hello")

        async def connection():
            while True:
                page = await list_connections.asyncio(client=client, service="echo")
                if page.total == 1 and page.items[0].message_count == 2:
                    return page.items[0]
                await asyncio.sleep(0.05)

        seen = await asyncio.wait_for(connection(), 30)
        check("its connection is listed, with its rule", seen.rule == "chat" and seen.instance == "echo-0")
        stats = await get_connection_stats.asyncio(client=client)
        check("and counted", stats.total_connections == 1)
        numbers = await get_service_stats.asyncio("echo", client=client)
        counted = numbers.to_dict()
        check("messages are counted", (counted["messages_in"], counted["messages_out"], counted["active_connections"]) == (1, 1, 1))
        done = await disconnect_connection.asyncio(str(seen.connection_id), client=client,
                                                   body=m.DisconnectBody.from_dict({"reason": "enough", "code": 4001}))
        check("it is disconnected", done.closed and done.code == 4001)
        try:
            await asyncio.wait_for(socket.recv(), 30)
            check("the client is told", False)
        except websockets.ConnectionClosed as end:
            check("the client is told", (end.rcvd.code, end.rcvd.reason) == (4001, "enough"))

    stopped = await stop_service.asyncio("echo", client=client)
    check("it is stopped", stopped.status == m.InstanceState.STOPPED)
    await delete_service.asyncio_detailed("echo", client=client)
    gone = await get_service.asyncio("echo", client=client)
    check("it is deleted", isinstance(gone, m.ProblemDocument) and gone.code == m.Code.SERVICE_NOT_FOUND)
    events = await list_events.asyncio(client=client)
    kinds = [event.kind for event in events.items]
    wanted = ["service.registered", "service.start", "rule.created", "connection.disconnect", "service.stop", "service.unregistered"]
    check("all of it is in the events", [kind for kind in kinds if kind in wanted] == wanted)


asyncio.run(main(*sys.argv[1:]))
