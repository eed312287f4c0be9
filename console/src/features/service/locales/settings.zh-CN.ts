import type en from './settings.en'

const texts: typeof en = {
  auto_restart: '代理结束后是否重新启动',
  busy_max: '未回答的消息或最近的输出使实例视为忙碌的秒数；忙碌时检查失败不会导致重启',
  cpu_limit_percent: '其所有进程的处理器时间上限，单核百分比',
  drain_timeout: '实例被替换或移除时，正在进行的回答还可用的秒数',
  health_check_enabled: '是否检查健康状况',
  health_check_interval: '两次检查之间的秒数',
  health_check_timeout: '一次检查最多用时（秒）',
  journal_max_mb: '每个实例在磁盘上保存会话的 MiB 数；0：会话不会在进程结束后保留',
  log_files: '每个实例保留的日志文件数',
  log_max_mb: '日志文件轮换的大小（MiB）',
  max_detached_sessions: '没有连接的会话最多数量；最久未使用的先移除',
  max_message_kb: '客户端消息的最大长度（KiB）',
  max_restart_count: '连续重启多少次后视为错误',
  max_sessions: '每个实例的名额；0：不限',
  memory_limit_mb: '其所有进程的内存上限（MiB）；超过则被终止',
  ready: '接纳客户端之前必须成功的检查：ws、ws:/path、tcp、http:/path 或 log:REGEX',
  restart_delay: '首次重启前等待的秒数；之后每次加倍，最多 60',
  retry_in_error: '出错的实例是否每 5 分钟重试一次',
  session_timeout: '会话在没有连接时保留的秒数',
  slow_client_timeout: '客户端不接收数据多少秒后被断开',
  start_timeout: '启动最多用时（秒）',
  stop_grace: '强制终止之前留给它自行结束的秒数',
  weight: '相对于其他实例的新连接份额',
}

export default texts
