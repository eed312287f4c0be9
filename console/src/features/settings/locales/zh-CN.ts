import type en from './en'

const texts: typeof en = {
  title: '设置',
}

export default texts
