import type en from './en'

const texts: typeof en = {
  title: '仪表盘',
  running: '运行中',
  connections: '连接',
}

export default texts
