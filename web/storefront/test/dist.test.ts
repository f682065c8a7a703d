// Goal: what a shopper's phone loads first is small, and obeys the page's own policy. Method: the
// committed files are read.

import { readFileSync, readdirSync, statSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { LANGUAGES } from '../src/words'

const dist = new URL('../../dist/', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, dist))
const assets = readdirSync(new URL('assets/', dist)).map(String)
const gz = (ending: string) => assets.filter(name => name.endsWith(ending)).reduce((sum, name) => sum + gzipSync(read(`assets/${name}`), { level: 9 }).length, 0)

test('the first load is at most 30 KB of script and 8 KB of style, packed, in four requests', () => {
  expect(gz('.js')).toBeLessThanOrEqual(30 * 1024)
  expect(gz('.css')).toBeLessThanOrEqual(8 * 1024)
  const page = read('index.html').toString()
  expect([...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].length + 1).toBeLessThanOrEqual(4)
})

test('nothing stands inline, and scripts and styles have their integrity', () => {
  const page = read('index.html').toString()
  expect(page).not.toMatch(/<style|style="| on[a-z]+="|javascript:/)
  for (const [tag] of page.matchAll(/<(?:script|link)[^>]+\/assets\/[^>]+>/g)) expect(tag).toMatch(/integrity="sha384-[\w+/=]{64}"/)
  expect([...page.matchAll(/<script/g)].length).toBe(1)
})

test('every file has its brotli beside it, which is smaller', () => {
  for (const name of ['index.html', 'favicon.svg', ...assets.filter(name => !name.endsWith('.br')).map(name => `assets/${name}`)]) {
    expect(statSync(new URL(`${name}.br`, dist)).size, name).toBeLessThan(statSync(new URL(name, dist)).size)
  }
})

test('both languages say the same things, and answer every refusal of a purchase', () => {
  const shape = (words: unknown): unknown =>
    typeof words === 'object' && words !== null && !Array.isArray(words) ? Object.fromEntries(Object.entries(words).map(([name, value]) => [name, shape(value)])) : typeof words
  expect(shape(LANGUAGES['zh-CN'])).toEqual(shape(LANGUAGES.en))
  const api = JSON.parse(readFileSync(new URL('../../../engine/openapi.json', import.meta.url), 'utf8'))
  const responses: { description: string }[] = Object.values(api.paths['/v1/orders'].post.responses)
  // What is a flaw of the page has one text for all; `outcome_unknown` is a state, not a refusal.
  const flaws = ['invalid_request', 'too_large', 'unsupported_media_type', 'outcome_unknown']
  const codes = responses.slice(1).flatMap(({ description }) => [...description.matchAll(/(?:^|; )`([a-z_]+)`/g)].map(([, code]) => code as string))
  for (const code of codes.filter(code => !flaws.includes(code))) expect(LANGUAGES.en.problems, code).toHaveProperty(code)
})
