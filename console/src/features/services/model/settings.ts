/** The settings of a service as the form shows them. What they are is checked against the API's document by the tests. */
import type { ServiceConfig } from '@/api/schema.gen'

export type SettingKey = keyof ServiceConfig
export type SettingSection = 'limits' | 'health' | 'restart' | 'logs'
/** Texts of units are `services.form.units.<unit>`. */
export type Unit = 'seconds' | 'mib' | 'kib' | 'percent' | 'none'

interface Base {
  key: SettingKey
  section: SettingSection
  unit: Unit
  /** What runs goes on with the old value until it is restarted. */
  restart: boolean
}
export interface NumberSetting extends Base {
  type: 'number'
  initial: number | null
  min: number
  max: number
  whole: boolean
}
export type Setting = NumberSetting | (Base & { type: 'flag'; initial: boolean }) | (Base & { type: 'text'; initial: string })

type Rest = { unit?: Unit; live?: boolean; whole?: boolean }

const number = (key: SettingKey, section: SettingSection, initial: number | null, min: number, max: number, rest: Rest = {}): Setting => ({
  key, section, type: 'number', initial, min, max, unit: rest.unit ?? 'none', restart: !rest.live, whole: rest.whole ?? rest.unit !== 'seconds',
})
const flag = (key: SettingKey, section: SettingSection, initial: boolean, live = false): Setting => ({
  key, section, type: 'flag', initial, unit: 'none', restart: !live,
})

const seconds: Rest = { unit: 'seconds' }
const secondsAtOnce: Rest = { unit: 'seconds', live: true }

/** In the order in which they are shown. */
export const settings: readonly Setting[] = [
  number('max_sessions', 'limits', 0, 0, 1_000_000),
  number('weight', 'limits', 1, 1, 1000, { live: true }),
  number('memory_limit_mb', 'limits', null, 8, 16_777_216, { unit: 'mib' }),
  number('cpu_limit_percent', 'limits', null, 1, 100_000, { unit: 'percent' }),
  number('session_timeout', 'limits', 1800, 1, 2_592_000, seconds),
  number('max_detached_sessions', 'limits', 1000, 0, 1_000_000),
  number('max_message_kb', 'limits', 1024, 1, 65_536, { unit: 'kib' }),
  number('slow_client_timeout', 'limits', 30, 1, 3600, seconds),
  { key: 'ready', section: 'health', type: 'text', initial: 'ws', unit: 'none', restart: true },
  number('start_timeout', 'health', 60, 0.1, 3600, secondsAtOnce),
  flag('health_check_enabled', 'health', true, true),
  number('health_check_interval', 'health', 10, 0.1, 3600, secondsAtOnce),
  number('health_check_timeout', 'health', 5, 0.1, 300, secondsAtOnce),
  number('busy_max', 'health', 1800, 0, 86_400, seconds),
  flag('auto_restart', 'restart', true),
  number('max_restart_count', 'restart', 3, 0, 1000),
  number('restart_delay', 'restart', 1, 0.1, 60, seconds),
  flag('retry_in_error', 'restart', true, true),
  number('stop_grace', 'restart', 10, 0, 3600, seconds),
  number('drain_timeout', 'restart', 300, 0, 86_400, secondsAtOnce),
  number('log_max_mb', 'logs', 10, 1, 10_240, { unit: 'mib' }),
  number('log_files', 'logs', 5, 1, 100),
  number('journal_max_mb', 'logs', 256, 0, 65_536, { unit: 'mib' }),
]

export const sections: readonly SettingSection[] = ['limits', 'health', 'restart', 'logs']

export const settingsOf = (section: SettingSection) => settings.filter((setting) => setting.section === section)

/** The unit of a setting's number; none: it has none, or the setting is not known here. */
export function unitOf(key: string): Exclude<Unit, 'none'> | undefined {
  const unit = settings.find((setting) => setting.key === key)?.unit ?? 'none'
  return unit === 'none' ? undefined : unit
}

export type SettingValue = number | boolean | string | null

/** What a field's text means; nothing is the default. `undefined`: it means nothing, `wrongNumber` says why. */
export function settingValue(setting: Setting, text: string | boolean): SettingValue | undefined {
  if (typeof text === 'boolean') return text
  const trimmed = text.trim()
  if (trimmed === '') return setting.initial
  if (setting.type !== 'number') return trimmed
  return wrongNumber(setting, trimmed) ? undefined : Number(trimmed)
}

/** Whether `text` is no number, or one out of range. */
export function wrongNumber(setting: NumberSetting, text: string): boolean {
  const value = Number(text)
  return !Number.isFinite(value) || (setting.whole && !Number.isInteger(value)) || value < setting.min || value > setting.max
}
