export default {
  title: 'Dashboard',
  running: 'Running',
  connections: 'Connections',
}
