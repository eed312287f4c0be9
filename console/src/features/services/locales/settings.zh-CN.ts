import type en from './settings.en'

/** 服务各项设置的名称和含义，与 docs/reference/settings.md 一致。 */
const texts: typeof en = {
  max_sessions: { label: '每个实例的名额', help: '打开的连接，以及有正在运行轮次的脱离会话；0：无限制。' },
  weight: { label: '权重', help: '相对于其他实例的新连接份额。' },
  memory_limit_mb: { label: '内存限制', help: '整个进程树的内存；超出后进程树会被终止，原因为 oom。' },
  cpu_limit_percent: { label: 'CPU 限制', help: '整个进程树的处理器时间，占单核的百分比。' },
  session_timeout: { label: '会话超时', help: '代理文件的会话在没有连接时保留多久。' },
  max_detached_sessions: { label: '脱离会话数', help: '代理文件没有连接的会话的最大数量；最久未使用的先移除。' },
  max_message_kb: { label: '最大消息', help: '代理文件的客户端可发送的最大消息。' },
  slow_client_timeout: { label: '慢客户端超时', help: '客户端在这段时间内没有接收任何数据则被断开，代码为 1013 slow_client。' },
  ready: { label: '就绪检查', help: '客户端接入前必须成功的检查：ws、ws:/path、tcp、http:/path 或 log:REGEX。' },
  start_timeout: { label: '启动超时', help: '启动最多可用的时间。' },
  health_check_enabled: { label: '检查健康', help: '检查失败的实例不再接收客户端，空闲时会被重启。' },
  health_check_interval: { label: '检查间隔', help: '上下浮动 10 %。' },
  health_check_timeout: { label: '检查超时', help: '一次检查最多可用的时间。' },
  busy_max: { label: '最长忙碌时间', help: '在这段时间内，未答复的消息或最近的输出会使实例视为忙碌：检查失败也不会重启它。' },
  auto_restart: { label: '重启已结束的代理', help: '代理结束后会再次启动。' },
  max_restart_count: { label: '连续重启次数', help: '超过后进入错误状态；健康 60 秒后重新计数。' },
  restart_delay: { label: '重启延迟', help: '第一次重启前的时间；每次加倍，±25 %，最多 60。' },
  retry_in_error: { label: '错误时重试', help: '处于错误状态的实例每 300 秒重试一次。' },
  stop_grace: { label: '停止宽限期', help: 'TERM 与 KILL 之间的时间。' },
  drain_timeout: { label: '排空超时', help: '滚动重启替换或缩容移除的实例中，正在进行的回答最多还可持续多久。' },
  log_max_mb: { label: '日志文件大小', help: '日志文件达到此大小时轮换。' },
  log_files: { label: '日志文件数', help: '每个实例保留的日志文件数。' },
  journal_max_mb: { label: '会话日志大小', help: '代理文件的实例最多在磁盘上保留的会话数据；0：不保留，会话不会在进程结束后存续。' },
}

export default texts
