import path from 'node:path'
import { Clients } from './clients'
import { repository, type Manager } from './manager'
import { until } from './until'

export const agent = (name: string) => path.join(repository, 'agents', name)

/** A fleet as somebody might have it: busy services, one that is stopped, one that is broken, rules, conversations. */
export async function livelyFleet(manager: Manager): Promise<Clients> {
  const file = (name: string, agentFile: string, ...more: string[]) =>
    manager.cli('register', name, agent(agentFile), '--quiet', ...more)
  file('weather', 'weather_agent.py', '--replicas', '2', '--tags', 'public,demo', '--description', 'Tells the weather of any city')
  file('janitor', 'tools_agent.py', '--tags', 'internal', '--description', 'Looks after the disk, and asks before it deletes')
  file('echo', 'echo_agent.py', '--tags', 'demo', '--max-sessions', '40')
  file('archive', 'echo_agent.py', '--tags', 'internal', '--description', 'Only needed at the end of the month')
  manager.cli('register', 'counter', '--quiet', '--tags', 'public', '--', 'node', agent('counter_server.mjs'))
  manager.cli('register', 'billing', '--quiet', '--tags', 'internal', '--set', 'max_restart_count=0', '--', '/bin/sh', '-c',
    'echo "reading billing.toml"; echo "billing: BILLING_KEY is not set" >&2; exit 3')
  manager.cli('start', '--quiet', 'weather', 'janitor', 'echo', 'counter')
  await manager.api('POST', 'services/billing/start?wait=false')
  manager.cli('route', 'add', 'vip', '--quiet', '--priority', '10', '--when', 'header.x-tier equals gold', '--to', 'weather', '--strategy', 'least_connections')
  manager.cli('route', 'add', 'office', '--quiet', '--priority', '50', '--when', 'client_ip ip_in_range 10.0.0.0/8', '--to-tag', 'internal')
  manager.cli('route', 'add', 'demo', '--quiet', '--priority', '90', '--when', 'query.demo exists', '--to-tag', 'demo')
  await until(async () => (await manager.api<{ status: string }>('GET', 'services/billing')).status === 'error', 'billing has failed')

  const clients = new Clients()
  await clients.connect(`${manager.proxy}/s/counter/`, 8)
  await clients.connect(`${manager.proxy}/?demo=1`, 12)
  await clients.connect(`${manager.proxy}/`, 6, { 'x-tier': 'gold' })
  await clients.ask('Is it warmer in Paris or in Tokyo?', 6)
  return clients
}
