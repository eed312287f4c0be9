import form from './form.en'
import settings from './settings.en'

export default {
  title: 'Services',
  text: 'What runs here: register an agent, start it, and see how it does.',
  register: 'Register a service',
  empty: 'Register your first service',
  emptyHint: 'A service is an agent that is kept running, watched and reached through one address. There are three ways to have one.',
  nothingFound: 'No service matches',
  nothingFoundHint: 'Change the search or the filters.',
  clearFilters: 'Clear search and filters',
  found: 'No service found | One service found | {n} services found',
  columns: {
    name: 'Name', status: 'State', instances: 'Instances', connections: 'Connections', memory: 'Memory', cpu: 'CPU', restarts: 'Restarts', started: 'Started',
    actions: 'Actions',
  },
  filters: { search: 'Search name, tag or source', status: 'State', tag: 'Tag', sort: 'Order' },
  sortedBy: 'By {column}',
  select: 'Select {name}',
  onlyTag: 'Only services with the tag {tag}',
  startOf: 'Start {name}',
  stopOf: 'Stop {name}',
  restartRequiredOf: '{name}: restart required. Restart it now',
  restartRequired: 'restart required',
  restartRequiredHint: 'It was changed since it was started. Restart it to run with the new settings.',
  copyCommand: 'Copy the command: {kind}',
  kinds: {
    file: {
      short: 'agent file', title: 'Agent file', register: 'Register a file',
      text: 'A file with an agent in it, in Python or with a worker of its own. Sessions survive crashes and restarts.',
    },
    command: {
      short: 'command', title: 'Command', register: 'Register a command',
      text: 'A program in any language that opens a WebSocket server on $PORT. It is started, watched and restarted.',
    },
    external: {
      short: 'external', title: 'External service', register: 'Register an endpoint',
      text: 'A WebSocket endpoint that runs elsewhere already. It is checked and routed to, never started or stopped.',
    },
  },
  actions: {
    start: 'Start', stop: 'Stop', restart: 'Restart', scale: 'Scale', remove: 'Delete', edit: 'Edit', open: 'Open', try: 'Try it',
    of: 'Actions for {name}',
  },
  doing: { start: 'Starting…', stop: 'Stopping…', restart: 'Restarting…', scale: 'Scaling…', remove: 'Deleting…' },
  did: {
    start: '{name} is running',
    stop: '{name} is stopped',
    restart: '{name} was restarted',
    scale: '{name} has its new number of instances',
    remove: '{name} was deleted',
    failed: '{name}: {why}',
  },
  ask: {
    stop: 'Stop {name}?',
    restart: 'Restart {name}?',
    scale: 'Remove instances of {name}?',
    remove: 'Delete {name}?',
    connections: 'One open connection is closed. | {n} open connections are closed.',
    scaleText: 'Connections of the instances that go are moved where that can be done, and closed otherwise.',
    removeText: 'Its registration, secrets, logs, sessions and numbers are lost. The agent itself (its file or program) stays.',
  },
  bulk: {
    title: 'Selected services',
    start: 'Start', stop: 'Stop', restart: 'Restart', delete: 'Delete', clear: 'Clear selection',
    namesAndMore: '{names} and {more} more',
    problems: 'One service could not be changed | {n} services could not be changed',
    ask: { stop: 'Stop one service? | Stop {n} services?', restart: 'Restart one service? | Restart {n} services?', delete: 'Delete one service? | Delete {n} services?' },
    did: {
      start: 'The start of one service has begun | The start of {n} services has begun',
      stop: 'One service is being stopped | {n} services are being stopped',
      restart: 'One service is being restarted | {n} services are being restarted',
      delete: 'One service was deleted | {n} services were deleted',
    },
  },
  form,
  settings,
}
