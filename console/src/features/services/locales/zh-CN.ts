import type en from './en'
import form from './form.zh-CN'
import settings from './settings.zh-CN'

const texts: typeof en = {
  title: '服务',
  text: '在此运行的内容：注册代理、启动它并查看其状况。',
  register: '注册服务',
  empty: '注册您的第一个服务',
  emptyHint: '服务是一个保持运行、受到监控、并通过同一地址访问的代理。有三种方式可以创建服务。',
  nothingFound: '没有匹配的服务',
  nothingFoundHint: '请更改搜索或筛选条件。',
  clearFilters: '清除搜索和筛选',
  found: '未找到服务 | 找到 1 个服务 | 找到 {n} 个服务',
  columns: {
    name: '名称', status: '状态', instances: '实例', connections: '连接', memory: '内存', cpu: 'CPU', restarts: '重启', started: '启动时间',
    actions: '操作',
  },
  filters: { search: '搜索名称、标签或来源', status: '状态', tag: '标签', sort: '排序' },
  sortedBy: '按{column}',
  select: '选择 {name}',
  onlyTag: '仅显示带有标签 {tag} 的服务',
  startOf: '启动 {name}',
  stopOf: '停止 {name}',
  restartRequiredOf: '{name}：需要重启。立即重启',
  restartRequired: '需要重启',
  restartRequiredHint: '启动后配置已更改。重启后将使用新设置运行。',
  copyCommand: '复制命令：{kind}',
  kinds: {
    file: {
      short: '代理文件', title: '代理文件', register: '注册文件',
      text: '包含代理的文件，使用 Python 或自带的工作程序运行。会话在崩溃和重启后仍然保留。',
    },
    command: {
      short: '命令', title: '命令', register: '注册命令',
      text: '任何语言编写的程序，在 $PORT 上打开 WebSocket 服务器。由管理器启动、监控和重启。',
    },
    external: {
      short: '外部服务', title: '外部服务', register: '注册端点',
      text: '已在别处运行的 WebSocket 端点。管理器检查它并路由连接，但从不启动或停止它。',
    },
  },
  actions: {
    start: '启动', stop: '停止', restart: '重启', scale: '扩缩容', remove: '删除', edit: '编辑', open: '打开', try: '试用',
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
  bulk: {
    title: '所选服务',
    start: '启动', stop: '停止', restart: '重启', delete: '删除', clear: '清除选择',
    namesAndMore: '{names} 以及另外 {more} 个',
    problems: '{n} 个服务无法更改',
    ask: { stop: '停止 {n} 个服务？', restart: '重启 {n} 个服务？', delete: '删除 {n} 个服务？' },
    did: { start: '已开始启动 {n} 个服务', stop: '正在停止 {n} 个服务', restart: '正在重启 {n} 个服务', delete: '已删除 {n} 个服务' },
  },
  form,
  settings,
}

export default texts
