import type en from './settings.en'

const texts: typeof en = {
  auto_restart: '实例退出后是否自动重启',
  busy_max: '有未回答的消息或近期输出时视为忙碌的秒数；忙碌时检查失败不会重启',
  cpu_limit_percent: '实例的 CPU 上限，单核百分比',
  drain_timeout: '实例被替换或移除时，进行中的回答最多还能持续的秒数',
  health_check_enabled: '是否检查健康状况',
  health_check_interval: '两次检查之间的秒数',
  health_check_timeout: '一次检查最多用时（秒）',
  journal_max_mb: '每个实例保存会话可用的磁盘空间（MiB）；0：重启后不保留会话',
  log_files: '每个实例保留的日志文件数',
  log_max_mb: '日志文件轮换的大小（MiB）',
  max_detached_sessions: '最多保留多少个没有连接的会话；最久未用的先清除',
  max_message_kb: '客户端可发送的最大消息（KiB）',
  max_restart_count: '连续重启多少次后视为出错',
  max_sessions: '每个实例的名额；0：不限',
  memory_limit_mb: '实例的内存上限（MiB）；超出则被终止',
  ready: '接入客户端之前必须通过的检查：ws、ws:/path、tcp、http:/path 或 log:REGEX',
  restart_delay: '首次重启前等待的秒数；之后每次加倍，最多 60',
  retry_in_error: '出错的实例是否每 5 分钟重试一次',
  session_timeout: '会话在没有连接时保留的秒数',
  slow_client_timeout: '客户端不接收数据多少秒后被断开',
  start_timeout: '启动最多用时（秒）',
  stop_grace: '强制终止前留给实例自行退出的秒数',
  weight: '分配新连接时相对于其他实例的比例',
}

export default texts
