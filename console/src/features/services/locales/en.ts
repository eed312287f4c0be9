export default {
  title: 'Services',
  text: 'What runs here: register an agent, start it, and see how it does.',
  empty: 'No service yet',
  emptyHint: 'A service is an agent that is kept running: a Python agent file, a command that opens a WebSocket server, or an endpoint that runs elsewhere.',
  nothingFound: 'No service matches',
  nothingFoundHint: 'Change the search or the filters.',
  columns: { name: 'Name', status: 'State', instances: 'Instances', connections: 'Connections', memory: 'Memory', cpu: 'CPU', restarts: 'Restarts', started: 'Started' },
  filters: { search: 'Search name, tag or source', status: 'State', tag: 'Tag' },
}
