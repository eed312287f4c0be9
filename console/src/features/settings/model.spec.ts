import { expect, it } from 'vitest'
import type { Finding } from '@/api/schema.gen'
import { configFile, levelTones, links, listenersOf, scrapeConfig, sorted } from './model'

const finding = (check: string, level: Finding['level']): Finding => ({ check, level, message: '' })

it('findings begin with the worst, those that are well are apart, each in their order', () => {
  const { bad, well } = sorted([finding('a', 'ok'), finding('b', 'warning'), finding('c', 'broken'), finding('d', 'ok'), finding('e', 'warning')])
  expect(bad.map(({ check }) => check)).toEqual(['c', 'b', 'e'])
  expect(well.map(({ check }) => check)).toEqual(['a', 'd'])
  expect(levelTones).toEqual({ ok: 'good', warning: 'warn', broken: 'bad' })
})

it('listeners are addresses that somebody can use', () =>
  expect(listenersOf({ listeners: { proxy: ['127.0.0.1:9090', '[::1]:9090'], api: ['127.0.0.1:8080'], other: ['x'] } })).toEqual([
    { kind: 'api', url: 'http://127.0.0.1:8080' },
    { kind: 'other', url: 'other://x' },
    { kind: 'proxy', url: 'ws://127.0.0.1:9090' },
    { kind: 'proxy', url: 'ws://[::1]:9090' },
  ]))

it('settings are in the data directory', () => {
  expect(configFile({ data_dir: '/var/lib/myagent' })).toBe('/var/lib/myagent/config.toml')
  expect(configFile({ data_dir: '/var/lib/myagent/' })).toBe('/var/lib/myagent/config.toml')
})

it('Prometheus asks where this page came from', () => expect(scrapeConfig('127.0.0.1:8080')).toContain('targets: ["127.0.0.1:8080"]'))

it('links lead to what the manager itself serves', () => expect(links.every(({ href }) => href.startsWith('/'))).toBe(true))
