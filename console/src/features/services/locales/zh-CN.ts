import type en from './en'
import form from './form.zh-CN'
import settings from './settings.zh-CN'

const texts: typeof en = {
  title: '服务',
  text: '由管理器运行或转发的全部服务。在这里注册、启动智能体并查看运行情况。',
  register: '注册服务',
  empty: '注册您的第一个服务',
  emptyHint: '服务就是一个智能体：管理器负责让它持续运行、监控状态，并提供统一的访问地址。共有三种类型。',
  nothingFound: '没有匹配的服务',
  nothingFoundHint: '请更改搜索或筛选条件。',
  clearFilters: '清除筛选',
  found: '未找到服务 | 找到 1 个服务 | 找到 {n} 个服务',
  columns: {
    name: '名称', status: '状态', instances: '实例', connections: '连接', memory: '内存', cpu: 'CPU', restarts: '重启次数', started: '启动时间',
    actions: '操作',
  },
  filters: { search: '搜索名称、标签或来源', status: '状态', tag: '标签', sort: '排序' },
  sortedBy: '按{column}排序',
  select: '选择 {name}',
  onlyTag: '仅显示带有标签 {tag} 的服务',
  startOf: '启动 {name}',
  stopOf: '停止 {name}',
  restartRequiredOf: '{name}：需要重启。立即重启',
  restartRequired: '需要重启',
  restartRequiredHint: '启动后配置有变更，重启后生效。',
  copyCommand: '复制命令：{kind}',
  kinds: {
    file: {
      short: '智能体文件', title: '智能体文件', register: '注册文件',
      text: '定义了智能体的 Python 文件，或由工作程序运行的其他文件。崩溃或重启后会话不丢失。',
    },
    command: {
      short: '命令', title: '命令', register: '注册命令',
      text: '任何语言编写、在 $PORT 上提供 WebSocket 服务的程序，由管理器启动、监控和重启。',
    },
    external: {
      short: '外部服务', title: '外部服务', register: '注册端点',
      text: '已在别处运行的 WebSocket 端点。管理器只做健康检查和路由，不会启动或停止它。',
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
    connections: '将断开 {n} 个连接。',
    scaleText: '被移除实例上的连接会尽可能迁移到其他实例，无法迁移的将被断开。',
    removeText: '注册信息、密钥、日志、会话和统计数据都会删除。智能体本身（文件或程序）不受影响。',
  },
  bulk: {
    title: '所选服务',
    start: '启动', stop: '停止', restart: '重启', delete: '删除', clear: '清除选择',
    namesAndMore: '{names} 等（另有 {more} 个）',
    problems: '{n} 个服务操作失败',
    ask: { stop: '停止 {n} 个服务？', restart: '重启 {n} 个服务？', delete: '删除 {n} 个服务？' },
    did: { start: '正在启动 {n} 个服务', stop: '正在停止 {n} 个服务', restart: '正在重启 {n} 个服务', delete: '已删除 {n} 个服务' },
  },
  form,
  settings,
}

export default texts
