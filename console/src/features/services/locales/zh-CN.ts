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
}

export default texts
