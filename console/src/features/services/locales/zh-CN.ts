import type en from './en'

const texts: typeof en = {
  title: '服务',
  text: '在此运行的内容：注册代理、启动它并查看其状况。',
  empty: '还没有服务',
  emptyHint: '服务是保持运行的代理：Python 代理文件、打开 WebSocket 服务器的命令，或在别处运行的端点。',
  nothingFound: '没有匹配的服务',
  nothingFoundHint: '请更改搜索或筛选条件。',
  columns: { name: '名称', status: '状态', instances: '实例', connections: '连接', memory: '内存', cpu: 'CPU', restarts: '重启', started: '启动时间' },
  filters: { search: '搜索名称、标签或来源', status: '状态', tag: '标签' },
  actions: {
    start: '启动',
    stop: '停止',
    restart: '重启',
    scale: '扩缩容',
    remove: '删除',
    edit: '编辑',
    open: '打开',
    try: '试用',
    of: '{name} 的操作',
  },
  doing: { start: '正在启动…', stop: '正在停止…', restart: '正在重启…', scale: '正在扩缩容…', remove: '正在删除…' },
  did: {
    start: '{name} 正在运行',
    stop: '{name} 已停止',
    restart: '{name} 已重启',
    scale: '{name} 的实例数已更改',
    remove: '{name} 已删除',
    failed: '{name}：{why}',
  },
  ask: {
    stop: '停止 {name}？',
    restart: '重启 {name}？',
    scale: '移除 {name} 的实例？',
    remove: '删除 {name}？',
    connections: '将关闭 {n} 个打开的连接。',
    scaleText: '被移除实例的连接会尽可能迁移，否则将被关闭。',
    removeText: '其注册信息、密钥、日志、会话和统计数据都将丢失。代理本身（文件或程序）会保留。',
  },
}

export default texts
