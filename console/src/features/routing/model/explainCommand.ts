/** The command that asks what the simulator asks. Pure. */
import type { ExplainRequest } from '@/api/schema.gen'
import { quote } from './cli'

export function explainCommand({ path, client_ip, client_port, headers }: ExplainRequest): string {
  const lines = [`myagent-manager route explain${path === '/' ? '' : ` ${quote(path)}`}`]
  if (client_ip !== '' && client_ip !== '127.0.0.1') lines.push(`--ip ${quote(client_ip)}`)
  if (client_port > 0) lines.push(`--port ${client_port}`)
  for (const [name, value] of Object.entries(headers)) lines.push(`--header ${quote(`${name}: ${value}`)}`)
  return lines.join(' \\\n  ')
}
