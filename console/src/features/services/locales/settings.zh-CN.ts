import type en from './settings.en'

/** 服务各项设置的名称和含义，与 docs/reference/settings.md 一致。 */
const texts: typeof en = {
  max_sessions: { label: '每个实例的名额', help: '每个实例可承载的连接数（含仍在回答的离线会话）。0 表示不限。' },
  weight: { label: '权重', help: '分配新连接时相对于其他实例的比例。' },
  memory_limit_mb: { label: '内存限制', help: '实例所有进程的内存总和，超出后会被终止（原因 oom）。' },
  cpu_limit_percent: { label: 'CPU 限制', help: '实例所有进程的 CPU 总和，按单核百分比计算。' },
  session_timeout: { label: '会话超时', help: '会话在没有连接时的保留时间。仅适用于智能体文件。' },
  max_detached_sessions: { label: '离线会话数', help: '最多保留多少个没有连接的会话，最久未用的先清除。仅适用于智能体文件。' },
  max_message_kb: { label: '最大消息', help: '客户端可发送的最大消息。仅适用于智能体文件。' },
  slow_client_timeout: { label: '慢客户端超时', help: '客户端超过这段时间不接收数据，将被断开（1013 slow_client）。' },
  ready: { label: '就绪检查', help: '接入客户端之前必须通过的检查：ws、ws:/path、tcp、http:/path 或 log:REGEX。' },
  start_timeout: { label: '启动超时', help: '实例从启动到就绪的最长时间。' },
  health_check_enabled: { label: '健康检查', help: '未通过检查的实例不再接收新客户端，空闲时会被重启。' },
  health_check_interval: { label: '检查间隔', help: '两次检查的间隔，浮动 ±10%。' },
  health_check_timeout: { label: '检查超时', help: '单次检查的最长时间。' },
  busy_max: { label: '忙碌时长', help: '有未回答的消息或近期输出的实例在此时长内视为忙碌，检查失败也不会被重启。' },
  auto_restart: { label: '自动重启', help: '实例退出后自动重新启动。' },
  max_restart_count: { label: '连续重启次数', help: '达到次数后视为出错；持续健康 60 秒后重新计数。' },
  restart_delay: { label: '重启延迟', help: '首次重启前的等待时间，之后每次加倍（±25%），最长 60 秒。' },
  retry_in_error: { label: '出错后重试', help: '出错的实例每 300 秒重试一次。' },
  stop_grace: { label: '停止宽限期', help: '收到 TERM 后可自行退出的时间，之后强制终止（KILL）。' },
  drain_timeout: { label: '排空超时', help: '实例被替换或移除时，进行中的回答最多还能持续多久。' },
  log_max_mb: { label: '日志文件大小', help: '达到此大小后轮换日志文件。' },
  log_files: { label: '日志文件数', help: '每个实例保留的日志文件数。' },
  journal_max_mb: { label: '会话日志大小', help: '每个实例保存会话可用的磁盘空间。0 表示重启后不保留会话。仅适用于智能体文件。' },
}

export default texts
