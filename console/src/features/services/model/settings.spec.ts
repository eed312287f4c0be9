import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { settings, settingsOf, settingValue, sections, unitOf, wrongNumber, type NumberSetting } from './settings'

interface Property {
  type: string | string[]
  default: unknown
  minimum?: number
  maximum?: number
}
const root = path.resolve(import.meta.dirname, '../../../../..')
const document = JSON.parse(readFileSync(path.join(root, 'docs/reference/openapi.json'), 'utf8')) as {
  components: { schemas: { ServiceConfig: { properties: Record<string, Property> } } }
}
const properties = document.components.schemas.ServiceConfig.properties
const table = readFileSync(path.join(root, 'docs/reference/settings.md'), 'utf8')

describe('settings', () => {
  it('are those of the API, each once', () => {
    expect(settings.map((setting) => setting.key).sort()).toEqual(Object.keys(properties).sort())
    expect(sections.flatMap((section) => settingsOf(section))).toHaveLength(settings.length)
  })
  it('have units that are told, or none', () => {
    expect([unitOf('stop_grace'), unitOf('memory_limit_mb'), unitOf('log_files'), unitOf('constructor')]).toEqual(['seconds', 'mib', undefined, undefined])
  })
  it.each(settings)('$key has the default and the range of the API', (setting) => {
    const property = properties[setting.key]
    expect(setting.initial).toEqual(property?.default ?? null)
    if (setting.type !== 'number') return
    expect([setting.min, setting.max]).toEqual([property?.minimum, property?.maximum])
    expect(setting.whole).toBe([property?.type].flat().includes('integer'))
  })
  it.each(settings)('$key needs a restart if the reference says so', (setting) => {
    const row = table.split('\n').find((line) => line.startsWith(`| \`${setting.key}\` |`))
    expect(row?.split('|')[4]?.trim()).toBe(setting.restart ? 'yes' : 'no')
  })
})

describe('values of fields', () => {
  const grace = settings.find((setting) => setting.key === 'stop_grace') as NumberSetting
  const sessions = settings.find((setting) => setting.key === 'max_sessions') as NumberSetting
  it('are the default if nothing is written', () => expect(settingValue(grace, ' ')).toBe(10))
  it('are numbers', () => expect(settingValue(grace, ' 2.5 ')).toBe(2.5))
  it.each([[sessions, '2.5'], [sessions, '-1'], [sessions, 'many'], [grace, '3601']] as const)('%s of %s mean nothing', (setting, text) => {
    expect(settingValue(setting, text)).toBeUndefined()
    expect(wrongNumber(setting, text)).toBe(true)
  })
  it('may be text and flags', () => {
    expect(settingValue(settings.find((setting) => setting.key === 'ready') ?? grace, 'tcp')).toBe('tcp')
    expect(settingValue(grace, false)).toBe(false)
  })
})
