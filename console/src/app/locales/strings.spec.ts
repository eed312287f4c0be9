import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse, type TemplateChildNode } from '@vue/compiler-dom'
import { describe, expect, it } from 'vitest'
import { parse as parseSfc } from 'vue/compiler-sfc'
import { messages as en } from './all.en'
import { messages as zh } from './all.zh-CN'

type Texts = Record<string, unknown>

/** `{a: {b: 'x'}}` as `{'a.b': 'x'}`. */
function flat(texts: Texts, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(texts).flatMap(([key, value]) =>
      typeof value === 'string' ? [[prefix + key, value] as const] : [...flat(value as Texts, `${prefix}${key}.`)],
    ),
  )
}

const english = flat(en)
const chinese = flat(zh)
const src = path.resolve(import.meta.dirname, '../..')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(vue|ts)$/.test(name) && !/\.(spec|gen)\.ts$/.test(name))
  .map((name) => ({ name, text: readFileSync(path.join(src, name), 'utf8') }))

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort()

describe('texts', () => {
  it('are there in both languages', () => {
    expect([...chinese.keys()].sort()).toEqual([...english.keys()].sort())
  })

  it.each([...english.keys()])('%s says the same things in both', (key) => {
    expect(new Set(placeholders(chinese.get(key) ?? ''))).toEqual(new Set(placeholders(english.get(key) ?? '')))
  })

  it('in Chinese are Chinese, or names', () => {
    const latin = [...chinese].filter(([key, text]) => !/\p{Script=Han}/u.test(text) && text === english.get(key) && /[a-z]{3,}/.test(text))
    // Names of things that have no other name.
    const names = new Set(['app.name', ...latin.filter(([, text]) => /^[A-Z{`/-]|_|^https?:|^wss?:/.test(text)).map(([key]) => key)])
    expect(latin.map(([key]) => key).filter((key) => !names.has(key))).toEqual([])
  })

  it.each(files)('of $name exist', ({ text }) => {
    const whole = [...text.matchAll(/\b(?:t|te|tm|rt)\(\s*'([^']+)'/g)].map((match) => match[1] ?? '')
    expect(whole.filter((key) => !english.has(key))).toEqual([])
    const begun = [...text.matchAll(/\bt\(\s*`([^`$]+)\$\{/g)].map((match) => match[1] ?? '')
    expect(begun.filter((prefix) => ![...english.keys()].some((key) => key.startsWith(prefix)))).toEqual([])
  })
})

it('every code of an error has words', () => {
  const document = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../../../docs/reference/openapi.json'), 'utf8')) as {
    components: { schemas: { Code: { enum: string[] } } }
  }
  expect(Object.keys(en.problem.codes).sort()).toEqual([...document.components.schemas.Code.enum].sort())
})

/** Attributes that people read or hear. */
const SPOKEN = new Set(['title', 'label', 'placeholder', 'aria-label', 'alt', 'text', 'caption', 'description', 'content'])
const WORDS = /\p{L}{2,}/u

function spoken(node: TemplateChildNode): string[] {
  if (node.type === 2) return WORDS.test(node.content) ? [node.content.trim()] : []
  if (node.type !== 1) return []
  if (node.tag === 'code' || node.tag === 'kbd') return []
  const attributes = node.props.flatMap((prop) =>
    prop.type === 6 && SPOKEN.has(prop.name) && WORDS.test(prop.value?.content ?? '') ? [`${prop.name}="${prop.value?.content ?? ''}"`] : [],
  )
  return [...attributes, ...node.children.flatMap(spoken)]
}

describe('templates', () => {
  it.each(files.filter(({ name }) => name.endsWith('.vue')))('of $name say nothing in one language only', ({ text }) => {
    const template = parseSfc(text).descriptor.template?.content ?? ''
    expect(parse(template).children.flatMap(spoken)).toEqual([])
  })
})
