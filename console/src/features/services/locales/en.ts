import form from './form.en'
import settings from './settings.en'

export default {
  title: 'Services',
  text: 'Everything this manager runs or routes to. Register an agent, start it, and see how it is doing.',
  register: 'Register a service',
  empty: 'Register your first service',
  emptyHint: 'A service is an agent that the manager keeps running, monitors, and puts behind one address. There are three kinds.',
  nothingFound: 'No service matches',
  nothingFoundHint: 'Change the search or the filters.',
  clearFilters: 'Clear filters',
  found: 'No service found | One service found | {n} services found',
  columns: {
    name: 'Name', status: 'State', instances: 'Instances', connections: 'Connections', memory: 'Memory', cpu: 'CPU', restarts: 'Restarts', started: 'Started',
    actions: 'Actions',
  },
  filters: { search: 'Search name, tag or source', status: 'State', tag: 'Tag', sort: 'Sort order' },
  sortedBy: 'Sort by {column}',
  select: 'Select {name}',
  onlyTag: 'Only services with the tag {tag}',
  startOf: 'Start {name}',
  stopOf: 'Stop {name}',
  restartRequiredOf: '{name}: restart required. Restart now',
  restartRequired: 'restart required',
  restartRequiredHint: 'Its settings changed after it started. Restart it to apply them.',
  copyCommand: 'Copy the command: {kind}',
  kinds: {
    file: {
      short: 'agent file', title: 'Agent file', register: 'Register a file',
      text: 'A Python file that defines an agent, or any file with a worker program to run it. Sessions survive crashes and restarts.',
    },
    command: {
      short: 'command', title: 'Command', register: 'Register a command',
      text: 'A program in any language that serves a WebSocket on $PORT. The manager starts, monitors and restarts it.',
    },
    external: {
      short: 'external', title: 'External service', register: 'Register an endpoint',
      text: 'A WebSocket endpoint that already runs elsewhere. The manager checks it and routes to it, but never starts or stops it.',
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
    scale: '{name} was scaled',
    remove: '{name} was deleted',
    failed: '{name}: {why}',
  },
  ask: {
    stop: 'Stop {name}?',
    restart: 'Restart {name}?',
    scale: 'Remove instances of {name}?',
    remove: 'Delete {name}?',
    connections: 'One open connection will be closed. | {n} open connections will be closed.',
    scaleText: 'Connections of the removed instances move to other instances where possible; the rest are closed.',
    removeText: 'Its registration, secrets, logs, sessions and statistics will be lost. The agent itself (its file or program) is kept.',
  },
  bulk: {
    title: 'Selected services',
    start: 'Start', stop: 'Stop', restart: 'Restart', delete: 'Delete', clear: 'Clear selection',
    namesAndMore: '{names} and {more} more',
    problems: 'One service could not be changed | {n} services could not be changed',
    ask: { stop: 'Stop one service? | Stop {n} services?', restart: 'Restart one service? | Restart {n} services?', delete: 'Delete one service? | Delete {n} services?' },
    did: {
      start: 'One service is starting | {n} services are starting',
      stop: 'One service is stopping | {n} services are stopping',
      restart: 'One service is restarting | {n} services are restarting',
      delete: 'One service was deleted | {n} services were deleted',
    },
  },
  form,
  settings,
}
